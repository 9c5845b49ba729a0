"""Frames and patches of a clip that a model reads with its caption, and those that it drops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from app import frames, widgets
from app.markdown import escaped
from app.predictions.pointing import FOUND
from app.predictions.request import Request


def show(asked: Request) -> None:
    """Parameter `draw`, numbers, and the frames: those that are read outlined."""
    left, right = st.columns([1, 3])
    with right:
        number = widgets.mask_seed()
    answer, payload = asked.ask("kept", caption=asked.caption, seed=number)
    with left:
        asked.play()
    with right:
        st.subheader(escaped(asked.caption))
        st.markdown(verdict(answer))
        st.caption(escaped(f"By {asked.name}. {asked.trained}"))
    true = asked.clips.frames(asked.clip, answer["frames"])
    seen = np.frombuffer(payload, np.uint8).reshape(true.shape)
    together = len(true) // len(answer["selected"])
    slots = [(answer["selected"][i // together], answer["share"][i // together]) for i in range(len(true))]
    marked = [
        frames.outlined(frame, FOUND) if chosen else frames.enlarged(frame)
        for frame, (chosen, _) in zip(seen, slots, strict=True)
    ]
    fits = [f"{'read, ' if chosen else ''}fits {share:.0%}" for chosen, share in slots]
    st.subheader("Frame by frame", divider="gray")
    st.caption(
        "Above the clip. Below, outlined in pink, the frames that are read with the caption; the others are "
        "not. Patches that the mask hides are hatched; those that the encoder drops on the way are dark. "
        "Under each frame how well it fits the caption, as the selector says; over all frames 100%."
    )
    frames.columns({"the clip": true, "what is read of it": np.stack(marked)}, fits)


def verdict(answer: Mapping[str, Any]) -> str:
    """How much is left of the clip."""
    chosen, slots = sum(answer["selected"]), len(answer["selected"])
    tokens, hidden, read = answer["tokens"], answer["hidden"], answer["read"]
    return (
        f"With this caption, **{chosen} of {slots} frames** are read. Of {tokens} patches the mask hides "
        f"{hidden} and the encoder drops {tokens - hidden - read} on the way, so that **{read}** are read to "
        "its end."
    )
