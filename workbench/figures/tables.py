"""The tables behind the figures. All take `cells` in the form of `workbench.tables.cell_table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import polars as pl

from workbench import naming
from workbench.errors import UserError
from workbench.figures.style import value_text
from workbench.stats import Comparison, FactorEffects, ParetoPoint

MOST_PANELS = 4
MOST_CURVES = 7
"""Largest number of curves, as there are as many colours."""
MOST_COLUMNS = 12
"""Largest number of columns of a map with readable numbers."""
MOST_EFFECTS = 40
MOST_NAMED = 24
"""Points against a cost that have room for a word beside each."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The axes of a figure. Empty names mean none."""

    x: str
    connected: bool
    """The values of x are numbers, so that lines between them mean something."""
    curve: str = ""
    panel: str = ""


def layout(cells: pl.DataFrame, axes: Sequence[str]) -> Layout | None:
    """The numeric axis with most values along x, one axis for the curves, one for panels.

    None for studies without a varying axis, or with more than three.
    """
    levels = {axis: cells[axis].drop_nulls().n_unique() for axis in axes if axis in cells.columns}
    varying = [axis for axis, n in levels.items() if n > 1]
    if not varying or len(varying) > 3:
        return None
    numeric = [axis for axis in varying if cells[axis].dtype.is_numeric()]
    x = max(numeric or varying, key=lambda axis: levels[axis])  # the first of equals
    rest = [axis for axis in varying if axis != x]
    if any(levels[axis] > MOST_CURVES for axis in rest[-1:]):
        return None
    if len(rest) == 2 and levels[rest[0]] > MOST_PANELS:
        rest.reverse()
        if levels[rest[0]] > MOST_PANELS:
            return None
    return Layout(
        x=x, connected=bool(numeric), curve=rest[-1] if rest else "", panel=rest[0] if len(rest) == 2 else ""
    )


def sweep_table(
    cells: pl.DataFrame, axes: Sequence[str], metric: str, says: Mapping[str, str] | None = None
) -> pl.DataFrame | None:
    """The metric over one axis: panel, curve, x (as text), position, mean, low, high, key.

    says: axis -> how its choices are said, see `workbench.naming`. A cell that
    lacks the other axes (they exist only under some choices) is a point of every curve.
    """
    where = layout(cells, axes)
    if where is None:
        return None
    order = {value: i for i, value in enumerate(cells[where.x].drop_nulls().unique(maintain_order=True))}
    rows = []
    for row in cells.filter(pl.col(where.x).is_not_null()).iter_rows(named=True):
        x = row[where.x]
        for panel, curve in _spread(cells, where, row, says or {}):
            rows.append((panel, curve, value_text(x), float(x if where.connected else order[x]), row[metric],
                         row["low"], row["high"], row["key"]))  # fmt: skip
    table = pl.DataFrame(rows, schema=_SWEEP, orient="row").drop_nulls("mean")
    if not where.connected:
        return table
    return table.sort(_rank(table, "panel"), _rank(table, "curve"), "position")


_SWEEP = {
    "panel": pl.String(),
    "curve": pl.String(),
    "x": pl.String(),
    "position": pl.Float64(),
    "mean": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "key": pl.String(),
}


