"""The evidence of a study: one number for each query of each complete run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from workbench import stats, tasks
from workbench.answer.study_record import StudyRecord, smoke_cells
from workbench.errors import UserError
from workbench.metrics import Queries
from workbench.stats.looks import Look
from workbench.tasks import queries_of
from workbench.tracking.cache.computed import Computed
from workbench.tracking.cache.queries import Answered, QueryValues
from workbench.tracking.runs import load_runs

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The planned runs that exist, and the metric's values of those that are complete."""

    runs: pl.DataFrame
    """Run table of the planned runs, any state, in the order of the plan."""
    others: int
    """Number of complete runs of the study that belong to other plans."""
    smoke_others: int = 0
    """Number of those that belong to smoke tests only."""
    values: Mapping[str, Mapping[int, np.ndarray]]
    """Key of a cell -> seed -> the metric on test for each query, [Q], or one number for the run, [1]."""
    groups: Sequence[str] | None
    """[Q], the clip of each query; None if each query is its own cluster."""
    looks: tuple[Look, ...]
    """Earlier looks at the study's answer, see `workbench.answer.validity.looks`."""
    val_captions: tuple[int, ...] | None
    """Number of captions of each clip of val; None if runs disagree or an earlier version made them."""
    refused: Mapping[str, str]
    """Key of a cell -> why it cannot be compared query by query with the others."""
    claimed: Mapping[str, Mapping[str, Mapping[int, Answered]]] = field(default_factory=dict)
    """Values of queries for other metrics that the study has claims about: metric -> key -> seed."""
    computed: Computed = field(default_factory=lambda: Computed(stats), repr=False, compare=False)
    """Cache of results from such values."""

    @cached_property
    def done(self) -> pl.DataFrame:
        """The complete ones of `runs`."""
        return self.runs.filter(pl.col("state") == "complete")

    @cached_property
    def _scores(self) -> dict[str, dict[str, dict[int, float | None]]]:
        """What `per_seed` has read: metric -> key -> seed -> value."""
        return {}

    def per_seed(self, key: str, metric: str) -> dict[int, float]:
        """Seed -> a metric of the cell's complete runs. Raises `UserError` if a run lacks it."""
        if metric not in self._scores:
            cells: dict[str, dict[int, float | None]] = {}
            if (column := f"metric.{metric}") in self.done.columns:
                rows = self.done.select("key", "seed", pl.col(column).cast(pl.Float64))
                for owner, seed, value in rows.iter_rows():
                    cells.setdefault(owner, {})[seed] = value
            self._scores[metric] = cells
        known = self._scores[metric].get(key, {})
        found = {seed: value for seed, value in known.items() if value is not None}
        if f"metric.{metric}" not in self.done.columns or len(found) < len(known):
            raise UserError(f"not every run has {tasks.title(metric)}")
        return found

    def without(self, lost: Collection[tuple[str, int]]) -> Evidence:
        """The evidence without some runs (key, seed), for the tests."""
        if not lost:
            return self
        names = [f"{key}-s{seed}" for key, seed in lost]
        return replace(
            self,
            runs=self.runs.filter(~pl.col("run").is_in(names)),
            values=_without(self.values, lost),
            claimed={metric: _without(cells, lost) for metric, cells in self.claimed.items()},
        )

    def with_cost(self, cost: str) -> tuple[dict[str, dict[int, float]], dict[str, stats.Runs]]:
        """A cost and the metric's values of the cells that have both, seed by seed, and can be compared."""
        column = f"metric.{cost}"
        if column not in self.runs.columns:
            return {}, {}
        known: dict[str, dict[int, float]] = {}
        for key, seed, value in self.done.select("key", "seed", pl.col(column).cast(pl.Float64)).iter_rows():
            known.setdefault(key, {})[seed] = value
        costs: dict[str, dict[int, float]] = {}
        values: dict[str, stats.Runs] = {}
        for key, runs in self.values.items():
            if None in known[key].values():  # a run of an older version: the cell has no point on this axis
                continue
            both = {seed for seed in runs if math.isfinite(known[key][seed])}
            if both and key not in self.refused:
                costs[key] = {seed: known[key][seed] for seed in both}
                values[key] = {seed: runs[seed] for seed in both}
        return costs, values


def _without(
    cells: Mapping[str, Mapping[int, _T]], lost: Collection[tuple[str, int]]
) -> dict[str, dict[int, _T]]:
    """Key -> seed -> value without some runs, and without cells that have none left."""
    kept = {
        key: {seed: value for seed, value in runs.items() if (key, seed) not in lost}
        for key, runs in cells.items()
    }
    return {key: runs for key, runs in kept.items() if runs}


def looks_file(results: Path, study: str) -> Path:
    """The file that records the looks at a study's claims."""
    return results / "runs" / study / "looks.json"


