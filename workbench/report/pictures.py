"""The figures of a study and their files: PDF and PNG for print, one interactive HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench import figures, naming, stats, tasks
from workbench.answer import search, sentences, wording
from workbench.answer.caveats import differences_vary
from workbench.answer.results import Answer
from workbench.answer.scaling.curves import curve_rows
from workbench.figures import paper
from workbench.figures.style import CLOCKS, HOLM, IN_ORDER, plain
from workbench.figures.tables import MOST_CURVES
from workbench.report.about import About
from workbench.tracking.curves import load_curves
from workbench.tracking.files import write_atomic

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

FLOPS, PER_CLIP, SECONDS = "cost/train_pflops", "cost/train_gflops_per_clip", "speed/train_seconds"
THROUGHPUT, MEMORY = "speed/clips_per_s", "cost/peak_memory_gb"
EQUAL = 0.02
"""Relative difference of total FLOPs below which budgets count as equal."""
ACROSS = 140
"""Pixels that an upright axis takes for its name to be read, a level one twice as many."""
BY_DESIGN = 0.05
"""Total FLOPs that differ by less were meant to be equal, and differ by whole steps: few steps of two stages
round by 2 %. Then FLOPs per clip say what a cell costs."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure in two versions, for print and interactive."""

    name: str
    caption: str
    drawn: Callable[[], Figure]
    moving: go.Figure
    least: int = 0
    """Pixels of width that its words take: a page that is narrower scrolls it."""


def pictures(answer: Answer, results: Path) -> list[Picture]:
    """The figures for which the study has the axes and the runs."""
    keys = worth_showing(answer)
    # A joint answer of several studies has no one folder of runs; each study's own report has its curves.
    one, done = not answer.asked.studies, answer.evidence.done
    runs = done.filter(pl.col("key").is_in(keys))["run"].to_list() if one else list[str]()
    learning = load_curves(results, answer.asked.name, runs, [f"val/{answer.asked.metric}"])
    found = (
        scaling(answer),
        sweep(answer),
        grid(answer),
        cost(answer, usual_costs(answer)),
        curves(answer, learning, keys),
        contrasts(answer),
        differences(answer),
    )
    return [picture for picture in found if picture is not None]


def scaling(answer: Answer) -> Picture | None:
    """The metric over the budgets of a study, a curve for each arm; None where it has no such axis, or not
    all of its cells yet."""
    if answer.scaling is None or answer.scaling.grid is None:
        return None
    table = figures.scaling_table(curve_rows(answer.scaling))
    axis, metric = f"{answer.scaling.axis} (log scale)", answer.metric
    chance = answer.guess
    return Picture(
        name="scaling",
        caption=f"{naming.first(answer.title)} over {answer.scaling.axis}, with 95 % intervals over seeds "
        "and queries; on the logarithmic axis the lines between budgets are straight.",
        drawn=lambda: paper.sweep(table, axis=axis, metric=metric, connected=True, chance=chance),
        moving=figures.sweep_figure(table, axis=axis, metric=metric, chance=chance),
    )


def sweep(answer: Answer) -> Picture | None:
    """The metric over an axis; None where the study has no such axis."""
    if answer.asked.search:  # what was proposed fills no grid that one could look along
        return None
    where = figures.layout(answer.cells, answer.asked.axes)
    says = answer.asked.says
    table = figures.sweep_table(answer.cells, answer.asked.axes, answer.metric, says)
    if where is None or table is None or table.is_empty():
        return None
    axis, metric, connected = naming.axis(where.x, says), answer.metric, where.connected
    chance = answer.guess
    of_chance = "" if chance is None else " The dashed line is the chance level."
    over = f"{naming.first(answer.title)} over {axis}"
    return Picture(
        name="sweep",
        caption=f"{over}, with 95 % intervals {answer.cells_vary}.{of_chance}",
        drawn=lambda: paper.sweep(table, axis=axis, metric=metric, connected=connected, chance=chance),
        moving=figures.sweep_figure(table, axis=axis, metric=metric, chance=chance),
    )


def grid(answer: Answer) -> Picture | None:
    """The metric over two axes as a map; None where the study has no two axes for it."""
    if answer.asked.search:
        return None
    where = figures.layout(answer.cells, answer.asked.axes)
    standing = {key: answer.standing(key) for key in answer.asked.cells}
    says = answer.asked.says
    table = figures.grid_table(answer.cells, answer.asked.axes, answer.metric, standing, says)
    if where is None or table is None or table.is_empty():
        return None
    row, column = (naming.axis(axis, says) for axis in (where.curve, where.x))
    across = {"row": row, "column": column, "metric": answer.metric}
    marks = ""
    tested = any(c.interval is not None and c.family is not None for c in answer.comparisons.values())
    if answer.asked.baseline is not None and tested:
        marks = f" ↑ better and ↓ worse than {answer.asked.against}, after Holm."
    return Picture(
        name="grid",
        caption=f"{naming.first(answer.title)} over {row} and {column}, with 95 % intervals "
        f"{answer.cells_vary}.{marks}",
        drawn=lambda: paper.grid(table, **across),
        moving=figures.grid_figure(table, **across),
        least=figures.grid_width(table),
    )


