"""A light transformer that predicts every hidden token from the visible ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from workbench.fields import at_least, divides
from workbench.masking.video import Grid


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """VideoMAE and SimVTP use four blocks at half the encoder's width; the small core needs less."""

    width: int = 64
    depth: int = 1
    heads: int = 2

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            at_least(f"decoder.{name}", getattr(self, name), 1)
        divides("decoder.heads", self.heads, "decoder.width", self.width)


class PixelDecoder(nn.Module):
    """Visible tokens and a learned token at each hidden place, to pixels of the hidden places."""

    def __init__(self, config: DecoderConfig, *, grid: Grid, encoder_width: int, pixels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(encoder_width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.space = nn.Parameter(torch.empty(grid.space, config.width))
        self.time = nn.Parameter(torch.empty(grid.time, config.width))
        nn.init.trunc_normal_(self.space, std=0.02)
        nn.init.trunc_normal_(self.time, std=0.02)
        self.blocks = nn.ModuleList([Block(config.width, config.heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, pixels)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [self.embed, *self.blocks, self.head]

    @property
    def extra_tokens(self) -> int:
        return 0

    @property
    def start(self) -> None:
        return None

    def forward(self, visible: Tensor, mask: Tensor) -> Tensor:
        """Predicts the hidden places in order.

        Args:
            visible: encoded visible tokens [B, n, D], in the order of their positions.
            mask: Boolean [B, N], True = hidden, the same number M of hidden tokens in each row.

        Returns:
            [B, M, pixels]
        """
        batch = len(mask)
        x = self.embed(visible)
        width = x.shape[-1]
        # Each place takes its token from the visible ones in order, or the mask token (the last row).
        source = torch.cat([x, self.mask_token.to(x.dtype).expand(batch, 1, width)], dim=1)
        order = (~mask).cumsum(1) - 1
        order = torch.where(mask, visible.shape[1], order)
        full = source.gather(1, order[..., None].expand(-1, -1, width))
        full = full + (self.time[:, None] + self.space[None]).flatten(0, 1)
        for block in self.blocks:
            full = block(full)
        index = mask.nonzero(as_tuple=True)[1].view(batch, -1)
        hidden = full.gather(1, index[..., None].expand(-1, -1, width))
        return self.head(self.norm(hidden))
