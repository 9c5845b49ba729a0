"""Prediction of words from tokens."""

from __future__ import annotations

from torch import Tensor, nn


class WordHead(nn.Module):
    """BERT's word head: a layer, a norm, then a logit for each word; it does not share the word vectors."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.words = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [..., vocabulary] from tokens [..., D]."""
        logits: Tensor = self.words(self.mlp(tokens))
        return logits
