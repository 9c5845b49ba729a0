"""Quality and cost: the Pareto front, cells at an equal budget, and costs that a mask ratio does not show."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import address, marked_cells, widgets
from app.markdown import escaped
from app.runs import Runs
from app.widgets import nothing_yet
from workbench import naming, tables
from workbench.answer.results import Answer
from workbench.figures.style import label
from workbench.report import pictures
from workbench.report.budget import (
    Learning,
    amount,
    at_budget,
    budget_picture,
    cost_table,
    in_words,
    learning,
)

TITLE = "Cost and quality"
ORDER = 30

COSTS = (pictures.FLOPS, pictures.PER_CLIP, pictures.THROUGHPUT, pictures.MEMORY, pictures.SECONDS)

MOST_NAMED = 4
"""Cells that a sentence names."""


def render(runs: Runs) -> None:
    if runs.asked is None:
        st.warning(escaped(runs.problem))
        return
    st.header("Cost and quality")
    left, right = st.columns([3, 2])
    with left:
        metric = widgets.metric(runs)
    with right:
        error = widgets.error_bar(runs, metric)
    answer = runs.answer(metric=metric, error=error)
    if answer is None or answer.cells.is_empty():
        nothing_yet(runs, "No run is complete yet.")
        return
    _front(runs, answer)
    st.subheader("At an equal budget", divider="gray")
    _budget(runs, answer)
    st.subheader("What a mask ratio does not tell", divider="gray")
    found = runs.kept(("costs", answer.metric), lambda: cost_table(answer))
    caption = (
        "Means over seeds. Encoder passes and tokens are counted for one clip and step, over all passes, on "
        "what really ran; GFLOPs per clip include decoders and the backward pass."
    )
    shown = in_words(found, answer.asked.says)
    four = st.column_config.NumberColumn(format="%.4g")
    config = {name: four for name, kind in shown.schema.items() if kind == pl.Float64}
    name, keys = f"{runs.study}-cost-table", answer.cells["key"].to_list()
    marked_cells.table(runs, answer, name, shown, keys, caption=caption, exact=found, config=config)


def _front(runs: Runs, answer: Answer) -> None:
    """The metric against the chosen costs."""
    there = {name: label(name) for name in COSTS if f"metric.{name}" in runs.table.columns}
    if not there:
        st.caption("No run has recorded what it cost.")
        return
    flops = pictures.usual_costs(answer)[0]
    usual = [c for c in (flops, pictures.THROUGHPUT, pictures.MEMORY, pictures.SECONDS) if c in there]
    if answer.cells.height > widgets.MANY:
        usual = usual[:2]
    costs = address.choose_many("costs", "Costs", there, usual or list(there))
    key = ("front", answer.metric, answer.error, tuple(costs))
    picture = runs.kept(key, lambda: pictures.cost(answer, costs))
    if picture is None:
        st.caption("A front needs two complete cells that have recorded what they cost.")
        return
    if pictures.SECONDS in costs or pictures.THROUGHPUT in costs:
        st.caption("Seconds and throughput compare only runs on the same, otherwise idle machine.")
    marked_cells.figure(runs, answer, picture, first=True)


def _learning(runs: Runs, answer: Answer, metric: str) -> dict[str, Learning]:
    curves = runs.curves(answer.evidence.done["run"], [metric])
    return {clock: learning(answer, curves, clock) for clock in widgets.CLOCKS}


def _at(
    answer: Answer, found: Learning, clock: str, budget: float
) -> tuple[pl.DataFrame, pictures.Picture | None]:
    table = at_budget(answer, found, budget)
    return table, budget_picture(answer, table, clock, budget)


def _budget(runs: Runs, answer: Answer) -> None:
    """Learning curves read off where all had spent the same."""
    metric = f"val/{answer.asked.metric}"
    left, right = st.columns([1, 2])
    with left:
        every = runs.kept(("learning", metric), lambda: _learning(runs, answer, metric))
        clock = widgets.clock("Budget in", max(every, key=lambda c: every[c].most), pin=True)
    found = every[clock]
    if not found.curves:
        st.caption(f"No complete run was evaluated on {escaped(label(metric))}.")
        return
    low, high = min(first for first, _ in found.ends), max(last for _, last in found.ends)
    budget = found.widest
    if low < high:
        # Each clock has its own budget, so that changing the clock does not leave a budget of another unit.
        with right:
            budget = address.number(
                f"budget_{clock}", f"Budget ({label(clock)})", low, high, max(low, min(high, budget)),
                pin=True, help="At first the largest budget at which most runs can be compared.",
            )  # fmt: skip
    table, picture = runs.kept(("budget", metric, clock, budget), lambda: _at(answer, found, clock, budget))
    _left_out(table, metric, budget, clock)
    if picture is not None:
        marked_cells.figure(runs, answer, picture)
    where = f"{naming.first(label(metric))} at {amount(budget)} ({label(clock)})"
    caption = f"{where}; a curve is a straight line between two evaluations."
    heads = {axis: naming.axis(axis, answer.asked.says) for axis in answer.asked.axes}
    there = table.filter(pl.col(metric).is_not_null())
    shown = tables.rename(tables.readable(there, metric), heads | {metric: label(metric)})
    name, keys = f"{runs.study}-budget-table", there["key"].to_list()
    marked_cells.table(runs, answer, name, shown, keys, caption=caption, exact=table)


def _left_out(table: pl.DataFrame, metric: str, budget: float, clock: str) -> None:
    """Says above the picture which cells are not in it, and why."""
    lost = table.filter(pl.col(metric).is_null())["cell"].to_list()
    if not lost:
        return
    named = "; ".join(lost[:MOST_NAMED])
    more = f"; and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
    text = (
        f"{len(lost)} of {table.height} cells are left out, since at {amount(budget)} ({label(clock)}) they "
        f"had ended or were not evaluated yet: {named}{more}."
    )
    st.info(escaped(text))
