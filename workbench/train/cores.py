"""CPU time of a process, and the time in which it waited for a core."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

TASKS = Path("/proc/self/task")
"""A folder for each thread; the second number of its `schedstat` is its wait for a core, in ns (Linux)."""


class CoreTime(NamedTuple):
    """Seconds so far, summed over all threads of this process."""

    used: float
    waited: float
    """Seconds ready to run while all allowed cores were busy; NaN if the system does not report it."""

    def since(self, before: CoreTime) -> CoreTime:
        """What has been added; a thread that ended in between can only make the wait look shorter."""
        waited = self.waited - before.waited
        return CoreTime(self.used - before.used, 0.0 if waited < 0 else waited)


def core_time() -> CoreTime:
    """Reads the clocks of all threads, which takes some two microseconds for each."""
    return CoreTime(time.process_time(), _waited())


_opened: dict[str, int] = {}
"""Thread -> its open `schedstat`: to open one takes ten times as long as to read it."""


def _waited() -> float:
    threads = set(os.listdir(TASKS)) if TASKS.is_dir() else set()
    for gone in _opened.keys() - threads:
        os.close(_opened.pop(gone))
    total, found = 0, False
    for thread in threads:
        try:
            if thread not in _opened:
                _opened[thread] = os.open(TASKS / thread / "schedstat", os.O_RDONLY)
            total += int(os.pread(_opened[thread], 64, 0).split()[1])
            found = True
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel keeps no such clock
            if thread in _opened:
                os.close(_opened.pop(thread))
    return total / 1e9 if found else float("nan")
