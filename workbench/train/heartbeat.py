"""The heartbeat of a run: its progress, its duration, and whether this process still owns it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from workbench.tracking.run_dir import RunDir
from workbench.train import cost
from workbench.train.loop import expected_steps
from workbench.train.session import Session

EVERY = 2.0
"""Seconds between updates of `status.json`."""


@dataclass(frozen=True, kw_only=True)
class Stopwatch:
    """Duration of a run, including start-up, evaluation and lost work."""

    started: float
    """`time.perf_counter` at the start of this attempt."""
    before: float
    """Seconds of earlier attempts."""

    @property
    def attempt(self) -> float:
        """Seconds of this attempt so far."""
        return time.perf_counter() - self.started

    @property
    def spent(self) -> float:
        """Seconds of all attempts so far."""
        return self.before + self.attempt


class Superseded(Exception):
    """Another attempt owns this run now, so nothing may be written any more."""


class Heartbeat:
    """Polled during all work: records progress, checks for stop requests and for loss of ownership."""

    def __init__(self, run: RunDir, session: Session, watch: Stopwatch, stop: Callable[[], bool]) -> None:
        self.run, self.session, self.watch, self.stop = run, session, watch, stop
        self._token = run.identity().get("token")
        self._looked, self._moves = -math.inf, -1

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._looked > EVERY:
            self._looked = now
            self.check_owner()
            at = self.session.progress
            at.peak_memory_gb = max(at.peak_memory_gb, cost.peak_memory_gb(self.session.device))
            if self.session.moves != self._moves:  # else it hangs, and the study process should see that
                self._moves = self.session.moves
                steps = expected_steps(self.session)
                spent = self.watch.spent
                self.run.set_status("running", step=at.step, steps=steps, seconds=at.seconds, spent=spent)
                # For who looks at the run while it goes on.
                self.run.write_json("cost.json", self.session.costs)
        return self.stop()

    def check_owner(self) -> None:
        """Raises `Superseded` when the run was given to another attempt, or its directory is gone."""
        if self.run.identity().get("token") != self._token:
            raise Superseded("another attempt has taken over this run")
