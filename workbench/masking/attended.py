"""Masking by attention. It needs the attention of a model, so a recipe samples it in its `masks`."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipe.batch import BatchRng


def attended(weight: Tensor, count: Tensor, rng: BatchRng) -> Tensor:
    """Samples tokens without replacement, with probabilities proportional to their weights.

    It selects the smallest values of -log(u) / weight with u uniform, which has the same distribution. A
    token of weight 0 is sampled only if no other is left.

    Args:
        weight: non-negative weights [B, N].
        count: int64 [B], number of tokens sampled in each row.

    Returns:
        Boolean mask [B, N], True = hidden.
    """
    chance = rng.uniform(*weight.shape)
    wait = -(1 - chance).log().clamp(max=-1e-30) / weight.float()  # infinite where the weight is 0
    rank = wait.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    drawn: Tensor = rank < count[:, None]
    return drawn & torch.isfinite(wait)
