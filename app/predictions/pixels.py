"""A clip under a mask as in training, the model's predictions at hidden positions, and the true frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from app import address, frames, widgets
from app.markdown import escaped
from app.predictions.request import Request
from workbench.inspection.outputs import objective


def show(asked: Request) -> None:
    """Parameter `draw`, numbers, and the three clips frame by frame."""
    left, right = st.columns([1, 3])
    with right:
        number = _draw()
    answer, payload = asked.ask("reconstruction", caption=asked.caption, seed=number)
    with left:
        asked.play()
    with right:
        _numbers(answer)
        _words(answer, asked.caption)
    true = asked.clips.frames(asked.clip, answer["frames"])
    seen, drawn = np.frombuffer(payload, np.uint8).reshape(2, *true.shape)
    st.subheader("Frame by frame", divider="gray")
    st.caption(escaped(_said(asked, answer, len(true), number)))
    frames.columns({"what the model saw": seen, "with its prediction": drawn, "the clip": true})


def _draw() -> int:
    """The seed of the mask; a button goes to the next one."""
    slider, button = st.columns([3, 2], vertical_alignment="bottom")
    with slider:
        number = widgets.mask_seed()
    following = float((number + 1) % (widgets.MASK_SEEDS + 1))
    button.button("Another mask", on_click=address.put, args=("draw", following, 0.0))
    return number


def _numbers(answer: Mapping[str, Any]) -> None:
    """How much was hidden, and how far the prediction is off there."""
    hidden, tokens = answer["hidden"], answer["tokens"]
    row = st.container(horizontal=True, gap="medium")
    given: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off", "width": "content"}
    row.metric("Patches hidden", f"{hidden} of {tokens}", f"{hidden / tokens:.1%}", **given)
    row.metric(
        "Error there, of 255 grey levels", f"{answer['error']:.1f}",
        f"{answer['error_of_mean']:.1f} for even patches", **given,
        help="Mean absolute error over the hidden patches. Below it, the error of patches that are filled "
        "evenly with their true mean colour.",
    )  # fmt: skip


def _words(answer: Mapping[str, Any], caption: str) -> None:
    """The caption as far as the prediction comes from it."""
    words, gone = answer["words"], answer["words_hidden"]
    if answer["words_read"] != "masked":
        gone = [False] * len(words)
    if answer["words_read"] == "none":
        st.markdown(f"#### {escaped(caption)}")
        st.caption("The prediction comes from the visible patches alone, not from the caption.")
        return
    st.markdown(f"#### {frames.words_left(words, gone)}")
    hidden = f", {sum(gone)} of whose {len(words)} tokens are hidden" if any(gone) else ""
    st.caption(f"The prediction comes from the visible patches and from the caption{hidden}.")


def _said(asked: Request, answer: Mapping[str, Any], count: int, number: int) -> str:
    """What stands above the frames, from what was drawn."""
    together = count // answer["grid"][0]
    share = f" {together} frames make one patch and share its mask." if together > 1 else ""
    words = (
        f"{count} frames of “{asked.caption}”. Top: input to {asked.name}, with {answer['hidden']} of "
        f"{answer['tokens']} patches hidden (hatched; mask seed {number}). Middle: the same with the "
        f"predictions filled in. Bottom: the clip.{share} Of the hidden patches, {answer['drawn']}."
    )
    if not answer["since"]:
        return words
    after = ", ".join(map(objective, answer["since"]))
    return (
        f"{words} The run was then trained further with {after}, which changed the model without training "
        "these predictions; they may have been better before."
    )
