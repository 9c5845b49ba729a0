"""Stale runs: they hang and nobody looks after them any more, so they would hold up every later command.

The study process that started a run ends it when it shows no progress, and the fork server ends it when the
study process is gone. When both were killed, whoever waits for the run next does so.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from workbench.tracking.run_dir import RunDir

HUNG_SAVE_TIMEOUT = 10.0
"""Seconds in which a run that has hung may save and end after it was asked to."""
POLL = 0.1


def mark(directory: RunDir) -> str:
    """Changes whenever the run has written a metric or its status."""
    return ",".join(
        str(path.stat().st_mtime_ns)
        for path in (directory.file("metrics.jsonl"), directory.file("status.json"))
        if path.exists()
    )


class StaleRuns:
    """Remembers since when the runs that one waits for have shown no progress, and ends the stale ones."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._seen: dict[Path, tuple[str, float]] = {}

    def end(self, directory: RunDir) -> bool:
        """Ends a run that nobody looks after and that has hung for too long; whether it did."""
        now, found = time.monotonic(), mark(directory)
        before, since = self._seen.setdefault(directory.path, (found, now))
        if found != before:
            self._seen[directory.path] = found, now
        elif now - since > self._deadline and (leader := _leader(directory)) is not None:
            _kill(leader)
            return True
        return False


def _leader(directory: RunDir) -> int | None:
    """The process of a run that holds its lock all by itself; None where somebody else has it too.

    Runs have sessions of their own. A study process that looks after its run shares the lock; one that was
    started by hand in a terminal belongs to whoever did so.
    """
    holders = _holders(directory.file("lock"))
    sessions = set()
    for pid in holders:
        with suppress(ProcessLookupError):
            sessions.add(os.getsid(pid))
    return sessions.pop() if len(sessions) == 1 and sessions <= holders else None


def _holders(lock: Path) -> set[int]:
    """Processes that have this file open; none where the system does not tell."""
    found = set()
    wanted = str(lock.resolve())
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # ended just now, or another user's
            if any(os.readlink(link) == wanted for link in folder.iterdir()):
                found.add(int(folder.parent.name))
    return found - {os.getpid()}


def _kill(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGTERM)
        end = time.monotonic() + HUNG_SAVE_TIMEOUT
        while time.monotonic() < end:
            os.kill(leader, 0)
            time.sleep(POLL)
        os.killpg(leader, signal.SIGKILL)
