"""Pixels as targets of masked prediction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = (255 * 1e-6) ** 2
"""The published 1e-6 that is added to the standard deviation, as a variance in grey levels."""
LEAST_OF_PATCH = 255**2 * 1e-6
"""The published 1e-6 that is added to the variance, in grey levels."""
OF_COLOURS = "the mean and the contrast of each colour of each patch are taken from the true clip"
OF_PATCHES = "the mean and the contrast of each patch are taken from the true clip"
"""The note that must accompany an image made by `denormalised_pixels` or `denormalised_patches`."""


def normalised_pixels(patches: Tensor, channels: int = 3) -> Tensor:
    """Pixels of each cube, standardised per colour channel (VideoMAE, SimVTP).

    For each cube and channel: subtract the mean, divide by (unbiased standard deviation + 1e-6) on the
    scale [0, 1]. MAE standardises over all channels together: `normalised_patches`. One fused kernel (a layer
    norm over each channel) computes it on bytes that are already in its order, because the targets are as
    large as the input of the encoder.

    Args:
        patches: uint8 [B, M, P * channels], the channel varying fastest.

    Returns:
        float32 [B, M, channels * P], the channel varying slowest.
    """
    x = patches.unflatten(-1, (-1, channels)).mT.contiguous()  # [B, M, C, P]
    count = x.shape[-1]
    return _standardised(x, ((count - 1) / count) ** 0.5, LEAST).flatten(2)


def normalised_patches(patches: Tensor, channels: int = 3) -> Tensor:
    """Pixels of each patch, standardised over all of its pixels and channels (MAE, VLC), which keeps colours.

    (x - mean) / sqrt(unbiased variance + 1e-6) on the scale [0, 1] (arXiv:2111.06377; VLC, arXiv:2205.09256).

    Args:
        patches: uint8 [B, M, P * channels], the channel varying fastest.

    Returns:
        float32 [B, M, channels * P], the channel varying slowest, as in `normalised_pixels`, so that a
        decoder may start from one that was trained on those.
    """
    x = patches.unflatten(-1, (-1, channels)).mT.flatten(2)  # [B, M, channels * P]
    count = x.shape[-1]
    unbiased = (count - 1) / count
    return _standardised(x, unbiased**0.5, LEAST_OF_PATCH * unbiased)


def _standardised(x: Tensor, size: float, least: float) -> Tensor:
    """Bytes [..., P] scaled to mean 0 and deviation `size`, float32; `least` is added to the variance."""
    weight = torch.full(x.shape[-1:], size, device=x.device)
    return F.layer_norm(x.float(), x.shape[-1:], weight, eps=least)


def denormalised_pixels(values: Tensor, patches: Tensor, channels: int = 3) -> Tensor:
    """Grey levels of predictions of `normalised_pixels`, as its inverse.

    Mean and deviation, which are not predicted, are those of the true patches, as in MAE's figures.

    Args:
        values: [..., channels * P], the channel varying slowest.
        patches: the true ones, uint8 [..., P * channels], the channel varying fastest.

    Returns:
        float32 [..., P * channels], the channel varying fastest; not clipped to [0, 255].
    """
    x = patches.unflatten(-1, (-1, channels)).mT.float()  # [..., C, P]
    count = x.shape[-1]
    deviation = _deviation(x, LEAST * count / max(1, count - 1))
    restored = values.float().unflatten(-1, (channels, -1)) * deviation + x.mean(-1, keepdim=True)
    return restored.mT.flatten(-2)


def denormalised_patches(values: Tensor, patches: Tensor, channels: int = 3) -> Tensor:
    """As `denormalised_pixels`, for predictions of `normalised_patches`."""
    x = patches.float()  # [..., P * channels]
    restored = values.float().unflatten(-1, (channels, -1)).mT.flatten(-2)
    return restored * _deviation(x, LEAST_OF_PATCH) + x.mean(-1, keepdim=True)


def _deviation(x: Tensor, least: float) -> Tensor:
    """Square root of the unbiased variance over the last axis plus `least`, [..., 1]."""
    count = x.shape[-1]
    unbiased = x.var(-1, correction=0, keepdim=True) * count / max(1, count - 1)
    return (unbiased + least).sqrt()
