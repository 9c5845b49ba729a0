"""Cells that the reader has marked in a figure or table; they are highlighted in all of them.

They are the parameter `marked` of the address, so that links and the next view keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from app import address, widgets
from app.markdown import escaped
from app.runs import Runs
from workbench.answer.results import Answer
from workbench.figures.highlight import marked
from workbench.report.about import about
from workbench.report.pictures import Picture

HINT = (
    "Select a point, a bar or a field (or several, with box or lasso): its cell is then marked in every "
    "figure and table of the page, with links to its runs."
)
PARAMETER = "marked"
_WHERE = "marked: where"
"""Name of the figure or table in which the reader has made the latest mark."""


def figure(runs: Runs, answer: Answer, picture: Picture, *, first: bool = False) -> None:
    """A picture whose points are cells that can be marked. first: of the page, which has the links as well as
    the picture in which a cell was marked."""
    name, keys = f"{runs.study}-{picture.name}", _marked(answer)
    place = f"figure: {name}"

    def select() -> None:
        # What is no cell, such as the level of a factor, has another last word.
        points = st.session_state[place].selection.points
        found = dict.fromkeys(point["customdata"][-1] for point in points if "customdata" in point)
        _mark([key for key in found if key in answer.asked.labels], name)

    widgets.figure(
        name, picture.caption, marked(picture.moving, keys), picture.drawn, about=about(answer),
        on_select=select, least=picture.least,
    )  # fmt: skip
    if keys and (first or st.session_state.get(_WHERE) == name):
        _links(runs, answer, keys, name)
    elif first:
        st.caption(HINT)


def table(
    runs: Runs, answer: Answer, name: str, frame: pl.DataFrame, keys: Sequence[str], **given: Any
) -> None:
    """A table of cells, whose rows can be marked. keys: of its rows; given: of `widgets.table`."""
    now = _marked(answer)
    place = f"table: {name}"

    def select() -> None:
        rows = st.session_state[place].selection.rows
        _mark([keys[row] for row in rows], name)

    rows = [row for row, key in enumerate(keys) if key in now]
    st.session_state[place] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    widgets.table(name, frame, on_select=select, selection_mode="multi-row", **given)
    if now and st.session_state.get(_WHERE) == name:
        _links(runs, answer, now, name)


def _marked(answer: Answer) -> list[str]:
    """Keys of the cells, or groups of cells, that are marked."""
    return address.get_many(PARAMETER, answer.asked.labels, [])


def _mark(keys: Sequence[str], where: str) -> None:
    address.put(PARAMETER, list(keys), [])
    st.session_state[_WHERE] = where


def _links(runs: Runs, answer: Answer, keys: Sequence[str], where: str) -> None:
    """A line for each cell; a group of cells, which has no comparison of its own, leads to its runs only."""
    asked = answer.asked
    for key in keys:
        name = asked.labels[key]
        if asked.studies:  # the study of a cell stands before its key
            study, _, own = key.partition("/")
            there = [
                ("its runs", address.link(study=study, view="runs", filter=own)),
                ("its answers", address.link(study=study, view="retrieval", cell=own)),
            ]
        elif runs.asked is None or name != runs.asked.labels.get(key):
            there = [("its runs", address.link(view="runs", filter=name.split(", mean of")[0]))]
        else:
            there = [("its runs", address.link(view="runs", filter=key))]
            if asked.baseline is not None and key not in asked.bases:
                other = {} if asked.baseline == runs.asked.baseline else {"baseline": asked.baseline}
                link = address.link(view="compare", cells=[key], **other)
                there.append(("compare with the baseline", link))
            there.append(("its answers", address.link(view="retrieval", cell=key)))
        st.markdown(f"**{escaped(name)}**: {', '.join(f'[{words}]({link})' for words, link in there)}")
    st.button("Unmark", key=f"unmark: {where}", type="tertiary", on_click=_mark, args=([], where))
