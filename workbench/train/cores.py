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
