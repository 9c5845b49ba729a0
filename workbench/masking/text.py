"""Maskings of captions.

A text masking maps the layout of a batch of captions to a Boolean mask `[B, L]` over content tokens
(no class or separator token), True = hidden. There are two ways to count hidden tokens, because captions
differ in length:

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
    """Hides a share of a caption's tokens, given by `ratio`."""

    ratio: float

    def __post_init__(self) -> None:
        check_ratio("text", self.ratio)

    def __call__(self, text: Layout, rng: BatchRng, *, equal: bool) -> Tensor:
        """Boolean mask [B, L], True = hidden. The docstring of the module explains `equal`."""
        score = self.order(text, rng)
        length = text.valid.shape[1]
        if equal:
            return lowest(score.masked_fill(~text.valid, -1.0), floor_count(self.ratio, length))
        count = self.counts(text.valid)[:, None]
        rank = score.masked_fill(~text.valid, 3.0).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        return (rank < count) & text.valid

    def counts(self, valid: Tensor) -> Tensor:
        """Number of hidden tokens of each caption, [B], if they are replaced; valid: Boolean [B, L]."""
        return torch.round(self.ratio * valid.sum(1))

    @abstractmethod
    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        """Scores [B, L] in [0, 2); the lowest are hidden first."""


@dataclass(frozen=True, kw_only=True)
class TokenMasking(TextMasking):
    """Hides single tokens with equal probability (BERT, arXiv:1810.04805, without its 80/10/10 rule)."""

    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        return rng.uniform(*text.valid.shape)


@dataclass(frozen=True, kw_only=True)
class WholeWordMasking(TextMasking):
    """Hides whole words; the last one possibly in part, so that counts are exact."""

    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        return rng.uniform(*text.valid.shape).gather(1, text.word)


@dataclass(frozen=True, kw_only=True)
class ContentWordMasking(TextMasking):
    """Hides whole content words first, and stop words only when no content word is left.

    It replaces Clover's object and verb words (arXiv:2207.07885), which come from a scene-graph parser.
    """

    def order(self, text: Layout, rng: BatchRng) -> Tensor:
        score = rng.uniform(*text.valid.shape).gather(1, text.word)
        return torch.where(text.content, score, score + 1.0)
