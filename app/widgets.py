"""Widgets that views share: choices with the same meaning everywhere, figures and tables with downloads."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import polars as pl
import streamlit as st

from app import address
from app.markdown import escaped
from app.runs import Runs
from app.table_display import harmless, sortable
from workbench import naming, tables, tasks
from workbench.answer import study_record
from workbench.figures import paper
from workbench.figures.style import label
from workbench.report import latex
from workbench.report.about import About
from workbench.stats.intervals import Kind
from workbench.tasks import queries_of

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

CLOCKS = {"step": "steps", "pflops": "FLOPs", "seconds": "seconds"}
LIGHT, DARK = "#31333f", "#fafafa"
"""Text on a light ground and on a dark one, both far above a contrast of 4.5:1."""
WHOLE = 24
"""Number of rows up to which a table is shown without scrolling."""
MANY = 200
"""Number of cells above which figures that browsers draw slowly are made only on request."""
ERRORS = {"seeds": "seeds", "queries": "queries", "seeds+queries": "both"}

MASK_SEEDS = 100
"""Largest seed of a mask that a slider offers."""


def mask_seed() -> int:
    """Slider for the seed of a mask; parameter `draw`."""
    help = "Another seed samples another mask."
    return round(address.number("draw", "Mask seed", 0.0, float(MASK_SEEDS), 0.0, help=help))


def metric(runs: Runs, *, costs: Sequence[str] = (), beside: Sequence[Runs] = ()) -> str:
    """Parameter `metric`: which metric, without a split. costs: full names of further ones, such as speed;
    beside: studies that must have it too."""
    if not costs and "/" in st.query_params.get("metric", ""):
        address.drop("metric")  # a cost that was chosen in a view that has costs
    names = [name for name in runs.metrics() if all(name in other.metrics() for other in beside)]
    names = names or [runs.metric]
    there = [name for name in costs if f"metric.{name}" in runs.table.columns]
    options = {n: label(f"test/{n}") for n in names} | {name: tasks.title(name) for name in there}
    return address.choose("metric", "Metric", options, names[0])


def baseline(runs: Runs) -> str | None:
    """Parameter `baseline`: key of the cell that the others are compared with."""
    if runs.asked is None or not runs.asked.labels:
        return None
    options = dict(runs.asked.labels)
    return address.choose("baseline", "Baseline", options, runs.asked.baseline or next(iter(options)))


def complete_run(
    runs: Runs, beside: st.delta_generator.DeltaGenerator, *, first: Collection[str] | None = None
) -> str | None:
    """Parameters `cell` and `seed`: a complete run; by default of the cell that val selects.

    beside: where the seed is chosen; first: keys of the cells one of which is the default, if there are any.
    """
    done = runs.done.sort("seed", maintain_order=True)
    options = {key: runs.name_of(key, cell) for key, cell in done.select("key", "cell").iter_rows()}
    if not options:
        return None
    answer = runs.answer()
    liked = [answer.best if answer is not None else None, *options]
    known = [key for key in liked if key in options]
    default = next((key for key in known if first is None or key in first), known[0])
    cell = address.choose("cell", "Cell", options, default, pin=True, on_change=lambda: address.drop("seed"))
    seeds = [str(seed) for seed in done.filter(pl.col("key") == cell)["seed"]]
    with beside:
        seed = address.choose("seed", "Seed", {s: s for s in seeds}, seeds[0], pin=True)
    return f"{cell}-s{seed}"


def cells(
    runs: Runs, *, default: Sequence[str] = (), most: int | None = None, pin: bool = False
) -> list[str]:
    """Parameter `cells`, repeated: keys of the cells to look at; pin: as in `address.choose`."""
    options = dict(runs.asked.labels) if runs.asked is not None else _labels(runs.table)
    return address.choose_many("cells", "Cells", options, default, most=most, pin=pin)


def group_by(runs: Runs) -> list[str]:
    """Parameter `by`, repeated: the axes whose values make a group; all of them by default, so that only
    the seed is averaged over."""
    axes = list(runs.asked.axes) if runs.asked is not None else []
    says = runs.asked.says if runs.asked is not None else {}
    return address.choose_many(
        "by", "Group by", {axis: naming.axis(axis, says) for axis in axes}, axes,
        help="Runs that agree in these axes are averaged. All axes: only the seed is averaged over.",
    )  # fmt: skip


def error_bar(runs: Runs, metric: str) -> Kind:
    """Parameter `error`: what a 95 % interval is about: `seeds`, `queries` or `seeds+queries`.

    metric: without a split. An interval that does not exist is not offered, and a caption says why.
    """
    planned = pl.lit(True) if runs.asked is None else pl.col("key").is_in(list(runs.asked.labels))
    seeds = runs.done.filter(planned).group_by("key").len()["len"].max()
    several, asked_of = isinstance(seeds, int) and seeds > 1, queries_of(metric) is not None
    kinds = [kind for kind in ERRORS if (several or kind == "queries") and (asked_of or kind == "seeds")]
    lacking = []
    if not several:
        lacking.append("every cell has one seed so far, so other seeds are not known")
    if not asked_of:
        lacking.append(f"{label(f'test/{metric}')} is not a mean over queries")
    chosen = "seeds"
    if kinds:
        chosen = address.choose(
            "error", "Error bar", {kind: ERRORS[kind] for kind in kinds}, kinds[0], form="buttons",
            help="95 % intervals: over other seeds, other queries, or both.",
        )  # fmt: skip
    if lacking:
        st.caption(escaped(f"{'Error bar' if kinds else 'No error bar'}: {'; '.join(lacking)}."))
    return cast(Kind, chosen)


def clock(label: str = "X axis", default: str = "step", *, pin: bool = False) -> str:
    """Parameter `clock`: along what runs are followed: `step`, `pflops` or `seconds`."""
    return address.choose("clock", label, CLOCKS, default, form="buttons", pin=pin)


@contextmanager
def on_demand(title: str, *, expanded: bool = False) -> Iterator[bool]:
    """A part of the page that can be folded. Yields whether it is open: what is folded need not be made."""
    with st.expander(title, expanded, key=f"part: {title}", on_change="rerun") as part:
        yield bool(part.open)


def figure(
    name: str,
    caption: str,
    moving: go.Figure,
    drawn: Callable[[], Figure] | None = None,
    *,
    about: About | None = None,
    on_select: Callable[[], None] | Literal["ignore", "rerun"] = "ignore",
    least: int = 0,
) -> Any:
    """A picture with its caption as alternative text, and downloads (PNG and PDF when `drawn` is given).

    name: unique on the page, becomes the name of the files; about: what goes with the downloads; least: so
    many pixels wide at least, which a narrower page scrolls. Returns the selection where `on_select` asks.
    """
    legible(moving)
    given: dict[str, Any] = {"alt": caption, "on_select": on_select, "config": {"displaylogo": False}}
    with scrolled(least):
        state = st.plotly_chart(moving, key=f"figure: {name}", **given)
    files: dict[str, Callable[[], bytes]] = {}
    if drawn is not None:
        inside = None if about is None else about.inside(caption)
        files |= {
            "png": lambda: paper.written(drawn(), "png", inside),
            "pdf": lambda: paper.written(drawn(), "pdf", inside),
        }
    files["html"] = lambda: _page(moving, caption, about).encode()
    _downloads(name, caption, files)
    return state


def table(
    name: str,
    frame: pl.DataFrame,
    *,
    caption: str = "",
    exact: pl.DataFrame | None = None,
    tex: Callable[[], str] | None = None,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A table with downloads; `exact` is what the CSV holds when the shown one is rounded.

    tex: the LaTeX file, where a report has one of its own; config: how columns are written, where it is not
    as in their words; options: of `st.dataframe`.
    """
    digits = {"p": exact["p_adjusted"]} if exact is not None and "p_adjusted" in exact.columns else None
    numbers, forms = sortable(frame, digits)
    shown, given_forms = harmless(numbers), forms | dict(config or {})
    forms = {new: given_forms[old] for old, new in zip(numbers.columns, shown.columns, strict=True)
             if old in given_forms}  # fmt: skip
    given: dict[str, Any] = {"hide_index": True, "key": f"table: {name}", "column_config": forms,
                             "placeholder": "", "alt": caption or name}  # fmt: skip
    if shown.height <= WHOLE:
        given["height"] = "content"
    state = st.dataframe(shown, **(given | options))
    full = frame if exact is None else exact
    _downloads(
        name,
        caption,
        {
            "csv": lambda: tables.to_csv(full).encode(),
            "tex": lambda: (tex() if tex else latex.plain_table(frame, caption or name, name)).encode(),
        },
    )
    return state


