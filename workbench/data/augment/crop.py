"""Crops of frames, scaled to another size, for a whole batch.

Letters: B clips, T frames, S side of the input frames, P side of the output frames, in pixels.
"""

from __future__ import annotations

import numpy as np

RATIOS = (3 / 4, 4 / 3)
"""Range of width / height of a random crop, as in arXiv:1409.4842."""


def scaled(frames: np.ndarray, size: int) -> np.ndarray:
    """Whole frames uint8 [B, T, S, S, 3] scaled to uint8 [B, T, size, size, 3]; the same where S is that."""
    side = frames.shape[2]
    if side == size:
        return frames
    (top, _, height, _) = whole(1, side).T
    line = weights(top, height, side, size)
    return rounded(resampled(frames, line, line))


def whole(count: int, side: int) -> np.ndarray:
    """The rectangle of the whole frame in the form of `parts`, float64 [count, 4]."""
    return np.tile([0.0, 0.0, side, side], (count, 1))


def parts(draws: np.ndarray, side: int, least: float) -> np.ndarray:
    """Random rectangles within frames: top, left, height and width in pixels, float64 [B, 4].

    The area is uniform between `least` and the whole frame, the logarithm of width / height between those of
    `RATIOS`, the position over all that fit.

    Differs from torchvision's `RandomResizedCrop`: a side that would be longer than the frame's is shortened
    to it, instead of another draw; borders may be between pixels.

    Args: draws: uniform numbers, float64 [B, 4] in [0, 1). side: side of the frames, S. least: smallest share
        of the area.
    """
    area = (least + (1 - least) * draws[:, 0]) * side**2
    low, high = np.log(RATIOS)
    ratio = np.exp(low + (high - low) * draws[:, 1])
    lengths = np.minimum(side, np.sqrt(np.stack([area / ratio, area * ratio], 1)))
    return np.concatenate([draws[:, 2:4] * (side - lengths), lengths], 1)


def weights(start: np.ndarray, length: np.ndarray, side: int, size: int) -> np.ndarray:
    """Weights of the input pixels of a line for each output pixel, float32 [B, size, side].

    The filter is a triangle around the centre of each output pixel, scaled to the coarser of the two rasters,
    as in Pillow's `Image.resize(box=..., resample=BILINEAR)`: downscaling averages pixels.

    Args: start, length: float64 [B], the part of the line that is resampled, in input pixels.
    """
    scale = length / size
    middle = start[:, None] + (np.arange(size) + 0.5) * scale[:, None]
    away = np.abs(np.arange(side) + 0.5 - middle[..., None]) / np.maximum(scale, 1.0)[:, None, None]
    found = np.maximum(0.0, 1.0 - away)
    return (found / found.sum(-1, keepdims=True)).astype(np.float32)


def resampled(frames: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Frames uint8 [B, T, S, S, 3] as float32 [B, T, P, P, 3].

    rows, columns: weights of the input lines for each output line, float32 [B or 1, P, S], see `weights`.
    """
    batch, length = frames.shape[:2]
    size = rows.shape[1]
    out = np.empty((batch, length, size, size, 3), np.float32)
    across = columns.transpose(0, 2, 1)[:, None]
    for at in range(length):  # so that only one frame of each clip is in memory as float32
        planes = np.ascontiguousarray(frames[:, at].transpose(0, 3, 1, 2), np.float32)  # [B, 3, S, S]
        out[:, at] = (rows[:, None] @ planes @ across).transpose(0, 2, 3, 1)
    return out


def rounded(frames: np.ndarray) -> np.ndarray:
    """Grey levels in float32, rounded to uint8 of the same shape; changes its argument in place."""
    return np.clip(np.rint(frames, out=frames), 0, 255, out=frames).astype(np.uint8)
