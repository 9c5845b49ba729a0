"""How much of the processor a process has had: time on its cores, and time spent waiting for one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

TASKS = Path("/proc/self/task")
"""A folder for each thread; the second number of its `schedstat` is its wait for a core, in ns (Linux)."""


class CoreTime(NamedTuple):
    """Seconds so far, summed over all threads of this process."""

    used: float
    waited: float
    """Ready to run while every core that was allowed was taken; NaN where the system does not tell."""

    def since(self, before: CoreTime) -> CoreTime:
        """What has been added; a thread that ended in between can only make the wait look shorter."""
        waited = self.waited - before.waited
        return CoreTime(self.used - before.used, 0.0 if waited < 0 else waited)


class CoreClock:
    """Core time of stretches of work; where one follows upon another, a single reading ends and begins them.

    A reading opens a file for each thread, which is much beside a step of a small model.
    """

    def __init__(self) -> None:
        self._begun: CoreTime | None = None

    def begin(self) -> None:
        """Begins a stretch, at the end of the one before unless something lay between that does not count."""
        if self._begun is None:
            self._begun = core_time()

    def end(self) -> CoreTime:
        """The core time of the stretch; the next one may begin here."""
        assert self._begun is not None, "a stretch has begun"
        now, begun = core_time(), self._begun
        self._begun = now
        return now.since(begun)

    def leave_out(self) -> None:
        """What was done since the last stretch belongs to none: the next one begins with a new reading."""
        self._begun = None


def core_time() -> CoreTime:
    """Reads the clocks of all threads, which takes some ten microseconds for each."""
    return CoreTime(time.process_time(), _waited())


def _waited() -> float:
    total, found = 0, False
    for file in TASKS.glob("*/schedstat"):
        try:
            total += int(file.read_text().split()[1])
            found = True
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel keeps no such clock
            continue
    return total / 1e9 if found else float("nan")