def write(found: list[Picture], folder: Path, about: About) -> None:
    """`<name>.pdf`, `<name>.png` and `figures.html`, which holds plotly's code once and needs no network."""
    charts = []
    for i, picture in enumerate(found):
        for ending in ("pdf", "png"):
            inside = about.inside(picture.caption)
            paper.save(picture.drawn(), folder / f"{picture.name}.{ending}", inside)
        chart = picture.moving.to_html(full_html=False, include_plotlyjs=i == 0, div_id=picture.name)
        charts.append((picture.caption, chart))
    write_atomic(folder / "figures.html", about.page(charts))


def cost(answer: Answer, names: Sequence[str]) -> Picture | None:
    """The metric against costs; None with fewer than two cells that have them."""
    costs = {name: points for name in names if (points := pareto(answer, name))}
    table = figures.cost_table(answer.cells, answer.asked.axes, answer.metric, costs, answer.asked.says)
    if table is None or table["key"].n_unique() < 2:
        return None
    metric = answer.metric
    most = table.group_by("cost").len()["len"].max()
    bars = ", and have their intervals" if isinstance(most, int) and most > figures.MOST_BARS else ""
    where = figures.layout(answer.cells, answer.asked.axes)
    words = figures.named(answer.cells, answer.asked.axes)
    says = where is not None and not words and any(table["beside"])
    beside = naming.axis(where.x, answer.asked.says) if where is not None and says else ""
    numbers = f" Numbers beside points: {beside}." if beside else ""
    return Picture(
        name="cost",
        caption=f"{naming.first(answer.title)} against cost; points of the Pareto front are connected{bars}."
        f"{numbers}",
        drawn=lambda: paper.cost(table, metric=metric),
        moving=figures.cost_figure(table, metric=metric),
        least=2 * ACROSS * min(2, table["cost"].n_unique()),
    )


def usual_costs(answer: Answer) -> list[str]:
    """FLOPs of the run, or of a clip where all runs have equal FLOPs. Throughput too, unless cells have names
    beside their points, of which one picture holds enough."""
    if answer.asked.cost:
        return [answer.asked.cost]
    column = f"metric.{FLOPS}"
    done = answer.evidence.done
    total = done[column].drop_nulls() if column in done.columns else pl.Series([], dtype=pl.Float64)
    equal = total.is_empty() or float(total.max()) <= (1 + BY_DESIGN) * float(total.min())  # type: ignore[arg-type]
    flops = PER_CLIP if equal else FLOPS
    return [flops] if figures.named(answer.cells, answer.asked.axes) else [flops, THROUGHPUT]


def pareto(answer: Answer, cost: str) -> dict[str, stats.ParetoPoint]:
    """Key of a cell -> its point against a cost, such as FLOPs or throughput. Empty where no run has it."""
    if cost == answer.asked.cost:
        return search.points(answer.asked, answer.evidence, cost)
    sign = -1.0 if tasks.metric(cost).higher_is_better else 1.0  # of throughput more is better
    costs, values = answer.evidence.with_cost(cost)
    costs = {key: {seed: sign * value for seed, value in mine.items()} for key, mine in costs.items()}
    groups, maximize = answer.evidence.groups, answer.asked.maximize
    # The front is drawn again a few thousand times to tell how sure it is.
    points = answer.evidence.computed.of(
        "pareto",
        (costs, values, groups, maximize),
        lambda: stats.pareto(costs, values, groups=groups, higher_is_better=maximize),
    )
    return {key: replace(point, cost=sign * point.cost) for key, point in points.items()}


def curves(
    answer: Answer, learning: pl.DataFrame, keys: Sequence[str], clocks: Sequence[str] = CLOCKS
) -> Picture | None:
    """Learning curves of some cells; None where none has two points.

    learning: curves of `val/<metric>`, see `tracking.curves.load_curves`.
    """
    cells = dict(answer.evidence.done.filter(pl.col("key").is_in(list(keys))).select("run", "key").rows())
    metric = f"val/{answer.asked.metric}"
    table = figures.curves_table(learning, cells, metric, keys)
    if table is None or table.height <= table["key"].n_unique():
        return None
    labels = {key: answer.asked.labels[key] for key in keys}
    which = "" if len(keys) == answer.cells.height else f", {len(keys)} of {answer.cells.height} cells"
    return Picture(
        name="curves",
        caption=f"{naming.first(tasks.title(metric))} during training{which}; error bars span the minimum "
        "to the maximum over seeds.",
        drawn=lambda: paper.curves(table, labels, metric=metric, clocks=clocks),
        moving=figures.curves_figure(table, labels, metric=metric, clocks=clocks),
    )


