"""Metrics of cells at an equal budget, and their costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from workbench import figures, naming, stats, tables
from workbench.answer.results import Answer
from workbench.figures import paper
from workbench.figures.style import label
from workbench.report.pictures import EQUAL, FLOPS, MEMORY, PER_CLIP, SECONDS, THROUGHPUT, Picture

TOKENS_IN, TOKENS_OUT = "cost/video_tokens_in", "cost/video_tokens_out"
COSTS = (
    TOKENS_OUT, TOKENS_IN, "cost/video_passes", "cost/text_passes", "cost/video_gflops_per_clip",
    "cost/text_gflops_per_clip", PER_CLIP, FLOPS, "train/steps", THROUGHPUT, MEMORY, SECONDS,
)  # fmt: skip
"""Costs of a cell, since a mask ratio does not show passes, decoders and steps."""
ENCODED = "video tokens encoded (% of all)"


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Learning curves of the complete runs of a study along one clock."""

    curves: Mapping[str, Mapping[int, tuple[np.ndarray, np.ndarray]]]
    """Key of a cell -> seed -> clock [n] ascending, metric [n]."""

    @cached_property
    def ends(self) -> list[tuple[float, float]]:
        """First and last budget at which each run was evaluated."""
        return [(float(x[0]), float(x[-1])) for seeds in self.curves.values() for x, _ in seeds.values()]

    @property
    def most(self) -> int:
        """Largest number of runs that can be compared at one budget."""
        return self.compared(self.widest) if self.ends else 0

    @cached_property
    def widest(self) -> float:
        """The budget at which most runs can be compared, of several the largest. Where some cells take many
        times the steps of others, no budget is within the reach of all."""
        candidates = sorted({last for _, last in self.ends}, reverse=True)
        return max(candidates, key=self.compared)  # the first of equals

    def compared(self, budget: float) -> int:
        """How many runs were evaluated before a budget and had not ended at it."""
        return sum(first <= budget <= last * (1 + EQUAL) for first, last in self.ends)


def learning(answer: Answer, curves: pl.DataFrame, clock: str) -> Learning:
    """The runs' curves of `val/<metric>`; see `tracking.curves.load_curves`. Empty without evaluations."""
    wanted = (pl.col("metric") == f"val/{answer.asked.metric}") & pl.col(clock).is_not_null()
    cells = answer.evidence.done.select("run", "key", "seed")
    table = (
        curves.filter(wanted)
        .join(cells, on="run", maintain_order="left")
        .sort(clock, maintain_order=True)
        .group_by("key", "seed", maintain_order=True)
        .agg(pl.col(clock).cast(pl.Float64), "value")
    )
    found: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    for key, seed, x, y in zip(table["key"], table["seed"], table[clock], table["value"], strict=True):
        found.setdefault(key, {})[seed] = (x.to_numpy(), y.to_numpy())
    return Learning(curves=found)


def at_budget(answer: Answer, found: Learning, budget: float) -> pl.DataFrame:
    """The cell table with `val/<metric>` as it was at the budget, with intervals over seeds.

    Between two evaluations a curve is taken as a straight line. Runs that were not yet evaluated, or had
    ended, at the budget are left out; `seeds` counts the others.
    """
    metric = f"val/{answer.asked.metric}"
    values: dict[str, dict[int, list[float]]] = {}
    for key, seeds in found.curves.items():
        for seed, (x, y) in seeds.items():
            if x[0] <= budget <= x[-1] * (1 + EQUAL):
                values.setdefault(key, {})[seed] = [float(np.interp(budget, x, y))]
    bounds = (answer.asked.measure.low, answer.asked.measure.high)
    summaries = stats.summarise_cells(values, bounds=bounds) if values else {}
    rows = []
    for key in answer.cells["key"]:
        mine = summaries.get(key)
        limits = (mine.interval.low, mine.interval.high) if mine and mine.interval else (None, None)
        rows.append((len(values.get(key, ())), mine.mean if mine else None, *limits))
    schema = {"seeds": pl.Int64(), metric: pl.Float64(), "low": pl.Float64(), "high": pl.Float64()}
    axes = [axis for axis in answer.asked.axes if axis in answer.cells.columns]
    read = pl.DataFrame(rows, schema=schema, orient="row")
    return pl.concat([answer.cells.select("key", "cell", *axes), read], how="horizontal")


def amount(budget: float) -> str:
    """A budget as people read it: two that differ by less than a step of training are said alike."""
    return f"{budget:.3g}" if budget < 100 else f"{budget:.0f}"


def budget_picture(answer: Answer, table: pl.DataFrame, clock: str, budget: float) -> Picture | None:
    """The table of `at_budget` over an axis; None where the study has no such axis."""
    metric = f"val/{answer.asked.metric}"
    # The axes are those of all cells: which of them are left at a budget must not change the x axis.
    where = figures.layout(table, answer.asked.axes)
    sweep = figures.sweep_table(table, answer.asked.axes, metric, answer.asked.says)
    if where is None or sweep is None or sweep.is_empty():
        return None
    axis, connected = naming.axis(where.x, answer.asked.says), where.connected
    return Picture(
        name="budget",
        caption=f"{naming.first(label(metric))} over {axis} at an equal budget of {amount(budget)} "
        f"({label(clock)}), with 95 % intervals over seeds where there are several.",
        drawn=lambda: paper.sweep(sweep, axis=axis, metric=metric, connected=connected),
        moving=figures.sweep_figure(sweep, axis=axis, metric=metric),
    )


def cost_table(answer: Answer) -> pl.DataFrame:
    """One row a cell: its axes, the metric, and everything it costs, see `COSTS`."""
    axes = [axis for axis in answer.asked.axes if axis in answer.cells.columns]
    found = tables.cell_table(answer.evidence.done, answer.asked.axes, answer.metric, COSTS)
    mine = answer.cells.select("key", *axes, answer.metric).join(
        found.select("key", *COSTS), on="key", how="left", maintain_order="left"
    )
    share = (100 * pl.col(TOKENS_OUT) / pl.col(TOKENS_IN)).alias(ENCODED)
    mine = mine.insert_column(len(axes) + 2, mine.select(share).to_series()).drop("key")
    return mine.select(name for name in mine.columns if mine[name].null_count() < mine.height)


def in_words(table: pl.DataFrame, says: Mapping[str, str]) -> pl.DataFrame:
    """The cost table for people: columns named in words, numbers of tokens as a share only.

    says: axis -> how its choices are said, see `workbench.naming`.
    """
    shown = [name for name in table.columns if name not in (TOKENS_IN, TOKENS_OUT)]
    measured = {name for name in shown if "/" in name}
    heads = {name: label(name) if name in measured else naming.axis(name, says) for name in shown}
    return tables.rename(table.select(shown), heads)
