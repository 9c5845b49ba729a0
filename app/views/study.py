"""How the study stands: its question, its answer, and which runs are done, running, failed or missing."""

from __future__ import annotations

import time

import streamlit as st

from app.markdown import escaped
from app.runs import Runs
from app.widgets import nothing_yet, on_demand, table
from workbench.answer import caveats, contrasts, search
from workbench.answer.asked import Asked
from workbench.answer.progress import Progress, progress
from workbench.answer.results import Answer
from workbench.report.rows import legend

TITLE = "Study"
ORDER = 0

REFRESH = 5
"""Seconds between looks at a study that is not finished."""


def render(runs: Runs) -> None:
    answer = runs.answer()
    if runs.asked is None or answer is None:
        st.warning(escaped(runs.problem))
        return
    st.header(escaped(runs.asked.question))
    state = progress(runs.asked, runs.table, time.time())
    _answer(runs, answer)
    st.subheader("Runs", divider="gray")
    if state.unfinished:
        st.fragment(_live, run_every=REFRESH)(runs, runs.asked)
    else:
        _progress(runs, state)


def _answer(runs: Runs, answer: Answer) -> None:
    if answer.cells.is_empty():
        nothing_yet(runs, "No run is complete yet.")
        return
    st.subheader("Answer", divider="gray")
    st.markdown(f"**{escaped(answer.sentence)}**")
    for caveat in answer.caveats:
        st.markdown(f"- {escaped(caveat)}")
    if answer.contrasts:
        registered = contrasts.table(answer.contrasts)
        table(f"{runs.study}-contrasts", registered, caption=answer.contrasts_legend)
    words, digits = runs.rows(answer)
    table(f"{runs.study}", words, caption=legend(answer), exact=digits)
    if answer.front:
        front = search.front_table(answer.asked, answer.evidence, answer.cells, answer.front)
        table(f"{runs.study}-front", front, caption=caveats.FRONT_LEGEND)
    if answer.asked.importances:
        mattered = search.importance_table(answer.asked)
        table(f"{runs.study}-importances", mattered, caption=caveats.IMPORTANCE_LEGEND)
    for verdict in answer.verdicts:
        st.markdown(f"- {escaped(verdict.line)}")


def _live(runs: Runs, asked: Asked) -> None:
    """Looks again by itself; the page follows only when a run has ended, well or not."""
    now = runs.now()
    if now.version != runs.version:
        st.rerun()
    _progress(now, progress(now.asked or asked, now.table, time.time()))


def _progress(runs: Runs, state: Progress) -> None:
    st.progress(state.done / max(1, state.total), text=escaped(state.sentence()))
    if not state.troubles.is_empty():
        caption = "Runs that failed, were stopped or are silent; their pages are under Runs."
        table(f"{runs.study}-troubles", state.troubles, caption=caption)
    with on_demand("Every cell and seed", expanded=state.done == 0) as opened:
        if opened:
            table(f"{runs.study}-progress", state.table)
