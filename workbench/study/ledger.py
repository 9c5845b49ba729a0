"""The ledger of a study: Optuna's storage knows what is done, running, waiting and failed.

A run is a trial. Whoever works on it has a *lease*: the lock of its run directory, and the trial set RUNNING.
It ends when the trial is *settled*: its outcome is written, once. On one machine
(SQLite) its lock tells whether a RUNNING trial is alive, between machines (PostgreSQL) Optuna's heartbeat.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from workbench.addresses import sqlite, sqlite_path
from workbench.errors import UserError
from workbench.study.outcome import MAX_ATTEMPTS, PROCESS_GONE, Entry, Lease, Outcome, read_outcome, standing
from workbench.study.plan import Plan, Run
from workbench.study.storage import (
    STORAGE_ERRORS,
    away,
    heartbeat_timeout,
    is_shared,
    look_at_study,
    open_study,
    record_params,
    results_id,
    retried,
)
from workbench.study.trial_store import OWNER, Identity, Reader, StoredTrial, Trials
from workbench.tracking.files import Lock, wait_for_lock
from workbench.tracking.run_dir import RunDir


class Ledger(Trials):
    """The trials of one study. Opening it creates the storage and the Optuna study when missing.

    For looking at SQLite it writes nothing, and raises `NotBegun` where there is nothing to see.
    """

    def __init__(
        self, plan: Plan, results: Path, storage: str = "", *, retry: bool = False, looking: bool = False
    ) -> None:
        self.plan = plan
        self.exhausted = False
        """Whether a search found nothing new to try."""
        self.results = results
        self.folder = results / "runs" / plan.study.name
        self.name = plan.ledger_name
        self.address = storage or sqlite(results / "optuna.db")
        self.shared = is_shared(self.address)
        self.stopped: Callable[[], bool] = lambda: False
        """Whether the user has asked to stop: then a storage that is away is not waited for."""
        self._last_heartbeat = time.monotonic()
        if looking and (path := sqlite_path(self.address)) is not None:
            self._owner = ""
            self._storage, self._study = look_at_study(path, self.name)
        else:
            self._open()
        self._reader = Reader(self._storage, self.name)
        # By number, since clocks differ between machines and are set back.
        self._ignored_failures = self._failed() if retry else frozenset()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(self.results / ".optuna.lock"):  # two first starts would both create the tables
            self._owner = f"{socket.gethostname()}:{self.results.resolve()}:{results_id(self.results)}"
            self._storage, self._study = open_study(self.address, self.name, self.plan.study, self.shared)

    # What there is

    @retried
    def entries(self) -> list[Entry]:
        """The state of every run of the plan, in the plan's order."""
        trials = self._trials()
        return [self._entry(run, trials[_identity(run)]) for run in self.plan.runs]

    @retried
    def state(self, run: Run) -> str:
        """The state of one run."""
        return self._entry(run, self._of(_identity(run))).state

    @retried
    def busy(self) -> set[Identity]:
        """What somebody works on, or has left RUNNING, anywhere."""
        running = TrialState.RUNNING
        return {i for i, trials in self._trials().items() if any(t.state == running for t in trials)}

    def others(self) -> list[str]:
        """Keys of the cells of completed runs of this study that belong to other plans (another budget, data,
        ...), once for each run."""
        planned = {(run.cell.key, run.seed) for run in self.plan.runs}
        return [
            identity[0]
            for identity, trials in self._trials().items()
            if identity not in planned and any(t.state == TrialState.COMPLETE for t in trials)
        ]

    def directory(self, run: Run) -> RunDir:
        return self._directory(_identity(run))

    def outcome(self, directory: RunDir) -> Outcome:
        """What a run directory tells of how its run ended."""
        return read_outcome(directory, self.plan.study.metric, self.plan.study.cost)

    def importances(self) -> dict[str, Any] | None:
        """How much each axis mattered; only a search knows, where no full grid tells."""
        return None

    # What is to be done

    @retried
    def reconcile(self) -> list[str]:
        """Brings trials and run directories into agreement; returns a sentence for each repair.

        Settles RUNNING trials whose process is gone, also those of other plans of this study, and takes
        over completed run directories that the storage does not know (a lost database, directories
        copied from another machine).
        """
        if self.shared:
            fail_stale_trials(self._study)
        repairs = []
        planned = {_identity(run): run for run in self.plan.runs}
        trials = self._trials()
        for identity in dict.fromkeys([*planned, *trials]):
            states = {t.state for t in trials[identity]}
            directory = self._directory(identity)
            over = TrialState.COMPLETE in states or TrialState.PRUNED in states
            unknown = identity in planned and not over and self.outcome(directory).state == "complete"
            open_ends = TrialState.RUNNING in states or {TrialState.WAITING, TrialState.COMPLETE} <= states
            if not (open_ends or unknown):
                continue
            if (lock := directory.try_lock()) is not None:  # else alive, in another process
                with lock:
                    repairs += self._repair(identity, planned.get(identity))
        return repairs

    @retried
    def enqueue(self) -> int:
        """Puts every run that is missing into the Optuna study's queue; returns how many."""
        with wait_for_lock(self.folder / ".queue.lock"):
            missing = [entry for entry in self.entries() if entry.state == "missing"]
            for entry in missing:
                self._enqueue(entry.run, entry.attempts + 1)
        return len(missing)

    @retried
    def acquire(self, run: Run) -> Lease | None:
        """A lease of `run`, or None when it is done, given up, or leased by another process."""
        directory = self.directory(run)
        if (lock := directory.try_lock()) is None:
            return None
        lease = None
        try:
            self._repair(_identity(run), run)
            lease = self._acquire(run, directory, lock)
        finally:
            if lease is None:
                lock.release()
        return lease

    def heartbeat(self, lease: Lease) -> None:
        """Tells other machines that the lease is alive; without effect on a storage of this machine alone.

        A storage that is away raises nothing until `heartbeat_timeout`; after that others may have the run.
        """
        try:
            self._record_heartbeat(lease.trial)
        except STORAGE_ERRORS as error:
            if not away(error) or time.monotonic() - self._last_heartbeat > heartbeat_timeout():
                raise

    def should_prune(self, lease: Lease) -> bool:
        """Whether a run is to be stopped because it lags; never so where every cell is to run."""
        return False

    def settle(self, lease: Lease, outcome: Outcome) -> None:
        """Writes the outcome of a run and ends the lease. Called once for each lease.

        Has no effect on a trial that was taken away in the meantime and perhaps given to somebody else.
        """
        try:
            self._settle(lease, outcome)
        finally:
            lease.lock.release()

    # Inside

    @retried
    def _settle(self, lease: Lease, outcome: Outcome) -> None:
        trials = {trial.number: trial for trial in self._of(_identity(lease.run))}
        if trials.pop(lease.trial).user_attrs.get("token") != lease.token:
            return
        if self.shared and any(t.state == TrialState.COMPLETE for t in trials.values()):
            outcome = Outcome(state="failed", failure="duplicate", reason="completed by another attempt")
        if outcome.state == "interrupted":
            self._put_back(lease.trial)
        else:
            self._tell(lease.trial, outcome)

    def _directory(self, identity: Identity) -> RunDir:
        return RunDir.of(self.results, self.plan.study.name, *identity)

    def _acquire(self, run: Run, directory: RunDir, lock: Lock) -> Lease | None:
        trials = self._of(_identity(run))
        entry = self._entry(run, trials)
        if entry.state not in ("waiting", "missing"):
            return None
        if entry.state == "missing":
            self._enqueue(run, entry.attempts + 1)
            trials = self._of(_identity(run))
        if not (queued := [t.number for t in trials if t.state == TrialState.WAITING]):
            return None  # leased by another machine just now
        number = min(queued)
        self._record_heartbeat(number)  # first, since a RUNNING trial without a recent one is taken for dead
        if not self._set_state(number, TrialState.RUNNING):
            return None
        token = secrets.token_hex(8)
        attempt = entry.attempts + 1
        lease = Lease(run=run, directory=directory, lock=lock, trial=number, attempt=attempt, token=token)
        if self._second(_identity(run), number):
            self._close([number], "duplicate", "ran on another machine")
            return None
        try:
            for name, value in {"token": token, "attempt": attempt, OWNER: self._owner}.items():
                self._storage.set_trial_user_attr(self._trial_id(number), name, value)
            self._record_params(number, run)
        except UpdateFinishedTrialError:  # another machine has settled it in the meantime
            return None
        return lease

    def _local(self, trial: StoredTrial) -> bool:
        """Whether the lock in our results folder tells if this RUNNING trial is alive."""
        return not self.shared or trial.user_attrs.get(OWNER) == self._owner

    def _entry(self, run: Run, trials: Iterable[StoredTrial]) -> Entry:
        states = {trial.state for trial in trials}
        failed = [t for t in trials if t.state == TrialState.FAIL and self._counts(t)]
        reason = str(failed[-1].user_attrs.get("reason", "")) if failed else ""
        failures = [t.user_attrs.get("failure") for t in failed]
        told = self._written(_identity(run), trials)
        if told is not None and (known := standing(run, told)) is not None:
            state, reason = known.state, known.reason
        elif TrialState.PRUNED in states:
            state = "pruned"
        elif TrialState.RUNNING in states:
            state = "running"
        elif any(failures.count(kind) >= most for kind, most in MAX_ATTEMPTS.items()):
            state = "failed"
        elif TrialState.WAITING in states:
            state = "waiting"
        else:
            state = "missing"
        return Entry(run=run, state=state, attempts=len(failed), reason=reason)

    def _written(self, identity: Identity, trials: Iterable[StoredTrial]) -> Outcome | None:
        """What the record of a run says that was settled as complete; deleting it asks for the run anew."""
        if not any(trial.state == TrialState.COMPLETE for trial in trials):
            return None
        # On a shared storage the record may lie on another machine.
        return Outcome(state="complete") if self.shared else self.outcome(self._directory(identity))

    def _over(self, identity: Identity, trials: Iterable[StoredTrial]) -> bool:
        """Whether nothing is left to be done: complete, if with a damaged record, or stopped for good."""
        told = self._written(identity, trials)
        complete = told is not None and (told.state == "complete" or told.damaged)
        return complete or any(t.state == TrialState.PRUNED for t in trials)

    def _counts(self, trial: StoredTrial) -> bool:
        """Lost with its study process, or stale: not the run's doing, so it costs no attempt."""
        return trial.user_attrs.get("failure") in MAX_ATTEMPTS and trial.number not in self._ignored_failures

    def _enqueue(self, run: Run, attempt: int) -> None:
        self._study.enqueue_trial(dict(run.cell.axes), user_attrs=self._attributes(run, attempt))

    def _attributes(self, run: Run, attempt: int) -> dict[str, Any]:
        """What makes a trial that of a run, the key last: a trial without it is none of ours."""
        # The axes are an attribute as well, since Optuna refuses params whose choices have changed.
        return {
            "seed": run.seed,
            "cell": run.cell.label,
            "axes": run.cell.axes,
            "attempt": attempt,
            "key": run.cell.key,
        }

    def _repair(self, identity: Identity, run: Run | None) -> list[str]:
        """Settles what a vanished process left behind; the caller holds the run's lock.

        `run` is None where the present plan does not ask for it.
        """
        directory, trials = self._directory(identity), self._of(identity)
        running = [t.number for t in trials if t.state == TrialState.RUNNING and self._local(t)]
        remote = any(t.state == TrialState.RUNNING and not self._local(t) for t in trials)
        name = f"{next((str(t.user_attrs.get('cell')) for t in trials), identity[0])} seed {identity[1]}"
        repairs = []
        if not self._over(identity, trials):
            outcome = self.outcome(directory)
            if outcome.state in ("complete", "pruned") and (run is not None or running) and not remote:
                self._adopt(identity, run, running, outcome)
                repairs.append(f"{name}: was {outcome.state}, now entered")
            elif running:
                self._close(running, "lost", PROCESS_GONE)
                with suppress(UserError):  # a damaged record: whoever takes the run next says so
                    status = directory.status()
                    if status is not None and status.state == "running":
                        directory.set_status("interrupted", reason=PROCESS_GONE, pid=0)
                repairs.append(f"{name}: {PROCESS_GONE}, back in the queue")
        trials = self._of(identity) if repairs else trials
        if self._over(identity, trials):
            waiting = [t.number for t in trials if t.state == TrialState.WAITING]
            left = [number for number in waiting if self._set_state(number, TrialState.RUNNING)]
            running = [t.number for t in trials if t.state == TrialState.RUNNING and self._local(t)]
            self._close([*running, *left], "duplicate", "completed by another attempt")
        return repairs

    def _adopt(self, identity: Identity, run: Run | None, running: list[int], outcome: Outcome) -> None:
        """Enters a run that completed without its study process, in a trial of its own if need be."""
        numbers = running or self._queued(identity)
        if not numbers and run is not None:
            self._enqueue(run, 1)
            numbers = self._queued(identity)
        number = numbers[0]
        self._record_heartbeat(number)
        if not running and not self._set_state(number, TrialState.RUNNING):
            return  # leased by another machine just now
        if self._second(identity, number):
            self._close([number], "duplicate", "completed by another machine")
            return
        if run is not None:
            with suppress(UpdateFinishedTrialError):  # which `_tell` finds out as well
                self._record_params(number, run)
        self._tell(number, outcome)

    def _record_params(self, number: int, run: Run) -> None:
        record_params(self._storage, self._trial_id(number), self.plan, run)


def _identity(run: Run) -> Identity:
    return run.cell.key, run.seed
