"""Correspondence between parts of both sides: time steps of a clip and words of its caption (LocVTP).

Letters: B batch, A anchors (all parts of one side), K candidates (all of the other), C negatives, E width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from workbench.recipe.heads import unit
from workbench.targets.precision import at_least_float32


class Fits(NamedTuple):
    """The candidates that each anchor is compared with."""

    best: Tensor
    """[B, A], the candidate that fits best."""
    positive: Tensor
    """[B, A], its similarity."""
    negatives: Tensor
    """[B, A, C], similarities of others; minus infinity where there are too few."""
    counts: Tensor
    """Boolean [B, A], whether the anchor exists and has something to be compared with."""
    last: Tensor
    """[B, 1], the last candidate that is not padding."""


def best_fits(
    anchors: Tensor, candidates: Tensor, kept: tuple[Tensor, Tensor], chance: Tensor, negatives: int
) -> Fits:
    """The best candidate of each anchor, and a few of the others, sampled without replacement.

    Args:
        anchors, candidates: unit vectors [B, A, E] and [B, K, E].
        kept: Boolean [B, A] and [B, K], False at padding, which comes last.
        chance: uniform numbers [B, A, K] in [0, 1); the candidates with the largest ones are sampled.
        negatives: number of sampled candidates; fewer if there are fewer.
    """
    with torch.autocast(anchors.device.type, enabled=False):  # bfloat16 would produce ties
        scores = at_least_float32(anchors) @ at_least_float32(candidates).mT  # [B, A, K]
    is_anchor, valid = kept
    best = scores.masked_fill(~valid[:, None], float("-inf")).argmax(2)
    free = valid[:, None] & (torch.arange(scores.shape[2], device=best.device) != best[..., None])
    drawn, which = chance.masked_fill(~free, -1.0).topk(min(negatives, scores.shape[2] - 1), 2)
    return Fits(
        best=best,
        positive=scores.gather(2, best[..., None])[..., 0],
        negatives=scores.gather(2, which).masked_fill(drawn < 0, float("-inf")),
        counts=is_anchor & valid.any(1, keepdim=True),
        last=(valid.sum(1, keepdim=True) - 1).clamp(min=0),
    )


class Shift(nn.Module):
    """Adds learned vectors for the direction and the length of a shift; a shift of 0 adds nothing."""

    def __init__(self, embed: int, most: int) -> None:
        super().__init__()
        self.sign = nn.Embedding(3, embed, padding_idx=1)
        self.distance = nn.Embedding(most + 1, embed, padding_idx=0)
        with torch.no_grad():
            for table in (self.sign, self.distance):
                table.weight.mul_(embed**-0.5)  # about the norm of the unit vectors that they are added to

    def forward(self, vectors: Tensor, shift: Tensor) -> Tensor:
        """Unit vectors [B, A, E], given unit vectors and their shifts in positions [B, A]."""
        return unit(vectors + self.sign(shift.sign() + 1) + self.distance(shift.abs()))
