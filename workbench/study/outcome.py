"""How runs stand and how they end, in the words that ledger, runner and screen share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.study.plan import Run
from workbench.tracking.files import Lock
from workbench.tracking.run_dir import RunDir, Status

ATTEMPTS = {
    "not_finite": 1,  # the same seed diverges again
    "data": 2,
    "out_of_memory": 2,
    "error": 2,
    "hang": 2,
    "killed": 3,
}
"""How often a run may fail in each way before it is given up."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a run: nobody else has it until it is settled or put back."""

    run: Run
    directory: RunDir
    lock: Lock
    trial: int
    attempt: int
    token: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: `complete` with a value, `failed` with a failure, or `interrupted`."""

    state: str
    failure: str = ""
    reason: str = ""
    value: float | None = None
    """The study's metric on the validation split."""
    notes: Mapping[str, Any] | None = None
    """Further metrics, kept with the trial."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one run of the plan stands: complete, running, waiting, failed or missing."""

    run: Run
    state: str
    attempts: int = 0
    """Attempts that count: those that failed by the run's own doing."""
    reason: str = ""


def read_outcome(directory: RunDir, metric: str) -> Outcome:
    """The outcome that a run directory tells by itself, once its process has ended."""
    status = directory.status() or Status(state="interrupted")
    if status.state != "complete":
        reason = next(iter(status.reason.splitlines()), "")[:200]  # the whole is in the log
        return Outcome(state=status.state, failure=status.failure or "", reason=reason)
    summary = directory.summary()
    value = summary.get(f"val/{metric}")
    if not isinstance(value, int | float):
        reason = f"summary.json has no val/{metric}"
        return Outcome(state="failed", failure="error", reason=reason)
    # Few enough to be columns in a dashboard; the rest is in the run directory.
    wanted = (f"test/{metric}", "cost/train_pflops", "cost/train_gflops_per_clip", "speed/clips_per_s")
    notes = {name: summary[name] for name in wanted if name in summary}
    return Outcome(state="complete", value=float(value), notes=notes)


def completed(directory: RunDir) -> bool:
    """Whether a run directory is the record of a complete run."""
    status = directory.status()
    return status is not None and status.state == "complete"
