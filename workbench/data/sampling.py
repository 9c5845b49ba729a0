"""Which frames of a video or of a stored clip are taken: three rules as functions of numbers alone.

- `centre`: the centres of equal intervals, as Frozen-in-Time tests (arXiv:2104.00650);
- `random`: one place within each of these intervals, as TSN trains (arXiv:1608.00859);
- `contiguous`: neighbours, or every `stride`-th frame, from one start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workbench.config import DataConfig


def centre_frames(total: int, count: int) -> list[int]:
    """Frame numbers at the centres of `count` equal intervals, of `total` frames.

    A video with fewer than `count` frames gives some of them several times.
    """
    return [min(total - 1, int((i + 0.5) * total / count)) for i in range(count)]


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


def frames_of(
    frames: np.ndarray,
    clips: np.ndarray,
    data: DataConfig,
    rng: np.random.Generator | None = None,
    own: slice = slice(None),
) -> np.ndarray:
    """The frames of some clips that a step takes, by the rule of `data`.

    Args:
        frames: uint8 [N, S, H, W, 3], those that are stored.
        clips: int64 [B], rows of `frames`.
        data: says how many frames are taken, and by which rule.
        rng: of training; evaluation has none and takes the centres, or the centred window.
        own: those of the clips that are read; frames are drawn for all.

    Returns:
        uint8 [B, data.frames, H, W, 3], in memory. Nothing is drawn where all stored frames are taken.
    """
    stored = frames.shape[1]
    if stored == data.frames:
        return np.take(frames, clips[own], axis=0)
    if data.sampling == "contiguous":
        numbers = contiguous_frames(stored, data.frames, data.stride, len(clips), rng)
    elif data.sampling == "random" and rng is not None:
        numbers = random_frames(stored, data.frames, len(clips), rng)
    else:
        numbers = np.array([centre_frames(stored, data.frames)] * len(clips))
    return np.asarray(frames[clips[own, None], numbers[own]])
