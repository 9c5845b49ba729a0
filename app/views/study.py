"""How the study stands: its question, its answer, and which runs are done, running, failed or missing."""

from __future__ import annotations

import streamlit as st

from app.runs import Runs
from app.widgets import escaped, nothing_yet, table
from workbench.report.rows import exact, legend, readable

TITLE = "Study"
ORDER = 0
ICON = ":material/help:"


def render(runs: Runs) -> None:
    answer = runs.answer()
    if runs.asked is None or answer is None:
        st.warning(escaped(runs.problem))
        return
    st.header(escaped(runs.asked.question))
    if answer.cells.is_empty():
        nothing_yet(runs, "No run is complete yet.")
        return
    st.subheader(escaped(answer.sentence), divider=True)
    for gate in answer.gates:
        st.markdown(f"- {escaped(gate)}")
    table(f"{runs.study}", readable(answer), caption=legend(answer), exact=exact(answer))
