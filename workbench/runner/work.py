"""Works through the missing runs of a plan, one after another, each in a process of its own."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Protocol

from workbench.errors import UserError
from workbench.extensions.record import record
from workbench.runner.launch import Child, Launcher
from workbench.runner.stale import HUNG_SAVE_TIMEOUT, StaleRuns, mark
from workbench.study.ledger import Ledger
from workbench.study.outcome import FINAL, Entry, Lease, Outcome, memory_kills
from workbench.study.plan import Run
from workbench.study.storage import HEARTBEAT_INTERVAL, STORAGE_ERRORS
from workbench.tracking.files import disk_full
from workbench.tracking.run_dir import RunDir

POLL = 0.2
"""Seconds between looks at a running run."""
SAVE_TIMEOUT = 60.0
"""Seconds in which a run has to save and end after it was asked to."""
LOOK_AGAIN = 1.0
"""Seconds after which what is open is looked at again before the next run: other workers have gone on."""
POLL_OTHERS = 2.0
"""Seconds between looks at runs that another process works on."""
BAD_INPUT, DISK = 2, 74
"""Exit codes of a run that was refused before it began, and of one that could not write."""


class Stop:
    """Set by Ctrl-C, SIGTERM and the like; everything that waits looks at it."""

    def __init__(self) -> None:
        self.signals = 0

    def __bool__(self) -> bool:
        return self.signals > 0

    @property
    def urgent(self) -> bool:
        """Asked for twice: do not wait for the checkpoint."""
        return self.signals > 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turns the signals that end a process into this flag while the block runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
        before = [signal.signal(number, self._note) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1


class Watcher(Protocol):
    """What wants to know how the work goes (the screen, the tracker)."""

    def started(self, lease: Lease) -> None: ...
    def progressed(self, lease: Lease, share: float) -> None: ...
    def ended(self, lease: Lease, outcome: Outcome, over: bool) -> None:
        """`over`: complete, or failed so often that it is not tried again."""

    def waiting(self, entries: Sequence[Entry]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts of this machine that a run is started with."""

    data_root: Path
    device: str = ""
    deadline: float = 600.0
    """A run that shows no progress for so many seconds is taken to hang."""
    save_every: float = 120.0
    """Seconds between checkpoints."""
    processes: int = 1
    """How many share each batch of a run."""

    def arguments(self, directory: RunDir) -> list[str]:
        device = ["--device", self.device] if self.device else []
        if self.processes > 1:
            device += ["--processes", str(self.processes)]
        paths = [str(directory.path.resolve()), "--data-root", str(self.data_root.resolve())]
        return [*paths, "--save-every", f"{self.save_every:g}", *device]


def work(
    ledger: Ledger,
    launcher: Launcher,
    machine: Machine,
    watchers: Sequence[Watcher],
    stop: Stop,
) -> None:
    """Runs what is missing until nothing is left that this process could do, or `stop` is set.

    Retries come after everything else has had its turn. Runs that another process has leased are
    waited for, and taken over should that process die.
    """
    waited, stale = False, StaleRuns(machine.deadline)
    while not stop:
        ledger.enqueue()  # a search proposes the next cell only now that it knows how the others did
        worked = False
        runs, looked = _open(ledger), time.monotonic()
        left = set(runs)
        for run in runs.values():
            if stop:
                return
            if time.monotonic() - looked > LOOK_AGAIN:
                left, looked = set(_open(ledger)), time.monotonic()
            if run.name not in left or (lease := ledger.acquire(run)) is None:
                continue
            worked = True
            _one(lease, ledger, launcher, machine, watchers, stop)
        if worked:
            continue
        # What is left and could not be leased is leased by another process.
        others = [e for e in ledger.entries() if e.state not in FINAL]
        if not others:
            ledger.reconcile()  # closes what another machine had queued too, at a start at the same moment
            return
        if not waited:
            for watcher in watchers:
                watcher.waiting(others)
            waited = True
        _pause(POLL_OTHERS, stop)
        for entry in others:
            stale.end(ledger.directory(entry.run))
        ledger.reconcile()


