"""Several studies in one table and one figure, paired if they have the same queries.

It is the same answer as in `python -m workbench.report STUDY STUDY`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import address, marked_cells, widgets
from app.markdown import escaped
from app.runs import Runs
from workbench.answer.joint.studies import joined
from workbench.answer.results import Answer
from workbench.errors import UserError
from workbench.naming import PLAIN
from workbench.report import pictures
from workbench.report.page import check_command
from workbench.report.rows import exact, legend, readable
from workbench.report.write import paper_table


def choose(runs: Runs) -> list[str]:
    """Parameter `studies`, repeated: which stand beside the chosen one; none by default."""
    others = {name: name for name in runs.studies if name != runs.study}
    if not others:
        return []
    return address.choose_many(
        "studies", "Other studies", others, [],
        help="Their cells in one table and figure with those of this study; those with the same choices are "
        "paired by seed and query where both were asked the same queries of the same data.",
    )  # fmt: skip


def show(runs: Runs, others: Sequence[str]) -> None:
    """What the studies say together, with the metric that is chosen among those that all of them have."""
    beside = [Runs.of(runs.store, name, runs.studies) for name in others]
    for part in (runs, *beside):
        if part.asked is None:
            st.warning(escaped(part.problem))
            return
        if part is not runs and part.asked.smoke:
            st.badge(escaped(f"{part.study} is a smoke test, which says nothing"), color="orange")
    metric = widgets.metric(runs, beside=beside)
    try:
        found = _together(runs, beside, metric)
    except UserError as error:
        st.info(escaped(f"{str(error)[:1].upper()}{str(error)[1:]}."))
        return
    st.markdown(escaped(found.sentence))
    drawn = [pictures.sweep(found), pictures.differences(found)]
    there = [picture for picture in drawn if picture is not None]
    for column, picture in zip(st.columns(len(there)) if there else (), there, strict=True):
        with column:
            marked_cells.figure(runs, found, picture, first=picture.name == "sweep")
    st.subheader("Every cell", divider="gray")
    words, digits, tex = readable(found), exact(found), partial(paper_table, found)
    widgets.table(found.asked.name, words, caption=legend(found), exact=digits, tex=tex)
    if found.caveats:
        st.markdown("\n".join(f"- {escaped(caveat)}" for caveat in found.caveats))
    usual = all(
        part.asked is not None and part.asked.plan in (PLAIN, "smoke") and part.asked.metric == metric
        for part in (runs, *beside)
    )
    st.markdown(
        "The same as a report:" if usual else "As a report, by each study's own metric as the study asks:"
    )
    st.code(f"{check_command(found.asked)}{widgets.among(runs.results)}", language="shell", wrap_lines=True)


def _together(runs: Runs, beside: Sequence[Runs], metric: str) -> Answer:
    """The joint answer, computed anew when a run of any of the studies has ended."""

    def make() -> Answer:
        answers = [part.answer(metric=metric) for part in (runs, *beside)]
        return joined([found for found in answers if found is not None], runs.results)

    names = tuple(part.study for part in beside)
    found: Answer = runs.kept(("together", names, metric), make, [part.version for part in beside])
    return found
