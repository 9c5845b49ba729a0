"""Attention poolers with learned queries (CoCa, arXiv:2205.01917), and a coordinator of two encoders.

Letters: B batch, n tokens, Q queries, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from workbench.models.attention import Attention
from workbench.models.caption import Block
from workbench.models.cross import initialise
from workbench.models.video import Encoded


class AttentionPooler(nn.Module):
    """One attention layer with Q learned queries, and norms on queries and tokens."""

    def __init__(self, queries: int, width: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width))
        nn.init.normal_(self.queries, std=width**-0.5)
        self.norm_queries = nn.LayerNorm(width)
        self.norm_keys = nn.LayerNorm(width)
        self.attention = Attention(width, heads).apply(initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens [B, n, D] to [B, Q, D]."""
        queries = self.norm_queries(self.queries).expand(len(tokens), -1, -1)
        return self.attention(queries, self.norm_keys(tokens))[0]


class Pooled(NamedTuple):
    """A clip as pooled by two poolers."""

    single: Tensor
    """[B, D], for the contrast."""
    several: Tensor
    """[B, Q, D], for a decoder."""


class TwoPoolers(nn.Module):
    """Several vectors for a decoder, and one for the contrast: from them (`cascade`), or from the tokens."""

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
        """Pools tokens [B, n, D]."""
        several = self.generative(tokens)
        return Pooled(self.contrastive(several if self.cascade else tokens)[:, 0], several)


class Coordinator(nn.Module):
    """Adds information from another encoder's tokens to one encoder's vector.

    With `attention`, the vector queries the other encoder's tokens in blocks of cross-attention and a
    perceptron; else one perceptron with about as many parameters reads both encoders' vectors. The last layer
    of each branch starts at zero, so that nothing is added at first.

    Letters: B batch, n tokens, D width of the vector.
    """

    start = None

    def __init__(self, width: int, heads: int, depth: int, *, keys: int, attention: bool) -> None:
        """depth: number of blocks; keys: width of the other encoder's tokens."""
        super().__init__()
        self.attends = attention
        if attention:
            blocks: list[nn.Module] = [Block(width, heads, memory=keys) for _ in range(depth)]
        else:
            blocks = [Mlp(width + keys, depth * 4 * width, width)]
        self.blocks = nn.ModuleList(blocks)
        for name, parameter in self.blocks.named_parameters():
            if name.rpartition(".")[0].endswith(("attention.out", "fc2")):  # the last layer of each branch
                nn.init.zeros_(parameter)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return self.layers

    @property
    def extra_tokens(self) -> int:
        return 0

    def forward(self, pooled: Tensor, other: Encoded) -> Tensor:
        """New vectors [B, D], from vectors [B, D] and the other encoder's output for the same clips."""
        x = pooled[:, None]  # [B, 1, D]
        if not self.attends:
            return pooled + self.blocks[0](torch.cat([x, other.pooled[:, None]], -1))[:, 0]
        for block in self.blocks:
            x = block(x, None, other.tokens)
        return x[:, 0]