def worth_showing(answer: Answer) -> list[str]:
    """All cells in the order of the plan, or the baseline and the best by val, as many as have colours."""
    keys: list[str] = answer.cells["key"].to_list()
    if len(keys) <= MOST_CURVES:
        return keys
    column = f"metric.val/{answer.asked.metric}"
    if column not in answer.evidence.done.columns:
        return keys[:MOST_CURVES]
    means = answer.evidence.done.group_by("key", maintain_order=True).agg(pl.col(column).mean())
    ordered = means.sort(column, descending=answer.asked.maximize, nulls_last=True, maintain_order=True)
    first = [answer.asked.baseline] if answer.asked.baseline in keys else []
    best = list(dict.fromkeys([*first, *ordered["key"].to_list()]))[:MOST_CURVES]
    return [key for key in keys if key in best]


def contrasts(answer: Answer) -> Picture | None:
    """The registered contrasts of a study; None where it has none that can be made."""
    made = {c.text: c.comparison for c in answer.contrasts if c.comparison is not None}
    table = figures.contrasts_table(made)
    if table is None:
        return None
    caption = (
        f"The registered contrasts in their order: difference, {differences_vary(made)}; coloured where it "
        "may be claimed."
    )
    title = f"difference ({answer.asked.measure.in_units})"
    return _intervals("contrasts", caption, table, title, IN_ORDER, made.values())


def differences(answer: Answer) -> Picture | None:
    """Differences to the baseline; None where nothing is compared."""
    standing = {key: answer.standing(key) for key in answer.comparisons}
    table = figures.effects_table(answer.comparisons, standing)
    if table is None or answer.asked.baseline is None:
        return None
    unit = answer.asked.measure.in_units
    baseline = answer.asked.against
    some = len(answer.comparisons)
    which = "" if table.height == some else f", the {table.height} largest of {some}"
    kind = differences_vary(answer.comparisons) + (" (none where there is one seed)" if answer.alone else "")
    title = f"difference to {plain(baseline)} ({unit})"
    rule = HOLM if any(c.family is not None for c in answer.comparisons.values()) else ""
    caption = f"Difference to {baseline} {kind}{which}."
    return _intervals("effects", caption, table, title, rule, answer.comparisons.values())


def factors(answer: Answer, *, interactions: bool = False) -> Picture | None:
    """What each level of each axis does on average, or which pairs do more; None without a full grid."""
    if answer.effects is None:
        return None
    table = figures.factors_table(
        answer.effects, maximize=answer.asked.maximize, interactions=interactions, says=answer.asked.says
    )
    if table is None:
        return None
    title = "beyond its two main effects" if interactions else "difference to the mean of all cells"
    rule = HOLM if answer.effects.tested and answer.effects.family is not None else ""
    kind = sentences.effects_vary(answer.effects)
    if rule:
        kind += "; coloured where it is not zero after that"
    what = "each pair of levels" if interactions else "each level of an axis"
    seeds = sentences.effects_seeds(answer.effects)
    caption = f"{naming.first(answer.title)}: {what}, {title}, {kind}. {seeds}"
    name = "interactions" if interactions else "factors"
    return _intervals(name, caption, table, title, rule, answer.effects.effects)


def _intervals(
    name: str, caption: str, table: pl.DataFrame, title: str, rule: str,
    found: Iterable[stats.Comparison | stats.Effect],
) -> Picture:  # fmt: skip
    """Differences below each other with their intervals, whose levels are those of `found`.

    table: in the form of `figures.effects_table`; rule: see `figures.effects_figure`.
    """
    levels = f"95 % intervals{wording.at_claims(found)}"
    return Picture(
        name=name,
        caption=caption,
        drawn=lambda: paper.effects(table, title=title, rule=rule, intervals=levels),
        moving=figures.effects_figure(table, title=title, rule=rule),
    )


def parallel(answer: Answer, reads: Sequence[str] = ()) -> Picture | None:
    """Every cell as a line through its axes, what it costs and what it reaches; None without two cells."""
    numbers = [*reads, answer.metric]
    dimensions = figures.dimensions(answer.cells, answer.asked.axes, numbers, answer.asked.says)
    if answer.cells[answer.metric].drop_nulls().len() < 2 or len(dimensions) < 2:
        return None
    return Picture(
        name="parallel",
        caption=f"Every cell as a line through its choices to its {answer.title}, which colours it.",
        drawn=lambda: paper.parallel(dimensions),
        moving=figures.parallel_figure(dimensions),
        least=ACROSS * len(dimensions),
    )
