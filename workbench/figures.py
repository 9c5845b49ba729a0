"""Pictures of a study: a table function that is tested, and a figure function that draws it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only; no window is ever opened

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.tracking.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart; markers differ as well."""
MARKERS = "osD^vPX"
LABELS = {
    "t2v_r1": "text-to-video R@1 (%)",
    "v2t_r1": "video-to-text R@1 (%)",
    "cost/train_gflops_per_clip": "training GFLOPs per clip",
}


def sweep_table(cells: pl.DataFrame, axes: Sequence[str], metric: str, cost: str) -> pl.DataFrame:
    """A study's cells as points of curves: the first axis along x, the others name the curve.

    Args:
        cells: `tables.cell_table`, one row a cell, with its metric, `low` and `high`.

    Returns:
        x (number or word), position, curve, mean, low, high, cost; ordered by curve, then x.
    """
    first, rest = axes[0], axes[1:]
    order = {value: i for i, value in enumerate(sorted(set(cells[first]), key=_natural))}
    rows = [
        {
            "x": "" if row[first] is None else str(row[first]),
            "position": order[row[first]],
            "curve": ", ".join(_plain(f"{name} {row[name]}") for name in rest if row[name] is not None),
            "mean": row[metric],
            "low": row["low"],
            "high": row["high"],
            "cost": row.get(cost),
        }
        for row in cells.iter_rows(named=True)
        if row[metric] is not None
    ]
    schema = {"x": pl.String, "position": pl.Int64, "curve": pl.String}
    numbers = dict.fromkeys(("mean", "low", "high", "cost"), pl.Float64)
    return pl.DataFrame(rows, schema={**schema, **numbers}).sort("curve", "position", maintain_order=True)


def sweep_figure(table: pl.DataFrame, *, axis: str, metric: str, cost: str, title: str) -> Figure:
    """Quality over the first axis beside quality over cost, with 95 % intervals; one curve a colour."""
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    over_axis, over_cost = figure.subplots(1, 2, sharey=True)
    curves = table["curve"].unique(maintain_order=True).to_list()
    for i, name in enumerate(curves):
        curve = table.filter(pl.col("curve") == name)
        style: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "label": name,
        }
        # A little to the side of each other, so that intervals at one ratio can be told apart.
        shift = 0.05 * (i - (len(curves) - 1) / 2)
        _draw(over_axis, [p + shift for p in curve["position"]], curve, style)
        if curve["cost"].null_count() == 0:
            by_cost = curve.sort("cost")
            _draw(over_cost, by_cost["cost"].to_list(), by_cost, style)
    ticks = table.unique("position").sort("position")
    over_axis.set_xticks(ticks["position"].to_list(), ticks["x"].to_list())
    over_axis.set_xlabel(_plain(axis))
    over_axis.set_ylabel(LABELS.get(metric.removeprefix("test/"), metric))
    over_cost.set_xlabel(LABELS.get(cost, cost))
    for part in (over_axis, over_cost):
        part.grid(alpha=0.3)
        part.set_ylim(bottom=0)
    if any(curves):
        over_axis.legend(frameon=False)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as the file's ending says (png, pdf, svg); never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip("."), dpi=130)


def _draw(axes: Axes, x: Sequence[float], curve: pl.DataFrame, style: dict[str, Any]) -> None:
    axes.plot(x, curve["mean"], linewidth=1.6, markersize=5, **style)
    known = [i for i, (a, b) in enumerate(curve.select("low", "high").iter_rows()) if None not in (a, b)]
    if known:
        part = curve[known]
        below, above = part["mean"] - part["low"], part["high"] - part["mean"]
        # Rounding can put a mean a hair outside its own interval.
        spread = [below.clip(lower_bound=0).to_list(), above.clip(lower_bound=0).to_list()]
        axes.errorbar([x[i] for i in known], part["mean"], yerr=spread, fmt="none", ecolor=style["color"],
                      elinewidth=1.0, capsize=2.5)  # fmt: skip


def _plain(name: str) -> str:
    """An axis as words, harmless to matplotlib's mathematical text."""
    return name.replace("_", " ").replace("$", "")


def _natural(value: object) -> tuple[int, float, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if number else (1, 0.0, str(value))  # type: ignore[arg-type]