def nothing_yet(runs: Runs, what: str) -> None:
    """Says that there is nothing to show and which command would change that."""
    command = runs.asked.command if runs.asked is not None else study_record.command(runs.study)
    st.info(f"{what} This makes the missing runs:")
    st.code(f"{command}{among(runs.results)}", language="shell")


def among(results: Path) -> str:
    """What to add to a command so that it works in this results folder; nothing for the usual one."""
    return "" if str(results) == "results" else f" --results {shlex.quote(str(results))}"


@contextmanager
def scrolled(least: int) -> Iterator[None]:
    """A place that is scrolled to the side where the page is narrower than so many pixels; 0: none."""
    if not least:
        yield
        return
    place = f"scrolled-{least}"
    inside = f".st-key-{place} [data-testid=stFullScreenFrame]"  # whose width plotly is given
    st.html(f"<style>.st-key-{place} {{overflow-x: auto}} {inside} {{min-width: {least}px}}</style>")
    with st.container(key=place):
        yield


def _downloads(name: str, caption: str, files: Mapping[str, Callable[[], bytes]]) -> None:
    """The caption and below it a quiet row, a button for each kind of file, made when it is asked for."""
    st.caption(escaped(caption))
    row = st.container(horizontal=True, horizontal_alignment="right", gap="small")
    for ending, make in files.items():
        row.download_button(
            ending.upper(), make, file_name=f"{name}.{ending}", key=f"download: {name}.{ending}",
            type="tertiary", on_click="ignore", help=f"Download as {ending.upper()}",
        )  # fmt: skip


