"""What a trained model predicts about one clip: the pixels of hidden patches beside the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from app import address, frames, widgets
from app.clips import autoplay, choose_clip, choose_split, clips_of, play
from app.helper import ask
from app.markdown import escaped
from app.runs import Runs
from workbench.errors import UserError
from workbench.inspection.abilities import able
from workbench.inspection.clips import Clips, weights

TITLE = "Predictions"
ORDER = 55

DRAWS = 100
"""Number of the last mask that can be drawn."""
LONGEST = 100
"""Letters of the words that a clip is looked for by."""


def render(runs: Runs) -> None:
    st.header("Predictions")
    left, right = st.columns([6, 2], vertical_alignment="bottom")
    with left:
        run = widgets.complete_run(runs, right, first=_able_cells(runs))
    if run is None:
        widgets.nothing_yet(runs, "No run is complete yet, so there is no model to ask.")
        return
    recipe = runs.done.filter(pl.col("run") == run)["recipe"][0]
    if recipe not in able("reconstruct"):
        st.info(
            f"The model of this run, {escaped(recipe or 'whose recipe is not known')}, predicts no pixels: "
            f"there is nothing to show. {', '.join(able('reconstruct'))} do."
        )
        return
    try:
        clips = clips_of(runs, run)
        chosen = _clip(clips)
        if chosen is None:
            st.info("No caption of this split has all of these words.")
            return
        _pixels(runs, run, clips, *chosen)
    except UserError as error:
        st.info(escaped(f"There is no prediction to show: {error}."))


def _able_cells(runs: Runs) -> set[str]:
    """Keys of the cells whose recipe predicts something that can be shown."""
    return set(runs.done.filter(pl.col("recipe").is_in(able("reconstruct")))["key"])


def _clip(clips: Clips) -> tuple[str, bool] | None:
    """Parameters `split`, `find`, `clip`: the id of a caption, and whether the clip plays by itself."""
    first, second, third, last = st.columns([2, 3, 6, 3], vertical_alignment="bottom")
    with first:
        split = choose_split(clips)
    with second:
        words = address.text(
            "find", "Words of the caption", longest=LONGEST, placeholder="red star",
            help="Only clips whose caption has all of these words can be chosen.",
        )  # fmt: skip
    with last:
        start = autoplay()
    with third:
        query = choose_clip(clips, split, words)
    return None if query is None else (query, start)


def _pixels(runs: Runs, run: str, clips: Clips, query: str, start: bool) -> None:
    """A mask as in training, what is predicted in the hidden places, and the clip, frame by frame."""
    directory, clip = runs.directory(run), query.rpartition("#")[0]
    caption, row = clips.captions[query], clips.rows[clip]
    left, right = st.columns([1, 3])
    with right:
        number = _draw()
    answer, payload = ask(
        want="reconstruction", run=str(directory.path.resolve()), store=str(clips.store.path.resolve()),
        row=row, caption=caption, seed=number, weights=weights(directory),
    )  # fmt: skip
    with left:
        play(clips, clip, caption, start=start)
    with right:
        _numbers(answer)
        _words(answer, caption)
    true = clips.store.frames[row][answer["frames"]]
    seen, drawn = np.frombuffer(payload, np.uint8).reshape(2, *true.shape)
    st.subheader("Frame by frame", divider="gray")
    st.caption(escaped(_said(answer, len(true), caption, run, number)))
    frames.columns({"what the model saw": seen, "with its prediction": drawn, "the clip": true})


def _draw() -> int:
    """Parameter `draw`: number of the mask; a button goes to the next one."""
    slider, button = st.columns([3, 2], vertical_alignment="bottom")
    with slider:
        number = round(
            address.number("draw", "Draw", 0.0, float(DRAWS), 0.0, help="Each number draws another mask.")
        )
    button.button("Another mask", on_click=address.put, args=("draw", float((number + 1) % (DRAWS + 1)), 0.0))
    return number


def _numbers(answer: Mapping[str, Any]) -> None:
    """How much was hidden, and how far the prediction is off there."""
    hidden, tokens = answer["hidden"], answer["tokens"]
    error, flat = answer["error"], answer["error_of_mean"]
    row = st.container(horizontal=True, gap="medium")
    given: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off", "width": "content"}
    row.metric("Patches hidden", f"{hidden} of {tokens}", f"{hidden / tokens:.1%}", **given)
    row.metric("Error there, in grey levels of 255", f"{error:.1f}", f"{flat:.1f} of even patches", **given,
               help="Mean absolute error over the hidden patches; beside it, that of patches which are filled "
               "with their true mean colour.")  # fmt: skip


def _words(answer: Mapping[str, Any], caption: str) -> None:
    """The caption as far as the prediction comes from it."""
    kind, words = answer["words_read"], answer["words"]
    hidden = answer["words_hidden"] if kind == "masked" else [False] * len(words)
    if kind == "none":
        st.markdown(f"#### {escaped(caption)}")
        st.caption("The prediction comes from the visible patches alone, not from the caption.")
        return
    st.markdown(f"#### {frames.words_left(words, hidden)}")
    gone = f", {sum(hidden)} of whose {len(words)} tokens are hidden" if any(hidden) else ""
    st.caption(f"The prediction comes from the visible patches and from the caption{gone}.")


def _said(answer: Mapping[str, Any], count: int, caption: str, run: str, number: int) -> str:
    """What stands above the picture, from what was drawn."""
    together = count // answer["grid"][0]
    hidden = f"{answer['hidden']} of {answer['tokens']} patches hidden"
    said = [
        f"{count} frames of “{caption}”, from above: what {run} saw ({hidden}, grey; mask {number})",
        "the same with what it predicts in the hidden places; the clip.",
    ]
    words = "; ".join(said)
    if together > 1:
        words += f" {together} frames make one patch and share its mask."
    words += f" Of the hidden places, {answer['truth'] or 'nothing is taken from the true clip'}."
    if answer["since"]:
        after = ", ".join(answer["since"])
        words += (
            f" After this was trained, the run went on with {after}, which moved the model without training "
            "these predictions: they may have been better before."
        )
    return words
