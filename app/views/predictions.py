"""Predictions of a trained model for a clip: hidden patches, caption, answers, points, times, selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl
import streamlit as st

from app import address, widgets
from app.clips import autoplay, choose_clip, choose_split, clips_of
from app.markdown import escaped
from app.predictions import answers, caption, grounding, pixels, pointing, selection
from app.predictions.request import Request
from app.runs import Runs
from workbench.errors import UserError
from workbench.inspection.abilities import able
from workbench.tasks import captioning, video_qa
from workbench.tasks.grounding import NEEDS as GROUNDING_NEEDS
from workbench.tasks.pointing import NEEDS as POINTING_NEEDS

TITLE = "Predictions"
ORDER = 55

LONGEST = 100
"""Largest number of characters in the search for a clip."""


class Kind(NamedTuple):
    """A kind of prediction."""

    words: str
    needs: tuple[tuple[str, ...], ...]
    """Alternatives, each the methods that a recipe must define."""
    without: str
    """Text for a recipe that has none of them."""

    @property
    def able(self) -> list[str]:
        """Recipes that predict it, in alphabetical order."""
        return sorted({name for methods in self.needs for name in able(*methods)})


KINDS = {
    "pixels": Kind("hidden patches", (("reconstruct",),), "predicts no pixels of hidden patches"),
    "caption": Kind("a caption", captioning.NEEDS, "writes no captions"),
    "answers": Kind("answers", video_qa.NEEDS, "answers no questions"),
    "places": Kind("where", POINTING_NEEDS, "points at no places"),
    "moments": Kind("when", GROUNDING_NEEDS, "has no clip embeddings, so it cannot predict times"),
    "kept": Kind("what is read", (("kept",),), "reads all visible patches and selects none"),
}
SHOW = {"pixels": pixels.show, "caption": caption.show, "answers": answers.show, "places": pointing.show,
        "moments": grounding.show, "kept": selection.show}  # fmt: skip


def render(runs: Runs) -> None:
    st.header("Predictions")
    first, second = st.columns([5, 2], vertical_alignment="bottom")
    with first:
        run = widgets.complete_run(runs, second, first=_telling_cells(runs))
    if run is None:
        widgets.nothing_yet(runs, "No run is complete yet, so there is no model to ask.")
        return
    row = runs.done.filter(pl.col("run") == run).row(0, named=True)
    recipe = row["recipe"] or "of an unknown recipe"
    can = [name for name, kind in KINDS.items() if recipe in kind.able]
    options = {name: kind.words for name, kind in KINDS.items()}
    default = (can or list(KINDS))[0]
    what = address.choose("what", "What is shown", options, default, form="buttons")
    if what not in can:
        kind = KINDS[what]
        words = f"The model of this run, {recipe}, {kind.without}; {', '.join(kind.able)} can."
        st.info(escaped(words))
        return
    try:
        asked = _asked(runs, run, _name(runs, row, recipe))
        if asked is None:
            st.info("No caption of this split has all of these words.")
        else:
            SHOW[what](asked)
    except UserError as error:
        st.info(escaped(f"There is no prediction to show: {error}."))


def _telling_cells(runs: Runs) -> set[str]:
    """Keys of the cells whose recipe predicts pixels or captions; nearly every one answers questions."""
    some = [*KINDS["pixels"].able, *KINDS["caption"].able]
    return set(runs.done.filter(pl.col("recipe").is_in(some))["key"])


def _name(runs: Runs, row: Mapping[str, Any], recipe: str) -> str:
    """The run in words; its cell only where that says more than the recipe."""
    cell = runs.name_of(row["key"], row["cell"])
    return f"{recipe} ({'' if cell == recipe else f'{cell}, '}seed {row['seed']})"


def _asked(runs: Runs, run: str, name: str) -> Request | None:
    """Parameters `split`, `find`, `clip`: None where no caption has all the words that are to be found."""
    clips = clips_of(runs, run)
    first, second, third = st.columns([2, 3, 8], vertical_alignment="bottom")
    with first:
        split = choose_split(clips)
    with second:
        words = address.text(
            "find", "Words of the caption", longest=LONGEST, placeholder="red star",
            help="Only clips whose caption has all of these words can be chosen.",
        )  # fmt: skip
    with third:
        query = choose_clip(clips, split, words)
    start = autoplay()
    if query is None:
        return None
    return Request(runs.directory(run), name, clips, split, query, start)
