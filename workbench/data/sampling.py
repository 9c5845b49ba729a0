"""Which frames of a video or of a stored clip are taken: three rules as functions of numbers alone.

- `centre`: the centres of equal intervals, as Frozen-in-Time tests (arXiv:2104.00650);
- `random`: one place within each of these intervals, as TSN trains (arXiv:1608.00859);
- `contiguous`: neighbours, or every `stride`-th frame, from one start.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workbench.config import DataConfig

SLACK = 1e-6
"""Seconds by which times may be off for having been rounded."""


def centre_frames(total: int, count: int) -> list[int]:
    """Frame numbers at the centres of `count` equal intervals, of `total` frames.

    A video with fewer than `count` frames gives some of them several times.
    """
    return [min(total - 1, int((i + 0.5) * total / count)) for i in range(count)]


def frames_within(times: Sequence[float], start: float, end: float) -> tuple[int, int]:
    """Numbers of the first frame that is shown in the seconds [start, end) and of the one after the last.

    A segment that ends after the video ends with it; one so short that no frame begins in it has the frame
    that is shown at its start. Raises `ValueError` where the video ends before the segment begins.

    Args:
        times: seconds at which frames are shown, ascending, from 0 on; empty where they are not known.
        end: 0 stands for the end of the video.
    """
    if not times:
        raise ValueError("its frames have no times, so that no segment of it can be found")
    length = times[-1] + (times[-1] / (len(times) - 1) if len(times) > 1 else 0.0)
    if start and start >= length:
        raise ValueError(f"its segment begins at {start:g} s, and the video ends at {length:.2f} s")
    first = bisect_left(times, start - SLACK)
    stop = bisect_left(times, end - SLACK) if end else len(times)
    if stop <= first:
        first = max(0, bisect_right(times, start + SLACK) - 1)
        stop = first + 1
    return first, stop


def repeated_frames(frames: np.ndarray, total: int) -> int:
    """How many of the frames [T, H, W, 3] of a clip equal the one before them.

    Frames of a video that is shorter than the sample (`total` < T) repeat by design and are not counted.
    """
    if total < len(frames) or len(frames) == 1:
        return 0
    return int((frames[1:] == frames[:-1]).reshape(len(frames) - 1, -1).all(-1).sum())


def random_frames(total: int, count: int, clips: int, rng: np.random.Generator) -> np.ndarray:
    """Frame numbers int64 [clips, count], one at random in each of `count` equal intervals of `total`."""
    places = np.arange(count) + rng.random((clips, count))
    return np.minimum(total - 1, (places * total / count).astype(np.int64))


def contiguous_frames(
    total: int, count: int, stride: int, clips: int, rng: np.random.Generator | None
) -> np.ndarray:
    """Frame numbers int64 [clips, count], `stride` apart, of `total` frames that hold as many.

    Every start is as likely as another; without a generator the window is centred.
    """
    room = total - span(count, stride)
    start = np.full(clips, room // 2) if rng is None else rng.integers(0, room + 1, clips)
    return start[:, None] + np.arange(count) * stride


def span(count: int, stride: int) -> int:
    """Frames from the first to the last of `count` that are `stride` apart, both included."""
    return (count - 1) * stride + 1


def evaluated_frames(stored: int, data: DataConfig) -> list[int]:
    """Which of the stored frames evaluation takes: the centres, or the centred window."""
    if data.sampling == "contiguous":
        window: list[int] = contiguous_frames(stored, data.frames, data.stride, 1, None)[0].tolist()
        return window
    return centre_frames(stored, data.frames)


def frames_of(
    frames: np.ndarray,
    clips: np.ndarray,
    data: DataConfig,
    rng: np.random.Generator | None = None,
    own: slice | np.ndarray = slice(None),
) -> np.ndarray:
    """The frames of some clips that a step takes, by the rule of `data`.

    Args:
        frames: uint8 [N, S, H, W, 3], those that are stored.
        clips: int64 [B], rows of `frames`.
        data: says how many frames are taken, and by which rule.
        rng: of training; evaluation has none and takes the centres, or the centred window.
        own: places of those of the clips that are read; frames are drawn for all.

    Returns:
        uint8 [B, data.frames, H, W, 3], in memory. Nothing is drawn where all stored frames are taken.
    """
    stored = frames.shape[1]
    if stored == data.frames:
        return np.take(frames, clips[own], axis=0)
    if rng is None or data.sampling == "centre":
        numbers = np.array([evaluated_frames(stored, data)] * len(clips))
    elif data.sampling == "contiguous":
        numbers = contiguous_frames(stored, data.frames, data.stride, len(clips), rng)
    else:
        numbers = random_frames(stored, data.frames, len(clips), rng)
    return np.asarray(frames[clips[own, None], numbers[own]])


def edges(stored: int, data: DataConfig | None = None) -> np.ndarray:
    """Of the frames that an evaluation takes when each begins and the last one ends, as shares of the clip.

    Each lasts until the next one that is taken. Without `data`, all stored frames are.

    Returns: float64 [T + 1]; 0 and 1 at its ends unless a window is taken.
    """
    if data is None or data.sampling != "contiguous":
        count = stored if data is None else data.frames
        return np.arange(count + 1) / count
    first = contiguous_frames(stored, data.frames, data.stride, 1, None)[0, 0]
    return (first + data.stride * np.arange(data.frames + 1)) / stored


def without_seeking(wanted: Sequence[int], groups: Sequence[int], most: int) -> list[int]:
    """The wanted frames and some between them, ascending, each once: a reader of them all seeks less often.

    Where the next wanted frame lies in the next group of pictures, everything up to there has to be decoded
    anyway; the frames between are taken too, where they are `most` at the most.

    Args:
        wanted: numbers of frames.
        groups: numbers of the frames with which groups of pictures begin, ascending.
    """
    chosen = sorted(set(wanted))
    taken = chosen[:1]
    for before, after in pairwise(chosen):
        next_group = bisect_right(groups, after) - bisect_right(groups, before) == 1
        taken += range(before + 1 if next_group and after - before - 1 <= most else after, after + 1)
    return taken
