"""Frames of clips at the size that models read, enlarged so that each pixel is visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from app.markdown import escaped

SIDE = 192
"""Smallest side of a frame on the page in pixels, so that small frames are not blurred."""
WIDTH = 100
"""Width of a column of frames in pixels; three fit side by side on a phone."""
GAP = 6


def enlarged(frame: np.ndarray) -> np.ndarray:
    """The frame enlarged by a whole factor, without interpolation."""
    times = max(1, SIDE // len(frame))
    return frame.repeat(times, 0).repeat(times, 1)


def columns(rows: Mapping[str, np.ndarray], besides: Sequence[str] = ()) -> None:
    """Clips one above the other, frame by frame: a picture for each frame, as many side by side as fit.

    rows: what is shown -> uint8 [T, H, W, 3], from above; besides: what is said of each frame, if anything.
    """
    with st.container(horizontal=True, gap="small"):
        for i, frames in enumerate(zip(*rows.values(), strict=True)):
            name = f"{i + 1} · {besides[i]}" if besides else str(i + 1)
            alt = f"Frame {name}, from above: {', '.join(rows)}"
            st.image(_stacked(frames), escaped(name), width=WIDTH, alt=alt)


def outlined(frame: np.ndarray, colour: Sequence[int]) -> np.ndarray:
    """A frame, enlarged, with an edge of a colour."""
    large = enlarged(frame).copy()
    for edge in (large[:6], large[-6:], large[:, :6], large[:, -6:]):
        edge[:] = colour
    return large


def words_left(words: Sequence[str], hidden: Sequence[bool]) -> str:
    """A caption as Markdown, hidden words as bars."""
    return " ".join(
        f":gray[{'█' * max(2, len(word))}]" if gone else escaped(word)
        for word, gone in zip(words, hidden, strict=True)
    )


def _stacked(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Frames [H, W, 3] from above with gaps that show the page, uint8 [.., .., 4]."""
    large = [np.pad(enlarged(frame), ((0, 0), (0, 0), (0, 1)), constant_values=255) for frame in frames]
    gap = np.zeros((GAP, large[0].shape[1], 4), np.uint8)
    parts = [part for frame in large for part in (gap, frame)]
    return np.concatenate(parts[1:])
