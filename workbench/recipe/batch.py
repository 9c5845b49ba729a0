"""What a recipe is given: clips, captions, and what a masking may know of captions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """What a masking may know of a batch of captions; all `[B, L]`."""

    valid: Tensor
    """Boolean: a token, not padding."""
    word: Tensor
    """Integer: which word of its caption a token belongs to."""
    content: Tensor
    """Boolean: a content word (not a stop word)."""


class Text(NamedTuple):
    """A batch of captions; all [B, L]."""

    tokens: Tensor
    layout: Layout

    def select(self, rows: Tensor | slice) -> Text:
        """Some captions of the batch."""
        return Text(self.tokens[rows], Layout(*(x[rows] for x in self.layout)))

    def to(self, device: torch.device) -> Text:
        return Text(self.tokens.to(device), Layout(*(x.to(device) for x in self.layout)))


class Batch(NamedTuple):
    """Clips and the captions that belong to them, row by row."""

    video: Tensor
    """uint8 [B, T, H, W, 3]"""
    text: Text
    """[B, L]"""
