"""Pixels as what a hidden position must predict."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

LEAST = (255 * 1e-6) ** 2
"""The published 1e-6 beside the standard deviation, as a variance in grey levels."""


def normalised_pixels(patches: Tensor, channels: int = 3) -> Tensor:
    """Pixels of each cube, standardised per colour channel (VideoMAE, SimVTP).

    For each cube and channel: subtract the mean, divide by (unbiased standard deviation + 1e-6) on the
    scale [0, 1]. MAE standardises over all channels together: another target. One fused kernel does it
    (a layer norm over each channel), for this is as large as everything the encoder sees: a third of a
    step otherwise.

    Args:
        patches: uint8 [B, M, P * channels], the channel varying fastest.

    Returns:
        float32 [B, M, channels * P], the channel varying slowest.
    """
    x = patches.unflatten(-1, (-1, channels)).transpose(-1, -2).float()  # [B, M, C, P]
    count = x.shape[-1]
    unbiased = ((count - 1) / count) ** 0.5
    return F.layer_norm(x, (count,), eps=LEAST).mul_(unbiased).flatten(2)
