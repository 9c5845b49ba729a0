"""Sends the runs of a study to a tracker in the background, without blocking or failing the study."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from workbench.addresses import masked, sqlite
from workbench.errors import UserError
from workbench.tracking.run_dir import RunDir

POLL = 5.0
"""Seconds between two reads of the record of the present run."""
LONGEST_PAUSE = 300.0
"""Seconds between two attempts to reach a tracker that is away: they double from `POLL` up to this."""
CLOSE_TIMEOUT = 60.0
"""Seconds that the end of a study waits for what is still to be sent."""
MAX_ATTEMPTS = 3
"""Number of attempts to send a run that the tracker rejects, before the end of the study."""


class Leased(Protocol):
    """The part of a lease that the forwarder needs: the run directory."""

    @property
    def directory(self) -> RunDir: ...


class Tracker(Protocol):
    """A store that run directories are sent to, open."""

    def sync(self, directory: RunDir, /) -> str:
        """Sends the parts of a run that the store does not have."""

    def close_lost(self, study: str, busy: Callable[[], Collection[tuple[str, int]]], /) -> list[str]:
        """Closes runs that are open in the store although nobody works on them."""

    def absent(self, study: str, directories: Iterable[RunDir], /) -> list[RunDir]:
        """Runs that have ended and are not in the store as they ended."""


@dataclass
class _Unsent:
    """A run that ended and is not yet with the tracker, and why."""

    reason: str = "not yet sent"
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What earlier calls left behind in a store: runs still RUNNING there, and runs that it lacks."""

    study: str
    busy: Callable[[], Collection[tuple[str, int]]]
    """Tells the (key, seed) of the runs that somebody works on, when it comes to closing what is RUNNING."""
    directories: Sequence[RunDir] = ()
    """Runs that the store should have, whatever their notes say: it may have been lost or replaced."""


class Forwarder:
    """Mirrors the runs of a study from a thread of its own, in MLflow. Nothing here raises or blocks."""

    called = "MLflow"

    def __init__(
        self, results: Path, address: str, first: Sequence[RunDir] = (), leftovers: Leftovers | None = None
    ) -> None:
        self._results, self._address, self._leftovers = results, address, leftovers
        self._mirror: Tracker | None = None
        self._current: RunDir | None = None
        self._unsent = {directory.path: _Unsent() for directory in first}
        self._away = ""
        self._pause, self._not_before = POLL, 0.0
        self._news = ""
        self._wake = threading.Event()
        self._closing = False
        if first or leftovers is not None:
            self._wake.set()
        self._thread = threading.Thread(target=self._work, name=self.called, daemon=True)
        self._thread.start()

    def started(self, lease: Leased) -> None:
        self._current = lease.directory

    def progressed(self, lease: Leased, share: float) -> None:
        """The thread looks at the current run by itself."""
        self._tell()

    def ended(self, lease: Leased, outcome: object, over: bool) -> None:
        self._current = None
        self._unsent[lease.directory.path] = _Unsent()
        self._wake.set()
        self._tell()

    def waiting(self, entries: Sequence[object]) -> None:
        """Runs of other processes are mirrored by those."""

    def close(self, patience: float = CLOSE_TIMEOUT) -> str:
        """Waits for what is left, but not for ever; returns a warning when something was not sent."""
        self._closing = True
        self._wake.set()
        self._thread.join(min(POLL, patience))
        if self._thread.is_alive() and patience > POLL:
            what = f"sending to {self.called}" if self._unsent else f"asking {self.called} what it has"
            print(f"{what}, for {patience:.0f} s at most ...", file=sys.stderr, flush=True)
            self._thread.join(patience - POLL)
        unsent = dict(self._unsent)
        if not unsent:
            return ""
        count = "1 run is" if len(unsent) == 1 else f"{len(unsent)} runs are"
        reason = self._away or next(iter(unsent.values())).reason
        return (
            f"{count} not in {self.called} at {self._shown()} ({reason}); nothing is lost, send "
            f"{'it' if len(unsent) == 1 else 'them'} with: {self._command(list(unsent))}"
        )

    def _shown(self) -> str:
        return masked(self._address or sqlite(self._results / "mlflow.db"))

    def _command(self, paths: Sequence[Path]) -> str:
        """The command that sends these runs later, to be pasted as it is but for a password."""
        few = paths if len(paths) <= 3 else sorted({path.parent for path in paths})
        command = ["python", "-m", "workbench.tracking", "import", *map(str, few)]
        if str(self._results) != os.environ.get("WORKBENCH_RESULTS", "results"):
            command += ["--results", str(self._results)]
        return shlex.join([*command, *self._options()])

    def _options(self) -> list[str]:
        """Those of that command which name the store."""
        usual = self._address == os.environ.get("WORKBENCH_MLFLOW", "")
        return [] if usual else ["--mlflow", masked(self._address)]

    def _reach(self) -> Tracker:
        """The store, opened."""
        from workbench.tracking.mlflow import Mirror  # takes seconds to import

        return Mirror(self._results, self._address)

    def _tell(self) -> None:
        """Says once that the tracker is away; from the study's own thread, since a bar may be drawn."""
        if news := self._news:
            self._news = ""
            tqdm.write(news, file=sys.stderr)

    # The thread

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(POLL)
            self._wake.clear()
            if not self._closing and time.monotonic() >= self._not_before:
                self._round(MAX_ATTEMPTS)
        self._round(sys.maxsize)

    def _round(self, attempts: int) -> None:
        """Sends all that waits, and what is new of the run that is going on."""
        current = self._current
        waiting = any(what.attempts < attempts for what in list(self._unsent.values()))
        if (waiting or current is not None or self._leftovers is not None) and not self._open():
            return
        left = {path: what for path, what in list(self._unsent.items()) if what.attempts < attempts}
        for path, what in left.items():
            what.reason = self._try(RunDir(path))
            what.attempts += 1
            # Unless it has been tried again and has ended once more in the meantime.
            if not what.reason and self._unsent.get(path) is what:
                del self._unsent[path]
            if self._mirror is None and not self._open():
                return
        if current is not None:
            self._try(current)

    def _open(self) -> bool:
        """Whether the tracker is there; when it is not, the next attempt is put off."""
        if self._mirror is not None:
            return True
        try:
            self._mirror = self._reach()
            if self._leftovers is not None:
                self._mirror.close_lost(self._leftovers.study, self._leftovers.busy)
                for directory in self._mirror.absent(self._leftovers.study, self._leftovers.directories):
                    self._unsent.setdefault(directory.path, _Unsent())
                self._leftovers = None
        # A tracker may raise anything; training must not notice, and all is sent again later.
        except Exception as error:  # noqa: BLE001
            if not self._away:
                self._news = (
                    f"warning: {self.called} at {self._shown()} is away ({_first_line(error)}); training "
                    "goes on, and what is missing is sent when it is back, or later by the same command"
                )
            self._away = _first_line(error)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
            return False
        self._away, self._news = "", ""
        self._pause, self._not_before = POLL, 0.0
        return True

    def _try(self, directory: RunDir) -> str:
        """Sends what is new of a run; returns what went wrong, or nothing."""
        try:
            if self._mirror is not None:
                self._mirror.sync(directory)
        except Exception as error:  # noqa: BLE001 - as above
            self._mirror = None  # opened anew, which tells a refused run from a tracker that went away
            return _first_line(error)
        return ""