def scaling_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The metric over budgets in the form of `sweep_table`: a curve for each arm, doublings along x.

    rows: arm, budget, key, mean, low, high.
    """
    return rows.select(
        pl.lit("").alias("panel"),
        pl.col("arm").alias("curve"),
        pl.col("budget").map_elements(value_text, return_dtype=pl.String()).alias("x"),
        pl.col("budget").log(2).alias("position"),
        "mean",
        "low",
        "high",
        "key",
    )


def grid_table(
    cells: pl.DataFrame, axes: Sequence[str], metric: str, standing: Mapping[str, str] | None = None,
    says: Mapping[str, str] | None = None,
) -> pl.DataFrame | None:  # fmt: skip
    """The metric over two axes: panel, row, column, mean, low, high, standing, key.

    standing: key of a cell -> `better` or `worse` than the baseline, where that may be claimed; says: axis
    -> how its choices are said, of which panels are named.
    """
    where = layout(cells, axes)
    if where is None or not where.curve or cells[where.x].n_unique() > MOST_COLUMNS:
        return None
    ordered = cells.filter(pl.col(where.x).is_not_null())
    if where.connected:
        ordered = ordered.sort(where.x, maintain_order=True)
    rows = [
        (panel, curve, value_text(row[where.x]), row[metric], row["low"], row["high"],
         (standing or {}).get(row["key"], ""), row["key"])
        for row in ordered.iter_rows(named=True)
        for panel, curve in _spread(cells, where, row, says or {}, bare=True)
    ]  # fmt: skip
    names = ("panel", "row", "column", "mean", "low", "high", "standing", "key")
    texts = ("panel", "row", "column", "standing", "key")
    schema = {name: pl.String() if name in texts else pl.Float64() for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row").drop_nulls("mean")


def named(cells: pl.DataFrame, axes: Sequence[str]) -> bool:
    """Whether cells against a cost are known by names beside their points: they differ in one axis of words,
    which has more values than there are colours."""
    where = layout(cells, axes)
    lone = where is not None and not (where.connected or where.curve)
    return lone and MOST_CURVES < cells.height <= MOST_NAMED


def cost_table(
    cells: pl.DataFrame,
    axes: Sequence[str],
    metric: str,
    costs: Mapping[str, Mapping[str, ParetoPoint]],
    says: Mapping[str, str] | None = None,
) -> pl.DataFrame | None:
    """The metric against costs: name of the cost, key, cell, curve, x, mean and so on, see `_COST`.

    Few cells without an axis for curves are a curve each. beside: what to write at the point, its value on
    the axis that a sweep has along x, or its name (see `named`); empty where there are many points, and where
    curves say it.
    costs: name of a cost -> key of a cell -> its point, as from `stats.pareto`.
    """
    where = layout(cells, axes)
    numbers = where is not None and where.connected and cells.height <= MOST_NAMED
    words = named(cells, axes)
    rows = []
    for row in cells.iter_rows(named=True):
        beside = ""
        if where is not None and (numbers or words) and row[where.x] is not None:
            beside = value_text(row[where.x]) if numbers else _said(where.x, row[where.x], says or {})
        curve = row["cell"] if cells.height <= MOST_CURVES else ""
        if where is not None and where.curve:
            curve = _said(where.curve, row[where.curve], says or {})
        for cost, points in costs.items():
            if (point := points.get(row["key"])) is not None and row[metric] is not None:
                rows.append((cost, row["key"], row["cell"], curve, point.cost, row[metric], row["low"],
                             row["high"], point.on_front, point.frequency, beside))  # fmt: skip
    return pl.DataFrame(rows, schema=_COST, orient="row") if rows else None


_COST = {
    "cost": pl.String(),
    "key": pl.String(),
    "cell": pl.String(),
    "curve": pl.String(),
    "x": pl.Float64(),
    "mean": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "on_front": pl.Boolean(),
    "frequency": pl.Float64(),
    "beside": pl.String(),
}


def curves_table(
    curves: pl.DataFrame, cells: Mapping[str, str], metric: str, keys: Sequence[str]
) -> pl.DataFrame | None:
    """Learning curves: cell, step, seconds, pflops, mean, low, high (least and most over seeds), seeds.

    curves: long form, see `tracking.curves.load_curves`; cells: name of a run -> key of its cell;
    keys: the cells to show. The n-th evaluations of a cell's seeds make one point.
    """
    found = curves.filter(pl.col("metric") == metric).with_columns(
        pl.col("run").replace_strict(cells, default=None, return_dtype=pl.String()).alias("key")
    )
    found = found.filter(pl.col("key").is_in(list(keys)))
    if found.is_empty():
        return None
    found = found.sort("run", "step").with_columns(pl.int_range(pl.len()).over("run").alias("n"))
    table = found.group_by("key", "n").agg(
        pl.col("step").mean(),
        pl.col("seconds").mean(),
        pl.col("pflops").mean(),
        pl.col("value").mean().alias("mean"),
        pl.col("value").min().alias("low"),
        pl.col("value").max().alias("high"),
        pl.len().cast(pl.Int64).alias("seeds"),
    )
    order = {key: i for i, key in enumerate(keys)}
    return table.sort(pl.col("key").replace_strict(order, return_dtype=pl.Int64), "n").drop("n")


def smoothed(curves: pl.DataFrame, weight: float) -> pl.DataFrame:
    """Curves in long form, each point an exponential mean of those up to it: one before counts `weight` times
    as much as the one after it. The first points are not drawn towards zero.

    weight: from 0, which leaves everything as it is, to below 1.
    """
    if not 0 <= weight < 1:
        raise UserError(f"a weight for smoothing must be at least 0 and below 1, not {weight:g}")
    if weight == 0:
        return curves
    ordered = curves.sort("run", "metric", "step", maintain_order=True)
    mean = pl.col("value").ewm_mean(alpha=1 - weight, adjust=True).over("run", "metric")
    return ordered.with_columns(mean.alias("value"))


def contrasts_table(contrasts: Mapping[str, Comparison]) -> pl.DataFrame | None:
    """Registered contrasts in the form of `effects_table`, in their order, by what they are called."""
    rows = [
        (name, name, c.effect, *((c.shown.low, c.shown.high) if c.shown else (None, None)), c.p, c.p_adjusted,
         "" if c.winner is None else "better" if c.winner == c.a else "worse")
        for name, c in contrasts.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=_EFFECTS, orient="row") if rows else None


def effects_table(comparisons: Mapping[str, Comparison], standing: Mapping[str, str]) -> pl.DataFrame | None:
    """Differences to the baseline, the best first: key, cell, effect, low, high (of a claim at its own
    level), p, p_adjusted, standing. With one seed all limits are over queries only; where some cells have
    more, those of one seed have none, since theirs would say something else. Of very many cells the largest
    differences are kept, either way."""
    rows = []
    several = any(c.interval is not None for c in comparisons.values())
    for key, c in comparisons.items():
        interval = c.shown if several else c.over_queries
        rows.append((
            key, c.a, c.effect, *((interval.low, interval.high) if interval else (None, None)),
            c.p, c.p_adjusted, standing.get(key, ""),
        ))  # fmt: skip
    if not rows:
        return None
    table = pl.DataFrame(rows, schema=_EFFECTS, orient="row")
    if table.height > MOST_EFFECTS:
        table = table.sort(pl.col("effect").abs(), descending=True, maintain_order=True)[:MOST_EFFECTS]
    higher_is_better = next(iter(comparisons.values())).higher_is_better
    return table.sort("effect", descending=higher_is_better, maintain_order=True)


_EFFECTS = {
    "key": pl.String(),
    "cell": pl.String(),
    "effect": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "standing": pl.String(),
}


def factors_table(
    found: FactorEffects, *, maximize: bool, interactions: bool, says: Mapping[str, str] | None = None
) -> pl.DataFrame | None:
    """Main effects, or interactions, in the form of `effects_table`, in the order of the factors.

    Of very many the largest are kept. standing: after Holm over all tests of the answer; says: axis -> how
    its choices are said, see `workbench.naming`.
    """
    rows = []
    for effect in found.effects:
        if (len(effect.factors) > 1) == interactions:
            pairs = zip(effect.factors, effect.levels, strict=True)
            named = " × ".join(
                naming.choice(factor, level, says)
                if says and factor in says
                else f"{factor}={value_text(level)}"
                for factor, level in pairs
            )
            limits = (effect.shown.low, effect.shown.high) if effect.shown else (None, None)
            standing = ""
            if effect.distinguishable:
                standing = "better" if (effect.effect > 0) == maximize else "worse"
            size = round(effect.effect, 9)  # what is left of a sum that should be zero is zero
            rows.append((named, named, size, *limits, effect.p, effect.p_adjusted, standing))
    if not rows:
        return None
    table = pl.DataFrame(rows, schema=_EFFECTS, orient="row").with_row_index("order")
    largest = table.sort(pl.col("effect").abs(), descending=True, maintain_order=True)[:MOST_EFFECTS]
    return largest.sort("order").drop("order")


def _spread(
    cells: pl.DataFrame, where: Layout, row: Mapping[str, Any], says: Mapping[str, str], *, bare: bool = False
) -> list[tuple[str, str]]:
    """Panel and curve of a cell in words: its own, or all where it lacks these axes.

    bare: of the curve the value alone, where the axis is named beside it.
    """
    options: list[list[str]] = []
    for axis in (where.panel, where.curve):
        if not axis:
            options.append([""])
            continue
        every = cells[axis].drop_nulls().unique(maintain_order=True)
        values = every if row[axis] is None else [row[axis]]
        alone = bare and axis == where.curve
        options.append([value_text(value) if alone else _said(axis, value, says) for value in values])
    return list(product(*options))  # type: ignore[arg-type]


def _said(axis: str, value: Any, says: Mapping[str, str]) -> str:
    """A choice as a study says it, else the axis and its value."""
    if axis in says and value is not None:
        return naming.choice(axis, value, says)
    return f"{naming.axis(axis, says)} {'–' if value is None else value_text(value)}"


def _rank(table: pl.DataFrame, column: str) -> pl.Expr:
    """Order of first appearance."""
    order = {value: i for i, value in enumerate(table[column].unique(maintain_order=True))}
    return pl.col(column).replace_strict(order, return_dtype=pl.Int64)
