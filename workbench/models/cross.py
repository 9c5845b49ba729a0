"""Transformer blocks with self-attention and optional cross-attention to another side.

Letters: B batch, q tokens, k keys, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from workbench.models.attention import Attention


class FusionBlock(nn.Module):
    """A pre-norm block: self-attention, cross-attention to `keys` if the block has it, then a perceptron."""

    def __init__(self, width: int, heads: int, *, crosses: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.crosses = crosses
        if crosses:
            self.norm_query = nn.LayerNorm(width, eps=1e-6)
            self.norm_keys = nn.LayerNorm(width, eps=1e-6)
            self.cross = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        keys: Tensor | None = None,
        keys_bias: Tensor | None = None,
        show: bool = False,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens [B, q, D] and, on request, the attention to `keys`, or without keys the self-attention.

        Without keys, cross-attention is left out. weight: multiplies the values of the keys, [B, k].
        """
        normed = self.norm1(x)
        y, share = self.attention(normed, normed, bias, show and keys is None)
        x = x + y
        if self.crosses and keys is not None:
            y, share = self.cross(self.norm_query(x), self.norm_keys(keys), keys_bias, show, weight)
            x = x + y
        return x + self.mlp(self.norm2(x)), share


class CrossStack(nn.Module):
    """Blocks whose tokens query the tokens of another side, which do not change."""

    extra_tokens, start = 0, None

    def __init__(
        self, width: int, depth: int, heads: int, *, reads: int | None = None, keys: int | None = None
    ) -> None:
        """reads, keys: widths of the tokens and of the other side's, if not the stack's width."""
        super().__init__()
        self.enter, self.enter_keys = fit(reads or width, width), fit(keys or width, width)
        self.blocks = nn.ModuleList([FusionBlock(width, heads, crosses=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.apply(initialise)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [self.enter, self.enter_keys, *self.blocks]

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None,
        keys: Tensor | None,
        keys_keep: Tensor | None = None,
        show: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens [B, q, D] and, on request, their attention to the keys, the mean over blocks [B, q, k].

        keep, keys_keep: Boolean [B, q] and [B, k], False for padding; None if there is none.
        keys: None for self-attention only.
        """
        bias, keys_bias = (None if k is None else padding(k) for k in (keep, keys_keep))
        x, keys = self.enter(x), None if keys is None else self.enter_keys(keys)
        shares = []
        for block in self.blocks:
            x, share = block(x, bias, keys, keys_bias, show)
            shares.append(share)
        return self.norm(x), torch.stack(shares).mean(0) if show else None


def padding(keep: Tensor) -> Tensor:
    """Attention bias [B, 1, 1, k] for Boolean [B, k], False at padding."""
    return torch.zeros_like(keep, dtype=torch.float32).masked_fill(~keep, float("-inf"))[:, None, None]


def fit(outer: int, inner: int) -> nn.Module:
    """A linear layer between two widths; the identity if they are equal."""
    return nn.Identity() if outer == inner else nn.Linear(outer, inner)


def initialise(module: nn.Module) -> None:
    """Initialisation that scales with the width, as in the video encoder."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
