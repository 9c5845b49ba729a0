"""What is hidden where a model looks: the masking needs attention, so a recipe draws it in `masks`."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipe.batch import BatchRng


def attended(weight: Tensor, count: Tensor, rng: BatchRng) -> Tensor:
    """Draws tokens without putting back, each with a probability in proportion to its weight.

    The smallest of -log(u) / weight are drawn, which is the same in distribution. A weight of 0 is never
    drawn as long as there are others.

    Args:
        weight: not negative, [B, N].
        count: int64 [B], how many are drawn of each row.

    Returns:
        Boolean mask [B, N], True = hidden.
    """
    chance = rng.uniform(*weight.shape)
    wait = -(1 - chance).log().clamp(max=-1e-30) / weight.float()  # infinite where the weight is 0
    rank = wait.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    drawn: Tensor = rank < count[:, None]
    return drawn & torch.isfinite(wait)
