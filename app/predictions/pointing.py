"""Points of a model for the actor that a caption names, in each frame, beside the true positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from app import frames
from app.markdown import escaped
from app.predictions.request import Request

NAMED, OTHER, FOUND = (255, 255, 255), (20, 20, 20), (255, 0, 200)
"""Colours of outlines."""
ARM = 6
"""Pixels of a cross's arm on the page."""


def show(asked: Request) -> None:
    """What it was asked, how often it was right, and the frames with outlines."""
    left, right = st.columns([1, 3])
    with left:
        asked.play()
    answer, _ = asked.ask("places", caption=asked.caption)
    with right:
        st.subheader(escaped(asked.caption))
        st.markdown(f"Request for “{escaped(answer['asked'])}”. {verdict(answer)}")
        st.caption(escaped(f"{_legend(asked.name, answer)} {asked.trained}"))
    clip = asked.clips.frames(asked.clip, answer["frames"])
    st.subheader("Frame by frame", divider="gray")
    frames.columns({f"where {asked.name} finds {answer['asked']}": marked(clip, answer)})


def verdict(answer: Mapping[str, Any]) -> str:
    """In how many frames the place lies in the box of the one that is named, or of another one."""
    named = [
        hits[0] for hits, boxes in zip(answer["hits"], answer["actors"], strict=True) if boxes and boxes[0]
    ]
    if not named:
        return "The true position is not known for these clips."
    words = f"The place lies in its true box in {sum(named)} of the {len(named)} frames in which it is seen"
    others = sum(any(hits[1:]) for hits in answer["hits"])
    return f"{words}, in the other one's in {others}." if len(answer["hits"][0]) > 1 else f"{words}."


def marked(clip: np.ndarray, answer: Mapping[str, Any]) -> np.ndarray:
    """Frames uint8 [T, H, W, 3], enlarged, with what was found and what is true outlined."""
    large = np.stack([frames.enlarged(frame) for frame in clip])
    regions = answer["regions"] or [None] * len(large)
    for frame, actors, region, place in zip(large, answer["actors"], regions, answer["places"], strict=True):
        for who, box in enumerate(actors):
            _outline(frame, box, OTHER if who else NAMED)
        _outline(frame, region, FOUND)
        side = len(frame)
        x, y = (min(side - 1, int(part * side)) for part in place)
        frame[y, max(0, x - ARM) : x + ARM + 1] = FOUND
        frame[max(0, y - ARM) : y + ARM + 1, x] = FOUND
    return large


def _outline(frame: np.ndarray, box: Sequence[float] | None, colour: tuple[int, int, int]) -> None:
    """Draws the edge of a box, two pixels wide, inside it."""
    if box is None:
        return
    left, top, right, bottom = (round(part * len(frame)) for part in box)
    inner = frame[top + 2 : bottom - 2, left + 2 : right - 2].copy()
    frame[top:bottom, left:right] = colour
    frame[top + 2 : bottom - 2, left + 2 : right - 2] = inner


def _legend(name: str, answer: Mapping[str, Any]) -> str:
    """What the colours stand for, of what is there."""
    found = "the best-fitting region and its centre" if answer["regions"] else "the most attended patch"
    words = f"Pink: {found}, by {name}."
    if answer["actors"] and answer["actors"][0]:
        words += " White: the true box of the one that is named."
        words += " Black: that of the other one." if len(answer["actors"][0]) > 1 else ""
    return words
