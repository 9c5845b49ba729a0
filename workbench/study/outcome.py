"""States and outcomes of runs, shared by ledger, runner and screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from workbench.errors import UserError
from workbench.study.plan import Plan, Run
from workbench.tracking.files import Lock
from workbench.tracking.points import is_finite
from workbench.tracking.run_dir import RunDir, Status
from workbench.tracking.runs import MENDING, unknown_settings

MAX_ATTEMPTS = {
    "not_finite": 1,  # the same seed diverges again
    "data": 2,
    "out_of_memory": 2,
    "error": 2,
    "hang": 2,
    "killed": 3,
}
"""Number of failures of each class after which a run is given up."""

PROCESS_GONE = "its process is gone"
"""Why a run was ended that its process had left RUNNING."""


def memory_kills(counters: Path = Path("/proc/vmstat")) -> int:
    """How many processes of this machine the system has killed for want of memory; 0 where unknown."""
    try:
        lines = counters.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux, or hidden from us
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A run that this process has taken: nobody else gets it until it is settled or put back."""

    run: Run
    directory: RunDir
    lock: Lock
    trial: int
    attempt: int
    token: str
    memory_kills: int = field(default_factory=memory_kills)
    """`memory_kills` when the lease began."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: `complete` with a value, `failed` with a failure, `interrupted`, or `pruned`."""

    state: str
    failure: str = ""
    reason: str = ""
    value: float | None = None
    """The study's metric on the validation split."""
    cost: float | None = None
    """The study's cost, where it has one."""
    notes: Mapping[str, Any] | None = None
    """Further metrics, kept with the trial."""
    damaged: bool = False
    """Whether it failed in that its record cannot be read, or lacks what a complete one has."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The state of one run of the plan: complete, pruned, running, waiting, failed or missing."""

    run: Run
    state: str
    attempts: int = 0
    """Number of attempts that failed because of the run itself."""
    reason: str = ""
    """Why it failed; for a complete run what is unusual in its record."""


FINAL = ("complete", "failed", "pruned")
"""States of runs that are not tried again."""


def read_outcome(directory: RunDir, metric: str, cost: str = "") -> Outcome:
    """The outcome that a run directory tells by itself, once its process has ended.

    A damaged record is a failure of this run, and of no other.
    """
    try:
        return _told(directory, metric, cost)
    except UserError as error:
        return Outcome(state="failed", failure="data", reason=str(error)[:200], damaged=True)


def _told(directory: RunDir, metric: str, cost: str) -> Outcome:
    status = directory.status() or Status(state="interrupted")
    if status.state != "complete":
        reason = next(iter(status.reason.splitlines()), "")[:200]  # the whole is in the log
        return Outcome(state=status.state, failure=status.failure or "", reason=reason)
    directory.identity()  # else no report could say whose run it is
    summary = directory.summary()
    value: Any = summary.get(f"val/{metric}")
    spent = summary.get(cost)
    needed = {f"val/{metric}": value} | ({cost: spent} if cost else {})
    for name, number in needed.items():
        if not is_finite(number):
            reason = f"{directory.file('summary.json')} has no {name}"
            return Outcome(state="failed", failure="error", reason=reason, damaged=True)
    # Few enough to be columns in a dashboard; the rest is in the run directory.
    wanted = (f"test/{metric}", "cost/train_pflops", "cost/train_gflops_per_clip", "speed/clips_per_s")
    notes = {name: summary[name] for name in wanted if is_finite(summary.get(name))}
    return Outcome(
        state="complete",
        reason=unknown_settings(directory.flat_config()),
        value=float(value),
        cost=spent if cost else None,
        notes=notes,
    )


def standing(run: Run, told: Outcome) -> Entry | None:
    """Where a run stands by its record alone: complete, or failed where that is damaged; None where the
    record does not say."""
    if told.damaged:  # whoever owns it is to decide
        return Entry(run=run, state="failed", reason=f"{told.reason}; {MENDING}")
    return Entry(run=run, state="complete", reason=told.reason) if told.state == "complete" else None


def recorded(plan: Plan, results: Path) -> list[Entry]:
    """The runs of a plan where no storage knows of them yet, as when they were gathered."""
    found = []
    for run in plan.runs:
        directory = RunDir.of(results, plan.study.name, run.cell.key, run.seed)
        told = read_outcome(directory, plan.study.metric, plan.study.cost)
        found.append(standing(run, told) or Entry(run=run, state="missing"))
    return found


def measured_seconds(plan: Plan, results: Path) -> dict[str, float]:
    """Key of a cell -> mean seconds that its complete runs took, start-up and evaluation included.

    Where the budget itself is a time, at least that is known before the first run.
    """
    budgets = {cell.key: [stage.budget for stage in cell.config.stages] for cell in plan.cells}
    known = {
        key: sum(budget.amount for budget in stages)
        for key, stages in budgets.items()
        if all(budget.unit == "seconds" for budget in stages)
    }
    found: dict[str, list[float]] = {}
    for run in plan.runs:
        directory = RunDir.of(results, plan.study.name, run.cell.key, run.seed)
        total = summary_of(directory).get("speed/total_seconds")
        if is_finite(total):
            found.setdefault(run.cell.key, []).append(float(total))
    return known | {key: fmean(values) for key, values in found.items()}


def summary_of(directory: RunDir) -> dict[str, Any]:
    """Empty where the record is damaged, which the state of the run says."""
    try:
        return directory.summary()
    except UserError:
        return {}