def _open(ledger: Ledger) -> dict[str, Run]:
    """Runs that nobody works on and that are not done, by name, in the plan's order."""
    return {e.run.name: e.run for e in ledger.entries() if e.state in ("waiting", "missing")}


def _one(
    lease: Lease,
    ledger: Ledger,
    launcher: Launcher,
    machine: Machine,
    watchers: Sequence[Watcher],
    stop: Stop,
) -> None:
    """One attempt at one run, settled whatever happens."""
    outcome, trouble = Outcome(state="interrupted"), ""
    try:
        outcome = _attempt(lease, ledger, launcher, machine, watchers, stop)
        if outcome.failure == "disk":
            trouble = unwritable(lease.directory.path, outcome.reason, full=True)
    except OSError as error:
        trouble = unwritable(error.filename or lease.directory.path, str(error), full=disk_full(error))
    finally:
        # Nothing is wrong with the run itself when one cannot write: it goes back into the queue.
        ledger.settle(lease, Outcome(state="interrupted") if trouble else outcome)
    over = ledger.state(lease.run) in FINAL
    for watcher in watchers:
        watcher.ended(lease, outcome, over)
    if trouble:
        raise UserError(trouble)


def unwritable(path: Path | str, reason: str, *, full: bool) -> str:
    """What a study says that ends since it cannot write."""
    kind, remedy = ("disk: ", "free some space or make it writable") if full else ("", "mend that")
    what = f"{kind}cannot write to {path} ({reason})"
    return f"{what}; what is done stays, {remedy} and start the same command again"


class _Heartbeat:
    """Tells other machines that a lease is alive, whenever it is time: also before its run has begun, which
    on a slow disk takes longer than they wait."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self._ledger, self._lease = ledger, lease
        self._last = time.monotonic()

    def __call__(self) -> None:
        if (now := time.monotonic()) - self._last > HEARTBEAT_INTERVAL:
            self._ledger.heartbeat(self._lease)
            self._last = now


def _attempt(
    lease: Lease,
    ledger: Ledger,
    launcher: Launcher,
    machine: Machine,
    watchers: Sequence[Watcher],
    stop: Stop,
) -> Outcome:
    try:
        _prepare(lease, ledger)
    except UserError as error:  # its record is damaged, which concerns no other run
        return Outcome(state="failed", failure="data", reason=str(error))
    for watcher in watchers:
        watcher.started(lease)
    log = lease.directory.file("train.log")
    alive = _Heartbeat(ledger, lease)
    child = launcher.start(machine.arguments(lease.directory), log, lease.lock, alive)
    if child is None:
        lease.directory.set_status("interrupted", reason="stopped before it began")
        return Outcome(state="interrupted")
    try:
        verdict = _follow(lease, child, ledger, machine.deadline, watchers, stop, alive)
    except STORAGE_ERRORS:  # nobody will look after it: it saves now rather than be killed
        _stop_child(child, stop)
        raise
    return _judge(lease, child, verdict, stop, ledger)


def _prepare(lease: Lease, ledger: Ledger) -> None:
    """Writes what the run is, before its process starts."""
    run, directory = lease.run, lease.directory
    directory.create()
    directory.write_config(run.config)
    identity = {
        "study": ledger.plan.study.name,
        "key": run.cell.key,
        "seed": run.seed,
        "cell": run.cell.label,
        "axes": run.cell.axes,
        "attempt": lease.attempt,
        "token": lease.token,
        "recipe": run.config.recipe_name,
        "optuna": metadata.version("optuna"),
    }
    if mine := record(run.config):
        identity["own"] = mine
    directory.write_json("run.json", identity)
    directory.file("summary.json").unlink(missing_ok=True)
    directory.file("train.log").touch()  # refused here where the disk is full, not in the fork server
    directory.set_status("running", pid=0, attempt=lease.attempt, started=time.time())


def _follow(
    lease: Lease,
    child: Child,
    ledger: Ledger,
    deadline: float,
    watchers: Sequence[Watcher],
    stop: Stop,
    alive: Callable[[], None],
) -> str:
    """Waits for the run's end, passing a stop on to it; says why it was ended: `hang`, `pruned`, or empty."""
    seen, moved = "", time.monotonic()
    while child.wait(POLL) is None:
        now = time.monotonic()
        if stop:
            _stop_child(child, stop)
            return ""
        if (found := mark(lease.directory)) != seen:
            seen, moved = found, now
            for watcher in watchers:
                watcher.progressed(lease, _share(lease.directory))
            if ledger.should_prune(lease):
                _stop_child(child, stop)
                return "pruned"
        elif now - moved > deadline:
            child.stop(HUNG_SAVE_TIMEOUT)
            return "hang"
        alive()
    return ""