def read_looks(file: Path) -> tuple[Look, ...]:
    """The looks of a record in their order, none without one; `UserError` for a damaged one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return tuple(
            Look(
                seeds=tuple(map(int, look["seeds"])),
                plan=str(look["plan"]),
                **{name: str(look.get(name, "")) for name in ("runs", "cells", "tests")},
            )
            for look in found
        )
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} is damaged, and with it which looks were taken: {error!r}") from error


def gather(
    asked: StudyRecord, results: Path, table: pl.DataFrame | None = None, known: QueryValues | None = None
) -> Evidence:
    """Reads the values of the metric for the queries of all complete runs of the plan.

    table: the run table of the study, read when None; known: values that were read before.
    """
    known = known or QueryValues()
    where = queries_of(asked.metric)
    if table is None:
        table = load_runs(results, asked.name)
    planned = [f"{key}-s{seed}" for seed in asked.seeds for key in asked.cells]
    order = pl.DataFrame({"run": planned}, schema={"run": pl.String()})
    # Runs keep the label that their cell had at their start; the study's wording may have changed.
    words = pl.col("key").replace_strict(dict(asked.labels), return_dtype=pl.String())
    runs = order.join(table, on="run", how="inner", maintain_order="left").with_columns(words.alias("cell"))
    others = table.filter((pl.col("state") == "complete") & ~pl.col("run").is_in(planned))
    smoke = smoke_cells(results, asked.name) if others.height else ()

    found: dict[str, dict[int, Answered]] = {}
    complete = runs.filter(pl.col("state") == "complete")
    column = f"metric.test/{asked.metric}"
    numbers = complete[column].to_list() if column in complete.columns else [None] * complete.height
    names = [f"{key}-s{seed}" for key, seed in complete.select("key", "seed").iter_rows()]
    read = known.of_study(results, asked.name, names, where) if where is not None else {}
    for name, key, seed, number in zip(names, complete["key"], complete["seed"], numbers, strict=True):
        answered = read.get(name)
        if answered is None and number is not None:
            answered = Answered(np.array([float(number)]), None, "")
        if answered is not None:
            found.setdefault(key, {})[seed] = answered
    usual = _usual(asked, found)
    example = next((q for cell in found.values() for q in cell.values() if q.identity == usual), None)
    return Evidence(
        runs=runs,
        others=others.height,
        smoke_others=others.filter(pl.col("key").is_in(list(smoke))).height,
        values={key: {seed: q.values for seed, q in cell.items()} for key, cell in found.items()},
        groups=example.groups if example is not None else None,
        looks=read_looks(looks_file(results, asked.name)),
        val_captions=_val_captions(complete),
        refused={key: why for key, cell in found.items() if (why := _refusal(cell, usual, where))},
        claimed=_claimed(asked, results, names, known),
        computed=Computed(stats, results / "runs" / asked.name),
    )


def _claimed(
    asked: StudyRecord, results: Path, names: Sequence[str], known: QueryValues
) -> dict[str, dict[str, dict[int, Answered]]]:
    """See `Evidence.claimed`; names: of the complete runs."""
    found: dict[str, dict[str, dict[int, Answered]]] = {}
    for metric in {str(claim["metric"]).removeprefix("test/") for claim in asked.claims} - {asked.metric}:
        if (where := queries_of(metric)) is None:
            continue
        cells = found[metric] = {}
        for name, answered in known.of_study(results, asked.name, names, where).items():
            key, _, seed = name.rpartition("-s")
            cells.setdefault(key, {})[int(seed)] = answered
    return found


def _val_captions(runs: pl.DataFrame) -> tuple[int, ...] | None:
    """Captions of each clip of val, as runs note them: `1:480,3:20` for 480 clips with one and 20 with 3."""
    column = "env.val_captions"
    found = set(runs[column].to_list()) if column in runs.columns else set()
    if len(found) != 1 or not isinstance(text := found.pop(), str):
        return None
    try:
        pairs = [tuple(map(int, pair.split(":"))) for pair in text.split(",")]
        return tuple(captions for captions, clips in pairs for _ in range(clips))
    except ValueError:
        return None


def _usual(asked: StudyRecord, found: Mapping[str, Mapping[int, Answered]]) -> str:
    """The queries of the baseline, or else those that most runs answered."""
    base = found.get(asked.baseline or "")
    cells = [base] if base is not None else list(found.values())
    counts = Counter(q.identity for cell in cells for q in cell.values())
    return counts.most_common(1)[0][0] if counts else ""


def _refusal(cell: Mapping[int, Answered], usual: str, where: Queries | None) -> str:
    """Why a cell cannot be compared with those that answered the usual queries; empty where it can."""
    odd = [str(seed) for seed, q in sorted(cell.items()) if q.identity != usual]
    if not odd:
        return ""
    seeds = f"seed{'s' if len(odd) > 1 else ''} {', '.join(odd)}"
    if where is not None and usual and any(not q.identity for q in cell.values()):
        return f"{where.file} of {seeds} is missing or damaged"
    return f"{seeds} answered other queries than the rest; compare runs of the same test split"