def _first_line(error: Exception) -> str:
    """Masked before it is cut, since half a password would no longer look like one."""
    return masked((str(error).splitlines() or [""])[0])[:200] or type(error).__name__


class NoForwarder:
    """Replaces a forwarder if the user wants none."""

    def started(self, lease: Leased) -> None: ...
    def progressed(self, lease: Leased, share: float) -> None: ...
    def ended(self, lease: Leased, outcome: object, over: bool) -> None: ...
    def waiting(self, entries: Sequence[object]) -> None: ...
    def close(self, patience: float = CLOSE_TIMEOUT) -> str:
        return ""


def forwarder(
    results: Path, address: str = "", first: Sequence[RunDir] = (), leftovers: Leftovers | None = None
) -> Forwarder | NoForwarder:
    """Mirrors in the store at `address` (`RESULTS/mlflow.db` when empty), or nowhere for `none`.

    Args:
        first: run directories to send before all others.
        leftovers: once the store is reached, what is still RUNNING there is closed and what it lacks is sent.
    """
    return NoForwarder() if address == "none" else Forwarder(results, address, first, leftovers)


def unsent(directories: Iterable[RunDir], results: Path, address: str = "") -> list[RunDir]:
    """Those whose end has not been sent to this store, told by their own notes.

    Whether the store still has what was sent `Mirror.absent` tells, once it is reached.
    """
    store = results / "mlflow.db"
    gone = not address and not store.exists()
    found = []
    for directory in directories:
        try:
            status, known = directory.status(), directory.read_json("mlflow.json")
            token = str(directory.identity().get("token", ""))
        except UserError:  # nothing that could be sent
            continue
        if status is None or status.state == "running":
            continue
        sent = masked(address or sqlite(store)), status.state, token
        if gone or (known.get("address"), known.get("state"), known.get("token")) != sent:
            found.append(directory)
    return found