def _stop_child(child: Child, stop: Stop) -> None:
    child.signal(signal.SIGTERM)
    end = time.monotonic() + SAVE_TIMEOUT
    while child.wait(POLL) is None:
        if stop.urgent or time.monotonic() > end:
            child.signal(signal.SIGKILL)


def _share(directory: RunDir) -> float:
    status = directory.status()
    return status.step / status.steps if status is not None and status.steps else 0.0


def _judge(lease: Lease, child: Child, verdict: str, stop: Stop, ledger: Ledger) -> Outcome:
    """The outcome of an ended process; the record is closed where the process could not do it."""
    directory, code = lease.directory, child.poll()
    if directory.identity().get("token") != lease.token:
        return Outcome(state="interrupted", reason="another attempt has taken over this run")
    outcome = ledger.outcome(directory)
    if verdict == "pruned" and outcome.state in ("running", "interrupted"):  # else it ended by itself
        outcome = Outcome(state="pruned", reason="lagged behind the median of the others at equal FLOPs")
        shutil.rmtree(directory.file("checkpoints"), ignore_errors=True)  # it is not gone on with
    elif verdict == "hang" and outcome.state in (
        "running",
        "interrupted",
    ):  # else it ended while it was asked to
        outcome = Outcome(state="failed", failure="hang", reason="no progress within the deadline")
    elif outcome.state == "running" and code == BAD_INPUT:
        # The run was refused before it began (a device that is not there): so would be all others.
        reason = _last_line(directory).removeprefix("error: ")
        directory.set_status("interrupted", reason=reason)
        raise UserError(reason)
    elif outcome.state == "running" and code == DISK:
        reason = _last_line(directory) or "no space left"
        outcome = Outcome(state="failed", failure="disk", reason=reason.removeprefix("error: "))
    elif outcome.state == "running" and stop:
        outcome = Outcome(state="interrupted", reason="stopped before it could save")
    elif outcome.state == "running":
        if code is not None and code < 0:
            outcome = _killed(-code, out_of_memory=memory_kills() > lease.memory_kills)
        else:
            reason = _last_line(directory) or f"ended with exit code {code}"
            outcome = Outcome(state="failed", failure="error", reason=reason)
    status = directory.status()
    if status is None or (status.state, status.failure or "") != (outcome.state, outcome.failure):
        failure = outcome.failure or None
        directory.set_status(outcome.state, failure=failure, reason=outcome.reason)
    return outcome


def _killed(number: int, *, out_of_memory: bool) -> Outcome:
    if number == signal.SIGKILL and out_of_memory:
        reason = "killed by the system, which was out of memory"
        return Outcome(state="failed", failure="out_of_memory", reason=reason)
    return Outcome(state="failed", failure="killed", reason=f"ended by {signal.Signals(number).name}")


def _last_line(directory: RunDir) -> str:
    """Last line of the log that says something."""
    lines = directory.log_tail().splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _pause(seconds: float, stop: Stop) -> None:
    end = time.monotonic() + seconds
    while not stop and time.monotonic() < end:
        time.sleep(POLL)
