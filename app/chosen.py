"""From the points of a picture to their cells: what is selected there is named below, with links."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import address, widgets
from app.markdown import escaped
from app.runs import Runs
from workbench.answer.results import Answer
from workbench.report.about import about
from workbench.report.pictures import Picture

HINT = "Select a point, a bar or a field (or several, with box or lasso) to look at its cell."


def figure(runs: Runs, answer: Answer, picture: Picture, *, hint: bool = False) -> None:
    """A picture whose points lead to their cells. hint: says so while nothing is selected."""
    name = f"{runs.study}-{picture.name}"
    state = widgets.figure(
        name, picture.caption, picture.moving, picture.drawn, about=about(answer), on_select="rerun"
    )
    # What is no cell, such as the level of a factor, has another last word.
    found = dict.fromkeys(
        point["customdata"][-1] for point in state.selection.points if "customdata" in point
    )
    keys = [key for key in found if key in answer.asked.labels]
    if keys:
        _links(runs, answer, keys)
    elif hint:
        st.caption(HINT)


def _links(runs: Runs, answer: Answer, keys: Sequence[str]) -> None:
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
