"""Light transformers that predict hidden tokens from the visible ones, and optionally from words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from workbench.fields import at_least, divides
from workbench.masking.positions import columns
from workbench.masking.video import Grid
from workbench.models.cross import FusionBlock, fit, initialise, padding


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


class HiddenDecoder(nn.Module):
    """Maps visible tokens, and a learned token at each hidden position, to tokens of the hidden positions.

    Letters: B batch, n visible and M hidden tokens, N both, L words of a caption, d width of the decoder.
    """

    def __init__(self, config: DecoderConfig, *, grid: Grid, encoder_width: int, words: int = 0) -> None:
        """words: width of the words that every position may query; 0 for a decoder without words."""
        super().__init__()
        width, heads = config.width, config.heads
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.space = nn.Parameter(torch.empty(grid.space, width))
        self.time = nn.Parameter(torch.empty(grid.time, width))
        nn.init.trunc_normal_(self.space, std=0.02)
        nn.init.trunc_normal_(self.time, std=0.02)
        if words:
            self.enter_words = fit(words, width).apply(initialise)
            crossing = [FusionBlock(width, heads, crosses=True) for _ in range(config.depth)]
            self.blocks = nn.ModuleList(crossing).apply(initialise)
        else:
            self.blocks = nn.ModuleList([Block(width, heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(width)
        self.head: nn.Module = nn.Identity()

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        words = [self.enter_words] if hasattr(self, "enter_words") else []
        return [self.embed, *words, *self.blocks]

    @property
    def extra_tokens(self) -> int:
        return 0

    @property
    def start(self) -> None:
        return None

    def forward(
        self,
        visible: Tensor,
        mask: Tensor,
        words: Tensor | None = None,
        keep: Tensor | None = None,
        *,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Tokens of the hidden positions in order, [B, M, d].

        Args:
            visible: encoded visible tokens [B, n, D], in the order of their positions.
            mask: Boolean [B, N], True = hidden, the same number M of hidden tokens in each row.
            words: words of captions [B, L, words], for a decoder that queries them.
            keep: Boolean [B, L], False at padding; every row has a word, such as a class token.
            asked: Boolean [B, N], the hidden positions to return, the same number in each row; None for all.
        """
        batch = len(mask)
        x = self.embed(visible)
        width = x.shape[-1]
        # Each position takes its token from the visible ones in order, or the mask token (the last row).
        source = torch.cat([x, self.mask_token.to(x.dtype).expand(batch, 1, width)], dim=1)
        order = (~mask).cumsum(1) - 1
        order = torch.where(mask, visible.shape[1], order)
        full = source.gather(1, order[..., None].expand(-1, -1, width))
        full = full + (self.time[:, None] + self.space[None]).flatten(0, 1)
        if words is None:
            for block in self.blocks:
                full = block(full)
        else:
            keys, bias = self.enter_words(words), None if keep is None else padding(keep)
            for block in self.blocks:
                full, _ = block(full, None, keys, bias)
        hidden = mask.numel() - batch * visible.shape[1]
        index = columns(mask, hidden) if asked is None else columns(asked)  # [B, M]
        decoded: Tensor = self.head(self.norm(full.gather(1, index[..., None].expand(-1, -1, width))))
        return decoded


class PixelDecoder(HiddenDecoder):
    """As `HiddenDecoder` without words, with pixels of the hidden positions as output, [B, M, pixels]."""

    def __init__(self, config: DecoderConfig, *, grid: Grid, encoder_width: int, pixels: int) -> None:
        super().__init__(config, grid=grid, encoder_width=encoder_width)
        self.head = nn.Linear(config.width, pixels)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [*super().counted, self.head]
