"""Sends the runs of a study to MLflow while it goes on, without ever standing in its way."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.addresses import masked, sqlite
from workbench.tracking.run_dir import RunDir

if TYPE_CHECKING:
    from workbench.tracking.mlflow import Mirror

EVERY = 5.0
"""Seconds between two looks at a run that is going on."""
PATIENCE = 60.0
"""Seconds that the end of a study waits for what is still to be sent."""
ATTEMPTS = 3


class Claimed(Protocol):
    """What the forwarder needs of a claimed run."""

    @property
    def directory(self) -> RunDir: ...


class Forwarder:
    """Mirrors the runs of a study from a thread of its own. Nothing here raises or blocks."""

    def __init__(self, results: Path, address: str, first: Sequence[RunDir] = ()) -> None:
        self._results, self._address = results, address
        self._tasks: queue.Queue[RunDir | None] = queue.Queue()
        self._mirror: Mirror | None = None
        self._current: RunDir | None = None
        self._unsent: dict[Path, str] = {}
        for directory in first:
            self._put(directory)
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def started(self, claim: Claimed) -> None:
        self._current = claim.directory

    def progressed(self, claim: Claimed, share: float) -> None:
        """The thread looks at the current run by itself."""

    def ended(self, claim: Claimed, outcome: object, over: bool) -> None:
        self._current = None
        self._put(claim.directory)

    def waiting(self, entries: Sequence[object]) -> None:
        """Runs of other processes are mirrored by those."""

    def close(self, patience: float = PATIENCE) -> str:
        """Waits for what is left, but not for ever; returns a warning when something was not sent."""
        self._tasks.put(None)
        self._thread.join(patience)
        if not self._unsent:
            return ""
        count = "1 run is" if len(self._unsent) == 1 else f"{len(self._unsent)} runs are"
        first = next(iter(self._unsent.values()))
        paths = " ".join(str(path) for path in list(self._unsent)[:3])
        more = " ..." if len(self._unsent) > 3 else ""
        return (
            f"{count} not in MLflow ({masked(first)}); nothing is lost, send them "
            f"with: python -m workbench.tracking import {paths}{more}"
        )

    def _put(self, directory: RunDir) -> None:
        self._unsent[directory.path] = "not yet sent"
        self._tasks.put(directory)

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=EVERY)
            except queue.Empty:
                if (current := self._current) is not None:
                    self._try(current)
                continue
            if task is None:
                break
            self._send(task, ATTEMPTS)
        for path in list(self._unsent):
            self._send(RunDir(path), attempts=1)

    def _send(self, directory: RunDir, attempts: int) -> None:
        for attempt in range(attempts):
            if attempt:
                time.sleep(2.0**attempt)
            self._unsent[directory.path] = self._try(directory)
            if not self._unsent[directory.path]:
                del self._unsent[directory.path]
                return

    def _try(self, directory: RunDir) -> str:
        """Sends what is new of a run; returns what went wrong, or nothing."""
        try:
            if self._mirror is None:
                from workbench.tracking.mlflow import Mirror  # takes seconds to import

                self._mirror = Mirror(self._results, self._address)
            self._mirror.sync(directory)
        # A tracker may raise anything; training must not notice, and the run is sent again later.
        except Exception as error:  # noqa: BLE001
            return (str(error).splitlines() or [type(error).__name__])[0][:200] or "unknown error"
        return ""


class NoForwarder:
    """In the place of a forwarder where the user wants none."""

    def started(self, claim: Claimed) -> None: ...
    def progressed(self, claim: Claimed, share: float) -> None: ...
    def ended(self, claim: Claimed, outcome: object, over: bool) -> None: ...
    def waiting(self, entries: Sequence[object]) -> None: ...
    def close(self, patience: float = PATIENCE) -> str:
        return ""


def forwarder(results: Path, address: str = "", first: Sequence[RunDir] = ()) -> Forwarder | NoForwarder:
    """Mirrors in the store at `address` (`RESULTS/mlflow.db` when empty), or nowhere for `none`.

    `first`: run directories to send before all others.
    """
    return NoForwarder() if address == "none" else Forwarder(results, address, first)


def unsent(directories: Iterable[RunDir], results: Path, address: str = "") -> list[RunDir]:
    """Those whose end has not been sent to this store, told by their own notes."""
    store = results / "mlflow.db"
    lost = not address and not store.exists()
    found = []
    for directory in directories:
        status = directory.status()
        if status is None or status.state == "running":
            continue
        known = directory.read_json("mlflow.json")
        sent = masked(address or sqlite(store)), status.state
        if lost or (known.get("address"), known.get("state")) != sent:
            found.append(directory)
    return found
