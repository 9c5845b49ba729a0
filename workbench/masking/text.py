"""Which words of a caption are hidden.

A text masking maps the layout of a batch of captions to a Boolean mask `[B, L]` over content tokens
(no class or separator token), True = hidden. Two countings exist, because captions differ in length:

* `equal=False` (hidden tokens are *replaced*): each caption hides `round(ratio * its own length)`.
* `equal=True` (hidden tokens are *dropped*): every caption hides `int(ratio * L)` of the L positions,
  padding first, so that what remains is rectangular. FLIP found this better than dropping blindly
  (arXiv:2212.00794, text masking ablation).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.masking.video import check_ratio, floor_count, lowest
from workbench.recipe.batch import BatchRng, Layout


@dataclass(frozen=True, kw_only=True)
class TextMasking(ABC):
    """A share of a caption's tokens is hidden."""

    ratio: float

    def __post_init__(self) -> None:
        check_ratio("text", self.ratio)

    def __call__(self, text: Layout, rng: BatchRng, *, equal: bool) -> Tensor:
        """Boolean mask [B, L], True = hidden. See the module for what `equal` counts."""
        score = self.order(text, rng)
        length = text.valid.shape[1]
        if equal:
            return lowest(score.masked_fill(~text.valid, -1.0), floor_count(self.ratio, length))
        count = self.counts(text.valid)[:, None]
        rank = score.masked_fill(~text.valid, 3.0).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        return (rank < count) & text.valid

    def counts(self, valid: Tensor) -> Tensor:
        """How many tokens of each caption are hidden where they are replaced, [B]; valid: Boolean [B, L]."""
        return torch.round(self.ratio * valid.sum(1))

    @abstractmethod
    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        """Scores [B, L] in [0, 2); the lowest are hidden first."""


@dataclass(frozen=True, kw_only=True)
class TokenMasking(TextMasking):
    """Single tokens, each alike (BERT, arXiv:1810.04805, without its 80/10/10 rule)."""

    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        return rng.uniform(*text.valid.shape)


@dataclass(frozen=True, kw_only=True)
class WholeWordMasking(TextMasking):
    """All pieces of a word together; the last word may be hidden in part, so that counts stay exact."""

    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        return rng.uniform(*text.valid.shape).gather(1, text.word)


@dataclass(frozen=True, kw_only=True)
class ContentWordMasking(TextMasking):
    """Whole content words first, stop words only when those are used up.

    A stand-in for Clover's object and verb words (arXiv:2207.07885), which come from a scene-graph parser.
    """

    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        score = rng.uniform(*text.valid.shape).gather(1, text.word)
        return torch.where(text.content, score, score + 1.0)