def legible(figure: go.Figure) -> None:
    """Axes, ticks and legends in the page's own text colour: Streamlit's grey on white is hard to read."""
    ink = DARK if st.context.theme.type == "dark" else LIGHT
    words = {"tickfont": {"color": ink}, "title": {"font": {"color": ink}}, "linecolor": ink}
    figure.update_xaxes(**words)
    figure.update_yaxes(**words)
    figure.update_layout(legend={"font": {"color": ink}}, font={"color": ink})
    bar = {"tickfont": {"color": ink}, "title": {"font": {"color": ink}}}
    figure.update_coloraxes(colorbar=bar)
    figure.update_annotations(font={"color": ink})


def _page(figure: go.Figure, caption: str, about: About | None) -> str:
    """The figure as a page of its own, whose ground is white whatever the dashboard's is."""
    import plotly.graph_objects as go

    shown = go.Figure(figure).update_layout(font={"color": LIGHT}, legend={"font": {"color": LIGHT}})
    shown.update_annotations(font={"color": LIGHT})
    for update in (shown.update_xaxes, shown.update_yaxes):
        update(tickfont={"color": LIGHT}, title={"font": {"color": LIGHT}}, linecolor=LIGHT)
    if about is None:
        return shown.to_html(include_plotlyjs=True)
    return about.page([(caption, shown.to_html(full_html=False, include_plotlyjs=True))])


def _labels(table: pl.DataFrame) -> dict[str, str]:
    known = table.filter(pl.col("key").is_not_null()).unique("key", maintain_order=True)
    return {key: cell or key for key, cell in known.select("key", "cell").iter_rows()}
