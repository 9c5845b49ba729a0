"""Brightness, contrast and saturation of clips, changed a batch at a time."""

from __future__ import annotations

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""


def jittered(frames: np.ndarray, draws: np.ndarray, strength: float) -> np.ndarray:
    """Colour jitter as in SimCLR (arXiv:2002.05709), the same for all frames of a clip.

    Three factors, each uniform between 1 - strength and 1 + strength, scale the grey levels, their distance
    to the clip's mean grey, and each colour's distance to its grey.

    Differs from the paper: always in this order, for every clip, and without changes of hue, because captions
    name colours.

    Args:
        frames: float32 [B, T, H, W, 3], grey levels from 0 to 255; they are changed in place.
        draws: float64 [B, 3] in [0, 1).

    Returns: the same array.
    """
    factors = (1 + strength * (2 * draws - 1)).astype(np.float32)[:, :, None, None, None, None]
    frames *= factors[:, 0]
    np.clip(frames, 0, 255, out=frames)
    mean = (frames @ LUMA).mean(axis=(1, 2, 3), keepdims=True)[..., None]
    frames += (factors[:, 1] - 1) * (frames - mean)
    np.clip(frames, 0, 255, out=frames)
    grey = (frames @ LUMA)[..., None]
    frames += (factors[:, 2] - 1) * (frames - grey)
    return frames
