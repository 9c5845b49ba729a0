"""State of the study: its question, its answer, and which runs are done, running, failed or missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import polars as pl
import streamlit as st

from app import marked_cells
from app.markdown import escaped
from app.runs import Runs
from app.widgets import among, nothing_yet, on_demand, table
from workbench import naming
from workbench.answer import caveats, contrasts, search, wording
from workbench.answer.progress import Progress, next_step, progress
from workbench.answer.results import Answer
from workbench.answer.scaling import curves as scaling
from workbench.answer.study_record import StudyRecord
from workbench.report import pictures
from workbench.report.rows import legend

TITLE = "Study"
ORDER = 0
FOLLOWS = True

REFRESH = 5
"""Seconds between looks at a study that is not finished."""
MOST_SELECTED = 4
"""Cells that have their number at the top, of a study that selects one in each of several comparisons."""
MOST_SAID = 6
"""Differences that are listed beside the figure."""


def render(runs: Runs) -> None:
    answer = runs.answer()
    if runs.asked is None or answer is None:
        st.warning(escaped(runs.problem))
        return
    st.header(escaped(runs.asked.question))
    state = progress(runs.asked, runs.table, time.time())
    if answer.cells.is_empty() and state.counts.get("running"):
        st.info("No run is complete yet; the first are under way.")
    elif answer.cells.is_empty():
        nothing_yet(runs, "No run is complete yet.")
    else:
        _at_a_glance(runs, answer, state)
    if state.unfinished:
        st.subheader("Runs", divider="gray")
        st.fragment(_live, run_every=REFRESH)(runs, runs.asked)
    if not answer.cells.is_empty():
        _in_full(runs, answer)
    if not state.unfinished:
        st.subheader("Runs", divider="gray")
        _progress(runs, state)


def _at_a_glance(runs: Runs, answer: Answer, state: Progress) -> None:
    """One number, what may be claimed and what not, the next command; beside it the sweep."""
    found = runs.kept(("glance", answer.metric), lambda: _picture(answer))
    words, picture = st.columns(2, gap="large") if found is not None else (st.container(), None)
    with words:
        for key in answer.selected[:MOST_SELECTED]:
            _headline(answer, key)
        claimed, rest = _said(answer)
        st.markdown("**May be claimed**")
        _listed(claimed, "Nothing.")
        if rest:
            st.markdown("**Not claimed**")
            _listed(rest, "")
        step = next_step(answer.asked, state)
        st.markdown(f"**Next.** {escaped(step.why)}")
        st.code(f"{step.command}{among(runs.results)}", language="shell", wrap_lines=True)
    if found is not None and picture is not None:
        with picture:
            marked_cells.figure(runs, answer, found, first=True)


def _picture(answer: Answer) -> pictures.Picture | None:
    """Curves over budgets, or the sweep; of a search, or of many axes, the metric against what it costs."""
    return (
        pictures.scaling(answer)
        or pictures.sweep(answer)
        or pictures.cost(answer, pictures.usual_costs(answer)[:1])
    )


def _headline(answer: Answer, key: str) -> None:
    """The test score of a cell that val selected, and how far it is from its baseline."""
    asked, (row,) = answer.asked, answer.cells.filter(key=key).iter_rows(named=True)
    if row[answer.metric] is None:  # a run of a version that did not note it
        return
    value = f"{row[answer.metric]:.1f}{f' {asked.measure.unit}' if asked.measure.unit else ''}"
    difference = answer.comparisons.get(key)
    away = None
    colour: Literal["normal", "inverse", "off"] = "off"
    if difference is not None and asked.baseline is not None:
        away = f"{difference.effect:+.1f} against {asked.against}"
        if answer.standing(key):
            colour = "normal" if asked.maximize else "inverse"
    title = f"{asked.measure.label} on test, the best on val"
    st.metric(
        escaped(f"{asked.stratum(key)}: {title}" if asked.stratum(key) else title), value, away,
        delta_color=colour, delta_arrow="off",
    )  # fmt: skip
    told = [f"**{escaped(asked.labels[key])}**"]
    if row["low"] is not None:
        told.append(escaped(f"95 % interval {row['low']:.1f} to {row['high']:.1f} {answer.cells_vary}"))
    else:
        told.append(f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}, no interval")
    if (chance := answer.chance) is not None:
        told.append(escaped(f"chance level {chance.expected:.1f}"))
        if not chance.significant:
            told.append("**not distinguishable from chance**")
    st.markdown("; ".join(told))
    if paid := wording.costs(asked, answer.evidence, key):
        st.markdown(escaped(naming.first(paid)))


def _said(answer: Answer) -> tuple[list[str], list[str]]:
    """What may be claimed and what may not, each in a few words."""
    if answer.contrasts:
        return contrasts.by_claim(answer.contrasts)
    if answer.asked.search:
        return [], ["Each trial has one seed; these were selected on val."]
    claimed: list[str] = []
    rest: list[str] = []
    for key, c in answer.comparisons.items():
        line = f"{answer.asked.labels[key]}: {wording.signed(c)}"
        (claimed if answer.standing(key) else rest).append(line)
    if rest and all(len(c.seeds) == 1 for c in answer.comparisons.values()):
        rest.insert(0, "One seed only: another seed may give a different result.")
    return claimed, rest


def _listed(lines: Sequence[str], without: str) -> None:
    more = len(lines) - MOST_SAID
    shown = [f"- {escaped(line)}" for line in lines[:MOST_SAID]]
    shown += [f"- and {more} more in the table below"] if more > 0 else []
    st.markdown("\n".join(shown) or without)


def _in_full(runs: Runs, answer: Answer) -> None:
    st.subheader("The answer in full", divider="gray")
    st.markdown(escaped(answer.sentence))
    for caveat in answer.caveats:
        st.markdown(f"- {escaped(caveat)}")
    if answer.scaling is not None:
        st.markdown("\n".join(f"- {escaped(sentence)}" for sentence in answer.scaling.sentences))
        over, meaning = scaling.curve_table(answer.scaling), scaling.legend(answer.scaling)
        table(f"{runs.study}-scaling", over, caption=meaning)
    if answer.contrasts:
        registered = contrasts.table(answer.contrasts)
        registered = registered.select(pl.exclude("of", "against"), "of", "against")  # the numbers in sight
        table(f"{runs.study}-contrasts", registered, caption=answer.contrasts_legend)
    words, digits = runs.rows(answer)
    keys = answer.cells["key"].to_list()
    marked_cells.table(runs, answer, runs.study, words, keys, caption=legend(answer), exact=digits)
    if answer.front:
        front = search.front_table(answer.asked, answer.evidence, answer.cells, answer.front)
        table(f"{runs.study}-front", front, caption=caveats.FRONT_LEGEND)
    if answer.asked.importances:
        mattered = search.importance_table(answer.asked)
        table(f"{runs.study}-importances", mattered, caption=caveats.IMPORTANCE_LEGEND)
    for verdict in answer.verdicts:
        st.markdown(f"- {escaped(verdict.line)}")


def _live(runs: Runs, asked: StudyRecord) -> None:
    """Looks again by itself; the rest of the page follows when a run has begun or ended."""
    now = runs.now()
    _progress(now, progress(now.asked or asked, now.table, time.time()))


def _progress(runs: Runs, state: Progress) -> None:
    st.progress(state.share, text=escaped(state.sentence()))
    if not state.troubles.is_empty():
        caption = "Runs that failed, were stopped or are silent; their pages are under Runs."
        table(f"{runs.study}-troubles", state.troubles, caption=caption)
    with on_demand("Every cell and seed", expanded=state.done == 0) as opened:
        if opened:
            table(f"{runs.study}-progress", state.table)
