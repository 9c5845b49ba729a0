"""Which pictures a study has, and their files: PDF and PNG for paper, one HTML page to move in."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench import figures, stats
from workbench.errors import UserError
from workbench.figures import paper
from workbench.figures.tables import MOST_CURVES
from workbench.report.answer import Answer
from workbench.tracking.files import write_atomic
from workbench.tracking.runs import load_curves

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

FLOPS, PER_CLIP, SECONDS = "cost/train_pflops", "cost/train_gflops_per_clip", "speed/train_seconds"
EQUAL = 0.02
"""Total FLOPs that differ by less are equal by design; then FLOPs per clip say what a cell costs."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture, drawn twice."""

    name: str
    caption: str
    drawn: Figure
    moving: go.Figure


def pictures(answer: Answer, results: Path) -> list[Picture]:
    """The pictures for which the study has the axes and the runs."""
    asked, metric = answer.asked, answer.metric
    places = figures.layout(answer.cells, asked.axes)
    standing = {key: answer.standing(key) for key in asked.cells}
    found = []
    sweep = figures.sweep_table(answer.cells, asked.axes, metric)
    if places is not None and sweep is not None:
        found.append(
            Picture(
                name="sweep",
                caption=f"{metric} over {places.x}, with 95 % intervals.",
                drawn=paper.sweep(sweep, axis=places.x, metric=metric, connected=places.connected),
                moving=figures.sweep_figure(sweep, axis=places.x, metric=metric),
            )
        )
    grid = figures.grid_table(answer.cells, asked.axes, metric, standing)
    if places is not None and grid is not None:
        across = {"row": places.curve, "column": places.x, "metric": metric}
        found.append(
            Picture(
                name="grid",
                caption=f"{metric} over {places.curve} and {places.x}, with 95 % intervals.",
                drawn=paper.grid(grid, **across),
                moving=figures.grid_figure(grid, **across),
            )
        )
    return [*found, *_cost(answer), *_curves(answer, results), *_effects(answer, standing)]


def write(found: list[Picture], folder: Path, title: str) -> None:
    """`<name>.pdf`, `<name>.png` and `figures.html`, which holds plotly's code once and needs no network."""
    for picture in found:
        for ending in ("pdf", "png"):
            paper.save(picture.drawn, folder / f"{picture.name}.{ending}")
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for i, picture in enumerate(found):
        chart = picture.moving.to_html(full_html=False, include_plotlyjs=i == 0, div_id=picture.name)
        parts.append(f"<h2>{html.escape(picture.caption)}</h2>\n{chart}")
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    style = "<style>body{font:15px system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}" \
            "h2{font-size:1rem}</style></head><body>"  # fmt: skip
    write_atomic(folder / "figures.html", "\n".join([head + style, *parts, "</body></html>\n"]))


def _cost(answer: Answer) -> list[Picture]:
    costs = {name: points for name in _costs(answer) if (points := _pareto(answer, name))}
    table = figures.cost_table(answer.cells, answer.asked.axes, answer.metric, costs)
    if table is None or table["key"].n_unique() < 2:
        return []
    return [
        Picture(
            name="cost",
            caption=f"{answer.metric} against cost; points of the Pareto front are connected.",
            drawn=paper.cost(table, metric=answer.metric),
            moving=figures.cost_figure(table, metric=answer.metric),
        )
    ]


def _costs(answer: Answer) -> list[str]:
    """FLOPs of the run, or of a clip where all runs have equal FLOPs; and seconds."""
    column = f"metric.{FLOPS}"
    done = answer.evidence.done
    total = done[column].drop_nulls() if column in done.columns else pl.Series([], dtype=pl.Float64)
    equal = total.is_empty() or float(total.max()) <= (1 + EQUAL) * float(total.min())  # type: ignore[arg-type]
    return [PER_CLIP if equal else FLOPS, SECONDS]


def _pareto(answer: Answer, cost: str) -> dict[str, stats.ParetoPoint]:
    evidence = answer.evidence
    costs: dict[str, Mapping[int, float]] = {}
    for key in evidence.values:
        try:
            costs[key] = evidence.per_seed(key, cost)
        except UserError:  # runs of an older version: the cell has no place on this axis
            continue
    qualities = {key: evidence.values[key] for key in costs if key not in evidence.refused}
    return stats.pareto(
        {key: costs[key] for key in qualities},
        qualities,
        groups=evidence.groups,
        higher_is_better=answer.asked.maximize,
    )


def _curves(answer: Answer, results: Path) -> list[Picture]:
    keys = _worth_showing(answer)
    rows = answer.evidence.done.filter(pl.col("key").is_in(keys))
    cells = dict(rows.select("run", "key").iter_rows())
    metric = f"val/{answer.asked.metric}"
    curves = load_curves(results, answer.asked.name, list(cells), [metric])
    table = figures.curves_table(curves, cells, metric, keys)
    if table is None or table.height <= table["key"].n_unique():
        return []
    labels = {key: answer.asked.labels[key] for key in keys}
    which = "" if len(keys) == answer.cells.height else f", {len(keys)} of {answer.cells.height} cells"
    return [
        Picture(
            name="curves",
            caption=f"{metric} during training{which}; bars reach from the least to the most of the seeds.",
            drawn=paper.curves(table, labels, metric=metric),
            moving=figures.curves_figure(table, labels, metric=metric),
        )
    ]


def _worth_showing(answer: Answer) -> list[str]:
    """All cells in the order of the plan, or the baseline and the best by val, as many as have colours."""
    keys: list[str] = answer.cells["key"].to_list()
    if len(keys) <= MOST_CURVES:
        return keys
    column = f"metric.val/{answer.asked.metric}"
    means = answer.evidence.done.group_by("key", maintain_order=True).agg(pl.col(column).mean())
    ordered = means.sort(column, descending=answer.asked.maximize, nulls_last=True, maintain_order=True)
    first = [answer.asked.baseline] if answer.asked.baseline in keys else []
    best = list(dict.fromkeys([*first, *ordered["key"].to_list()]))[:MOST_CURVES]
    return [key for key in keys if key in best]


def _effects(answer: Answer, standing: Mapping[str, str]) -> list[Picture]:
    table = figures.effects_table(answer.comparisons, standing)
    if table is None or answer.asked.baseline is None:
        return []
    comparison = next(iter(answer.comparisons.values()))
    baseline = answer.asked.labels[answer.asked.baseline]
    some = len(answer.comparisons)
    which = "" if table.height == some else f", the {table.height} largest of {some}"
    kind = "" if comparison.interval is not None else " over queries only, since there is one seed"
    return [
        Picture(
            name="effects",
            caption=f"Difference to {baseline} with 95 % intervals{kind}{which}.",
            drawn=paper.effects(table, baseline=baseline, unit=comparison.unit),
            moving=figures.effects_figure(table, baseline=baseline, unit=comparison.unit),
        )
    ]
