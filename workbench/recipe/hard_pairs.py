"""True pairs are judged beside wrong ones that nearly fit: MaskVLM, SMAUG, VLMAE, HiTeA, SLAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather, own_rows
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipe.dual import DualEncoder
from workbench.recipe.heads import judgement


@torch.no_grad()
def wrong_pairs(video: Tensor, text: Tensor, scale: Tensor | float, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the clips and of the captions of 2B wrong pairs, int64 each, in the batch of all processes:
    first every caption with another clip, then every clip with another caption. A batch of one has no other:
    its pair is true. Two clips whose captions are the same count as a wrong pair.

    Args:
        video, text: unit vectors [B, E], by which they fit.
        scale: inverse temperature of how well they fit.
        chance: numbers in [0, 1) that decide on each caption's and each clip's negative, [B, 2].
    """
    with torch.autocast(video.device.type, enabled=False):  # see `losses.vtc`
        scores = gather(scale * video @ gather(text).T)
    every = torch.arange(len(scores), device=scores.device)
    clips, captions = losses.hard_negatives(scores, every[:, None] == every, gather(chance))
    own = own_rows(len(video), video.device)
    return torch.cat([clips[own], own]), torch.cat([own, captions[own]])


class HardPairs(DualEncoder):
    """Each caption meets another clip and each clip another caption, the likelier the better they fit."""

    match_head: nn.Module
    """From a pair's pooled vector to two logits: no match, match."""

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """Masks, and numbers in [0, 1) that decide on each caption's and each clip's negative, [B, 2]."""
        draw = super().draw(batch, rng, objective=objective, masked=masked)
        if objective != "recipe" or not self.config.weights.vtm:
            return draw
        return draw._replace(chosen={"negatives": rng.uniform(len(batch.text.tokens), 2)})

    def vtm_loss(self, own: Tensor, wrong: Tensor, true: Tensor) -> Tensor:
        """How well pairs are told apart by their pooled vectors: B true ones [B, D], and those of
        `wrong_pairs`, [2B, D], of which `true` [2B] says which are true all the same."""
        logits = judgement(self.match_head, torch.cat([own, wrong]))  # [3B, 2]
        return losses.vtm(logits, torch.cat([torch.ones_like(true[: len(own)]), true]))
