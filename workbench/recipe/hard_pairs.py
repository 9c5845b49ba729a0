"""Matching of true pairs and hard negatives: HiTeA, MaskVLM, SLAN, SMAUG, VLMAE."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from workbench import losses
from workbench.distributed import gather, own_rows
from workbench.recipe.abilities import JudgingPairs
from workbench.recipe.batch import Batch, BatchRng
from workbench.recipe.dual import DualEncoder
from workbench.recipe.heads import judgement


@torch.no_grad()
def wrong_pairs(video: Tensor, text: Tensor, scale: Tensor | float, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the clips and of the captions of 2B wrong pairs, int64 [2B] each.

    They are rows of the batch of all processes. First comes every caption with another clip, then every clip
    with another caption. In a batch of one there is no other, so the pair is the true one. Two clips with the
    same caption count as a wrong pair.

    Args:
        video, text: unit vectors [B, E], whose similarity decides which negatives are hard.
        scale: inverse temperature of the similarities.
        chance: uniform numbers [B, 2] in [0, 1) that select the negative of each caption and of each clip.
    """
    with torch.autocast(video.device.type, enabled=False):  # see `losses.vtc`
        scores = gather(scale * video @ gather(text).T)
    every = torch.arange(len(scores), device=scores.device)
    clips, captions = losses.hard_negatives(scores, every[:, None] == every, gather(chance))
    own = own_rows(len(video), video.device)
    return torch.cat([clips[own], own]), torch.cat([own, captions[own]])


def true_and_wrong_pairs(
    video: Tensor, text: Tensor, scale: Tensor | float, chance: Tensor
) -> tuple[Tensor, Tensor]:
    """The B true pairs of this process, then those of `wrong_pairs`: rows of 3B clips and of 3B captions."""
    own = own_rows(len(video), video.device)
    clips, captions = wrong_pairs(video, text, scale, chance)
    return torch.cat([own, clips]), torch.cat([own, captions])


class HardPairs(JudgingPairs, DualEncoder):
    """Samples by similarity another clip for each caption and another caption for each clip."""

    PAIR_TERMS: ClassVar[tuple[str, ...]] = ("vtm",)
    """Losses that need wrong pairs."""

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """Uniform numbers in [0, 1) that select the negatives of each row, `negatives` [B, 2]."""
        weights = self.weights()
        if not any(weights[term] for term in self.PAIR_TERMS):
            return {}
        return {"negatives": rng.uniform(len(batch.text.tokens), 2)}

    def vtm_loss(self, true: Tensor, wrong: Tensor, same: Tensor) -> Tensor:
        """Matching loss of true and wrong pairs, computed from their pooled vectors.

        Args:
            true, wrong: pooled vectors of the true pairs, [B, D], and of `wrong_pairs`, [2B, D].
            same: Boolean [2B], which of the latter are true after all, because their rows are equal.
        """
        logits = judgement(self.match_head, torch.cat([true, wrong]))  # [3B, 2]
        return losses.vtm(logits, torch.cat([torch.ones_like(same[: len(true)]), same]))
