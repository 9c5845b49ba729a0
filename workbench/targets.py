"""What a hidden position must predict."""

from __future__ import annotations

from torch import Tensor


def normalised_pixels(patches: Tensor, channels: int = 3) -> Tensor:
    """Pixels of each cube, standardised per colour channel (VideoMAE, SimVTP).

    For each cube and channel: subtract the mean, divide by (unbiased standard deviation + 1e-6), after
    scaling to [0, 1]. MAE standardises over all channels together: another target.

    Args:
        patches: uint8 [B, M, P * channels], the channel varying fastest.

    Returns:
        float32 of the same shape.
    """
    x = patches.float().div(255).unflatten(-1, (-1, channels))  # [B, M, P, C]
    x = (x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + 1e-6)
    return x.flatten(2)
