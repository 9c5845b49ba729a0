"""Effects of choices: the metric over an axis, as a map, against the baseline, and on average."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial

import streamlit as st

from app import address, marked_cells, widgets
from app.markdown import escaped
from app.runs import Runs
from app.widgets import nothing_yet
from workbench.answer.results import Answer
from workbench.report import pictures
from workbench.report.about import about
from workbench.report.pictures import Picture
from workbench.report.rows import legend
from workbench.report.write import paper_table

TITLE = "Effects"
ORDER = 20

COSTS = (pictures.THROUGHPUT, pictures.PER_CLIP, pictures.FLOPS)
"""Cost metrics that are shown beside the metric."""

PICTURES: dict[str, Callable[[Answer], Picture | None]] = {
    "sweep": pictures.sweep,
    "grid": pictures.grid,
    "contrasts": pictures.contrasts,
    "differences": pictures.differences,
    "factors": pictures.factors,
    "interactions": partial(pictures.factors, interactions=True),
    "parallel": lambda answer: pictures.parallel(answer, answer.asked.reads),
}
"""Figures that depend only on the answer."""


def render(runs: Runs) -> None:
    if runs.asked is None:
        st.warning(escaped(runs.problem))
        return
    st.header("Effects")
    answer = _answer(runs)
    if answer is None or answer.cells.is_empty():
        reasons = (
            []
            if answer is None
            else [f"{answer.asked.labels[k]}: {why}" for k, why in answer.refused.items()]
        )
        nothing_yet(runs, f"No group of runs is complete yet. {escaped('; '.join(reasons[:3]))}")
        return
    for key, why in list(answer.refused.items())[:5]:
        st.caption(escaped(f"{answer.asked.labels[key]}: {why}."))
    found = runs.kept(
        ("pictures", answer.metric, answer.asked.baseline, answer.asked.axes, answer.error),
        lambda: _pictures(answer),
    )
    _show(
        runs,
        answer,
        [found("sweep")],
        "A figure over axes needs one to three axes of few values: choose them in Group by.",
    )
    if found("grid") is not None:
        _show(runs, answer, [found("grid")], "")
    _learning(runs, answer)
    if found("contrasts") is not None:
        st.subheader("Registered contrasts", divider="gray")
        _show(runs, answer, [found("contrasts")], "", leads=False)
    st.subheader("Against the baseline", divider="gray")
    _show(runs, answer, [found("differences")], "No cell can be compared with the baseline yet.")
    st.subheader("Factor effects and interactions", divider="gray")
    _show(
        runs,
        answer,
        [found("factors"), found("interactions")],
        "These need every cell of a full grid of at least two axes, and a seed that all cells share.",
        leads=False,
    )
    # Of many, the picture of all choices is slow without a graphics processor.
    few = answer.cells.height <= widgets.MANY
    with widgets.on_demand("Every cell through its choices", expanded=few) as opened:
        if opened:
            _show(runs, answer, [found("parallel")], "This needs two complete cells.", leads=False)
    with widgets.on_demand("The numbers") as opened:
        if opened:
            words, digits = runs.rows(answer)
            tex = partial(paper_table, answer)
            name, keys = f"{runs.study}-effects", answer.cells["key"].to_list()
            given = {"caption": legend(answer), "exact": digits, "tex": tex}
            marked_cells.table(runs, answer, name, words, keys, **given)


def _pictures(answer: Answer) -> Callable[[str], Picture | None]:
    """Those of `PICTURES`, each made when it is first asked for: nobody waits for the others."""
    return cache(lambda name: PICTURES[name](answer))


def _answer(runs: Runs) -> Answer | None:
    """The answer as the choices at the top of the page ask for it."""
    left, right = st.columns([2, 3])
    with left:
        metric = widgets.metric(runs, costs=COSTS)
        error = widgets.error_bar(runs, metric)
    with right:
        baseline = widgets.baseline(runs)
        by = widgets.group_by(runs)
    return runs.answer(metric=metric, baseline=baseline, by=by, error=error)


def _learning(runs: Runs, answer: Answer) -> None:
    """A link to the curves of this metric, if it is measured on val."""
    curve = f"val/{answer.asked.metric}"
    if f"metric.{curve}" in runs.table.columns:
        there = address.link(view="curves", curve=curve)
        st.markdown(f"[Learning curves]({there}) of {escaped(answer.title)} on val.")


def _show(
    runs: Runs, answer: Answer, found: Iterable[Picture | None], without: str, *, leads: bool = True
) -> None:
    """Pictures side by side, or a sentence on what is lacking. leads: whether their points are cells."""
    there = [picture for picture in found if picture is not None]
    if not there:
        st.caption(without)
        return
    for column, picture in zip(st.columns(len(there)), there, strict=True):
        with column:
            if leads:
                marked_cells.figure(runs, answer, picture, first=picture.name == "sweep")
            else:
                name = f"{runs.study}-{picture.name}"
                widgets.figure(
                    name, picture.caption, picture.moving, picture.drawn, about=about(answer),
                    least=picture.least,
                )  # fmt: skip
