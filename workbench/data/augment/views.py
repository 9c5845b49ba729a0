"""What a training step sees of the frames it takes, by the rules of `DataConfig`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.data.augment import colour, crop

if TYPE_CHECKING:
    from workbench.config import DataConfig

PLACE, MIRROR, COLOUR, DRAWS = slice(0, 4), 4, slice(5, 8), 8
"""Which of a clip's random numbers decides what: so none of them depends on what else is switched on."""


def augmented(
    frames: np.ndarray,
    count: int,
    data: DataConfig,
    rng: np.random.Generator,
    own: slice | np.ndarray = slice(None),
) -> np.ndarray:
    """A part of each clip, scaled to what the model sees, mirrored or not, its colours changed.

    Args:
        frames: uint8 [B, T, S, S, 3], of those clips of the step that are `own`.
        count: clips of the step, of all processes: random numbers are drawn for all of them.
        data: says what is changed, and by how much.
        rng: of this step alone, so that what is drawn is a function of seed, step and place in the batch.

    Returns: uint8 [B, T, data.size, data.size, 3]; `frames` themselves where nothing is to be changed.
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
