"""The answer of a study as far as it is known: a table, a sentence, and what to beware of."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import stats, tables
from workbench.errors import UserError
from workbench.stats import gates
from workbench.study.plan import Cell, Plan
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import load_runs


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a study says."""

    table: pl.DataFrame
    """One row a cell, see `tables.cell_table`."""
    notes: dict[str, str]
    """Key of a cell -> `best`, `baseline`."""
    sentence: str
    gates: list[str]
    """Sentences on what limits the answer."""


def answer(plan: Plan, results: Path) -> Answer:
    """The answer from the plan's complete runs. Cells are selected by val, reported by test."""
    metric = plan.study.metric
    runs = planned_runs(plan, results)
    done = runs.filter(pl.col("state") == "complete")
    values = {cell.key: _values(plan, results, cell, done) for cell in plan.cells}
    found = {key: found for key, found in values.items() if found}
    groups = _groups(plan, results, done)
    intervals = {key: _interval(runs, groups) for key, runs in found.items()}
    table = tables.cell_table(done, plan.axes, f"test/{metric}", plan.study.reads, intervals)
    best = _best(plan, done)
    notes = {plan.baseline.key: "baseline"} if plan.baseline else {}
    if best is None:
        return Answer(table=table, notes=notes, sentence="No run is complete yet.", gates=[])
    notes[best.key] = "best, baseline" if best.key in notes else "best"
    sentence, beware = _compare(plan, best, found, groups)
    return Answer(table=table, notes=notes, sentence=sentence, gates=beware + _gates(plan, runs))


def planned_runs(plan: Plan, results: Path) -> pl.DataFrame:
    """The rows of the run table that belong to the plan, in its order."""
    runs = load_runs(results, plan.study.name)
    order = pl.DataFrame({"run": [run.name for run in plan.runs]}, schema={"run": pl.String()})
    return order.join(runs, on="run", how="inner", maintain_order="left")


def _values(plan: Plan, results: Path, cell: Cell, done: pl.DataFrame) -> dict[int, Any]:
    """Seed -> the metric of each query [Q] on test, or [1] where the metric is no mean of queries."""
    found: dict[int, Any] = {}
    for seed in done.filter(pl.col("key") == cell.key)["seed"]:
        directory = RunDir.of(results, plan.study.name, cell.key, seed)
        found[seed] = query_metric(directory, plan.study.metric)
    return found


def query_metric(directory: RunDir, metric: str) -> np.ndarray:
    """What each query of a run contributes to `metric` on test, [Q], from its ranks."""
    try:
        with np.load(directory.file("ranks.npz"), allow_pickle=False) as ranks:
            return stats.query_values(ranks[f"{metric[:3]}_rank"], metric)
    except (FileNotFoundError, KeyError, zipfile.BadZipFile, UserError):
        # No ranks, or a metric such as the median rank: the run counts as a single number.
        return np.array([float(directory.summary()[f"test/{metric}"])])


def _groups(plan: Plan, results: Path, done: pl.DataFrame) -> list[str] | None:
    """The clip of each query, so that captions of one clip are not taken for independent."""
    if done.is_empty() or not plan.study.metric.startswith("t2v"):
        return None
    first = done.row(0, named=True)
    directory = RunDir.of(results, plan.study.name, first["key"], first["seed"])
    try:
        with np.load(directory.file("ranks.npz"), allow_pickle=False) as ranks:
            return [str(group) for group in ranks["t2v_group"]]
    except (FileNotFoundError, KeyError, zipfile.BadZipFile):
        return None


def _interval(runs: dict[int, Any], groups: Sequence[str] | None) -> tuple[float, float] | None:
    interval = stats.summarise(runs, _fitting(groups, runs)).interval
    return (interval.low, interval.high) if interval is not None else None


def _fitting(groups: Sequence[str] | None, runs: dict[int, Any]) -> Sequence[str] | None:
    return groups if groups and all(len(v) == len(groups) for v in runs.values()) else None


def _best(plan: Plan, done: pl.DataFrame) -> Cell | None:
    """The cell with the best mean of the metric on val, never on test."""
    column = f"metric.val/{plan.study.metric}"
    if done.is_empty() or column not in done.columns:
        return None
    means = done.group_by("key", maintain_order=True).agg(pl.col(column).mean())
    ordered = means.sort(column, descending=plan.study.direction == "maximize", nulls_last=True)
    key = ordered["key"][0]
    return next(cell for cell in plan.cells if cell.key == key)


def _compare(
    plan: Plan, best: Cell, found: dict[str, dict[int, Any]], groups: Sequence[str] | None
) -> tuple[str, list[str]]:
    """The sentence, and the gates of the comparison behind it."""
    study, base = plan.study, plan.baseline
    mean = np.mean([np.mean(v) for v in found[best.key].values()])
    reached = f"{best.label} is best by val/{study.metric} and reaches test/{study.metric} {mean:.1f}"
    if base is None or base.key not in found:
        return f"{reached}; there is no baseline to compare with yet.", []
    if best.key == base.key:
        return f"{reached}; it is the baseline: no other cell does better on val.", []
    cells = {cell.label: found[cell.key] for cell in plan.cells if cell.key in found}
    family = stats.compare_family(
        cells,
        base.label,
        groups=_fitting(groups, found[best.key]),
        unit=f"points of {study.metric}",
        higher_is_better=study.direction == "maximize",
    )
    comparison = family[best.label]
    return f"{reached}. {stats.claim(comparison)}.", gates.comparison_gates(comparison)


def _gates(plan: Plan, runs: pl.DataFrame) -> list[str]:
    """What limits the table as a whole, whatever is compared."""
    done = runs.filter(pl.col("state") == "complete")
    seeds = {c.label: done.filter(pl.col("key") == c.key)["seed"].to_list() for c in plan.cells}
    bad = runs.filter(pl.col("state") == "failed")
    failed: dict[str, dict[int, str]] = {}
    for row in bad.iter_rows(named=True):
        reason = next(iter((row["reason"] or row["failure"]).splitlines()), "")[:200]
        failed.setdefault(row["cell"], {})[row["seed"]] = reason
    expected = {cell.label: plan.seeds for cell in plan.cells}
    hardware = {
        row["run"]: {fact: row.get(f"env.{fact}", "unknown") for fact in gates.HARDWARE}
        for row in done.iter_rows(named=True)
    }
    return [*gates.missing_cells(expected, seeds, failed), *gates.unequal_hardware(hardware)]
