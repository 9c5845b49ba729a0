"""Augmentation of the frames of a training step, by the settings of `DataConfig`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.data.augment import colour, crop

if TYPE_CHECKING:
    from workbench.config import DataConfig

PLACE, MIRROR, COLOUR, DRAWS = slice(0, 4), 4, slice(5, 8), 8
"""Positions of a clip's random numbers by use, so that none depends on which augmentations are on."""


def augmented(
    frames: np.ndarray,
    count: int,
    data: DataConfig,
    rng: np.random.Generator,
    own: slice | np.ndarray = slice(None),
) -> np.ndarray:
    """A crop of each clip, scaled to the model's input size, mirrored or not, with changed colours.

    Args:
        frames: uint8 [B, T, S, S, 3], the clips of the step that are `own`.
        count: number of clips of the step in all processes: random numbers are drawn for all of them.
        data: the settings.
        rng: generator of this step, so that random numbers depend on seed, step and position in the batch.

    Returns: uint8 [B, T, data.size, data.size, 3]; `frames` itself if no augmentation is on.
    """
    side = frames.shape[2]
    if side == data.size and not (data.crop < 1 or data.flip or data.jitter):
        return frames
    draws = rng.random((count, DRAWS))[own]
    box = crop.parts(draws[:, PLACE], side, data.crop) if data.crop < 1 else crop.whole(len(draws), side)
    top, left, height, width = box.T
    rows = crop.weights(top, height, side, data.size)
    columns = crop.weights(left, width, side, data.size)
    mirrored = draws[:, MIRROR] < data.flip
    columns = np.where(mirrored[:, None, None], columns[:, ::-1], columns)
    seen = crop.resampled(frames, rows, columns)
    return crop.rounded(colour.jittered(seen, draws[:, COLOUR], data.jitter) if data.jitter else seen)
