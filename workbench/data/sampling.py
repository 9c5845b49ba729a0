"""Sampling of frames of a video or of a stored clip; three rules.

- `centre`: the centres of equal intervals, as in the evaluation of Frozen in Time (arXiv:2104.00650);
- `random`: one random position within each interval, as in the training of TSN (arXiv:1608.00859);
- `contiguous`: neighbouring frames, or every `stride`-th frame, from a random start.
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
"""Tolerance of times in seconds, for rounding."""


def centre_frames(total: int, count: int) -> list[int]:
    """Indices of the frames at the centres of `count` equal intervals, of `total` frames.

    Some frames of a video with fewer than `count` frames repeat.
    """
    return [min(total - 1, int((i + 0.5) * total / count)) for i in range(count)]


def frames_within(times: Sequence[float], start: float, end: float) -> tuple[int, int]:
    """Indices of the first frame in the seconds [start, end) and of the one after the last.

    A segment that ends after the video is cut at its end; one so short that no frame begins in it has the
    frame that is shown at its start. Raises `ValueError` if the video ends before the segment begins.

    Args: times: seconds at which frames are shown, ascending from 0; empty if they are not known. end: 0
        stands for the end of the video.
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
    """Number of frames [T, H, W, 3] of a clip that equal the previous frame.

    Frames of a video that is shorter than the sample (`total` < T) repeat by design and are not counted.
    """
    if total < len(frames) or len(frames) == 1:
        return 0
    return int((frames[1:] == frames[:-1]).reshape(len(frames) - 1, -1).all(-1).sum())


def random_frames(total: int, count: int, clips: int, rng: np.random.Generator) -> np.ndarray:
    """Frame indices int64 [clips, count], one at random in each of `count` equal intervals of `total`."""
    places = np.arange(count) + rng.random((clips, count))
    return np.minimum(total - 1, (places * total / count).astype(np.int64))


def contiguous_frames(
    total: int, count: int, stride: int, clips: int, rng: np.random.Generator | None
) -> np.ndarray:
    """Frame indices int64 [clips, count], `stride` apart, within `total` frames.

    The start is uniform; without a generator the window is centred.
    """
    room = total - span(count, stride)
    start = np.full(clips, room // 2) if rng is None else rng.integers(0, room + 1, clips)
    return start[:, None] + np.arange(count) * stride


def span(count: int, stride: int) -> int:
    """Frames from the first to the last of `count` that are `stride` apart, both included."""
    return (count - 1) * stride + 1


def evaluated_frames(stored: int, data: DataConfig) -> list[int]:
    """The stored frames that evaluation uses: the centres, or the centred window."""
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
    """The frames of some clips for a step, by the sampling rule of `data`.

    Args:
        frames: uint8 [N, S, H, W, 3], the stored frames.
        clips: int64 [B], rows of `frames`.
        data: defines the number of frames and the rule.
        rng: generator for training; None for evaluation, which uses the centres, or the centred window.
        own: positions of the clips that are read; frames are sampled for all.

    Returns: uint8 [B, data.frames, H, W, 3], in memory. If all stored frames are used, nothing is sampled.
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
    """Starts of the frames of an evaluation and the end of the last one, as shares of the clip.

    Each frame lasts until the next one that is used. Without `data`, all stored frames are used.

    Returns: float64 [T + 1]; 0 and 1 at its ends except for a window.
    """
    if data is None or data.sampling != "contiguous":
        count = stored if data is None else data.frames
        return np.arange(count + 1) / count
    first = contiguous_frames(stored, data.frames, data.stride, 1, None)[0, 0]
    return (first + data.stride * np.arange(data.frames + 1)) / stored


def without_seeking(wanted: Sequence[int], groups: Sequence[int], most: int) -> list[int]:
    """The wanted frames and some between them, ascending and unique, so that a reader seeks less often.

    If the next wanted frame is in the next group of pictures, everything up to there has to be decoded
    anyway; the frames between are included if there are at most `most` of them.

    Args: wanted: indices of frames. groups: indices of the frames with which groups of pictures begin,
        ascending.
    """
    chosen = sorted(set(wanted))
    taken = chosen[:1]
    for before, after in pairwise(chosen):
        next_group = bisect_right(groups, after) - bisect_right(groups, before) == 1
        taken += range(before + 1 if next_group and after - before - 1 <= most else after, after + 1)
    return taken
