"""Learned queries that read many tokens into few (CoCa, arXiv:2205.01917).

Letters: B batch, n tokens, Q queries, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workbench.models.attention import Attention


class AttentionPooler(nn.Module):
    """Q learned queries, a norm on them and on what they read, one attention layer."""

    def __init__(self, queries: int, width: int, heads: int, *, keys: int | None = None) -> None:
        """keys: width of the tokens that are read, where it is another one."""
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width))
        nn.init.normal_(self.queries, std=width**-0.5)
        self.norm_queries = nn.LayerNorm(width)
        self.norm_keys = nn.LayerNorm(keys or width)
        self.attention = Attention(width, heads, keys=keys)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, n, keys] to [B, Q, D]."""
        queries = self.norm_queries(self.queries).expand(len(tokens), -1, -1)
        return self.attention(queries, self.norm_keys(tokens))


class Pooled(NamedTuple):
    """What two poolers made of a clip."""

    single: Tensor
    """[B, D], for the contrast."""
    several: Tensor
    """[B, Q, D], for a decoder."""


class TwoPoolers(nn.Module):
    """Several vectors for a decoder and one for the contrast: on top of them (`cascade`), or beside."""

    extra_tokens, start = 0, None

    def __init__(self, queries: int, width: int, heads: int, *, cascade: bool) -> None:
        super().__init__()
        self.cascade = cascade
        self.generative = AttentionPooler(queries, width, heads)
        self.contrastive = AttentionPooler(1, width, heads)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return [self]

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [self]

    def forward(self, tokens: Tensor) -> Pooled:
        """Reads [B, n, D]."""
        several = self.generative(tokens)
        return Pooled(self.contrastive(several if self.cascade else tokens)[:, 0], several)
