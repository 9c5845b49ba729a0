"""Transformers that read a clip and a caption together: side by side, or one side querying the other.

Letters: B batch, n tokens of a clip, L positions of a caption, D width. The encoder prepends its own class
token, so that there is something to attend to even if a caption has no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.fields import at_least, divides, one_of
from workbench.models.cross import CrossStack, FusionBlock, fit, initialise, padding

MODES = ("concat", "xattn", "stride", "both")


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """How clip and caption are combined. The default depth is that of the small core's text encoder."""

    mode: Literal["concat", "xattn", "stride", "both"] = "concat"
    """`concat`: every token attends to all of both sides. `xattn`: words attend to words, then to patches.
    `stride`: as `xattn`, but every `stride`-th block is one of `concat`; the others leave the clip unchanged.
    `both`: two stacks, in which each side attends to itself, then to the other side's tokens."""
    width: int = 128
    depth: int = 2
    heads: int = 2
    stride: int = 3

    def __post_init__(self) -> None:
        one_of("fusion.mode", self.mode, MODES)
        for name in ("width", "depth", "heads", "stride"):
            at_least(f"fusion.{name}", getattr(self, name), 1)
        divides("fusion.heads", self.heads, "fusion.width", self.width)


class Fused(NamedTuple):
    """What a fusion encoder returns."""

    video: Tensor
    """[B, n, D], in the input order; with `xattn` the unchanged input."""
    text: Tensor
    """[B, L, D]"""
    pooled: Tensor
    """[B, D], the class token; with `both` the product of the two sides' class tokens."""
    attention: Tensor | None = None
    """[B, 1 + L, n]: attention of the class token and of each word to each patch, the mean over heads and
    blocks; None unless requested."""

    def attended(self, keep: Tensor) -> Tensor:
        """Attention of a caption's words to each patch, the mean over words, [B, n]; needs `show`.

        keep: Boolean [B, L], False at padding.
        """
        assert self.attention is not None, "attention is returned where it is asked for"
        words = keep.to(self.attention.dtype)[:, None]  # [B, 1, L]
        return (words @ self.attention[:, 1:])[:, 0] / words.sum(2).clamp(min=1)


class FusionEncoder(nn.Module):
    """Reads both sides together and returns tokens that depend on both."""

    extra_tokens, start = 1, None

    def __init__(self, config: FusionConfig, *, video_width: int, text_width: int) -> None:
        super().__init__()
        self.config = config
        self.width, self.video_width = config.width, video_width
        self.enter_video, self.enter_text = fit(video_width, self.width), fit(text_width, self.width)
        both = config.mode == "both"
        self.cls = nn.Parameter(torch.empty(1 + both, self.width))
        self.side = nn.Parameter(torch.zeros(2, self.width))
        """Added to each token: a vector for its side."""
        if both:
            self.video_stack = CrossStack(self.width, config.depth, config.heads)
            self.text_stack = CrossStack(self.width, config.depth, config.heads)
        else:
            self.blocks = nn.ModuleList(
                [FusionBlock(self.width, config.heads, crosses=self._crosses(i)) for i in range(config.depth)]
            )
            self.norm = nn.LayerNorm(self.width, eps=1e-6)
        self.apply(initialise)
        nn.init.trunc_normal_(self.cls, std=0.02)

    def _crosses(self, block: int) -> bool:
        mode = self.config.mode
        return mode == "xattn" or (mode == "stride" and (block + 1) % self.config.stride != 0)

    @property
    def layers(self) -> Sequence[nn.Module]:
        if self.config.mode == "both":
            return [*self.video_stack.layers, *self.text_stack.layers]
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [self.enter_video, self.enter_text, *self.layers]

    def forward(
        self,
        video: Tensor,
        text: Tensor,
        keep: Tensor,
        *,
        attend: Tensor | None = None,
        weight: Tensor | None = None,
        show: bool = False,
    ) -> Fused:
        """Reads clips [B, n, video_width] with captions [B, L, text_width].

        Args:
            keep: Boolean [B, L], False at padding.
            attend: of `concat`, added to all scores, [1 + n + L, 1 + n + L] or with a batch in front, such as
                `seq2seq`.
            weight: of `xattn`, times what each patch tells the words that look at it, [B, n]. Scaled tokens
                would not do: the norm before attention takes every scale away, and its gradient.
            show: returns attention too.
        """
        assert weight is None or self.config.mode == "xattn", "patches have weights where words query them"
        if self.config.mode == "both":
            patches, _ = self._look(video, text, keep)
            words, share = self._read(text, keep, video, show)
            attention = None if share is None else share[:, :, 1:]
            return Fused(patches[:, 1:], words[:, 1:], patches[:, 0] * words[:, 0], attention)
        video, text = self.enter_video(video) + self.side[0], self.enter_text(text) + self.side[1]
        n, keep_all = video.shape[1], F.pad(keep, (1 + video.shape[1], 0), value=True)
        together, words_only = padding(keep_all), padding(keep_all[:, n:])
        if attend is not None:
            together = together + attend.view(-1, 1, *attend.shape[-2:])
        words = torch.cat([self._class(0, text), text], 1)
        shares: list[Tensor] = []
        for block in self.blocks:
            if block.crosses:
                words, share = block(words, words_only, video, None, show, weight)
            else:
                # In one sequence: class token, patches, words.
                x = torch.cat([words[:, :1], video.to(words.dtype), words[:, 1:]], 1)
                x, share = block(x, together, None, None, show)
                words, video = torch.cat([x[:, :1], x[:, 1 + n :]], 1), x[:, 1 : 1 + n]
                if share is not None:
                    share = torch.cat([share[:, :1], share[:, 1 + n :]], 1)[:, :, 1 : 1 + n]
            shares += [] if share is None else [share]
        words = self.norm(words)
        if self.config.mode != "xattn":
            video = self.norm(video)
        return Fused(video, words[:, 1:], words[:, 0], torch.stack(shares).mean(0) if show else None)

    def received(self, video: Tensor, text: Tensor, keep: Tensor) -> Tensor:
        """How much attention each patch and each word gets, [B, n + L], of `concat`.

        Means over heads, sums over blocks and over all that attends; padding gives none and gets none.
        """
        video, text = self.enter_video(video) + self.side[0], self.enter_text(text) + self.side[1]
        x = torch.cat([self._class(0, text), video.to(text.dtype), text], 1)
        keep = F.pad(keep, (1 + video.shape[1], 0), value=True)
        got = torch.zeros(keep.shape, device=x.device)
        for block in self.blocks:
            x, share = block(x, padding(keep), show=True)
            got = got + (share * keep[..., None]).sum(1)
        return got[:, 1:]

    def alone(self, text: Tensor, keep: Tensor) -> Tensor:
        """One vector [B, D] a caption that is read without a clip, of `concat`."""
        fused: Fused = self(text.new_zeros(len(text), 0, self.video_width), text, keep)
        return fused.pooled

    def look(self, video: Tensor, text: Tensor | None, keep: Tensor) -> Tensor:
        """One side of mode `both`: patches [B, n, D] that query a caption, or no caption."""
        return self._look(video, text, keep)[0][:, 1:]

    def read(self, text: Tensor, keep: Tensor, video: Tensor | None) -> Tensor:
        """One side of mode `both`: words [B, L, D] that query a clip, or no clip."""
        return self._read(text, keep, video)[0][:, 1:]

    def _look(self, video: Tensor, text: Tensor | None, keep: Tensor) -> tuple[Tensor, Tensor | None]:
        keys = None if text is None else self._side(1, self.enter_text(text))
        patches = self._side(0, self.enter_video(video))
        found: tuple[Tensor, Tensor | None] = self.video_stack(patches, None, keys, _with_class(keep))
        return found

    def _read(
        self, text: Tensor, keep: Tensor, video: Tensor | None, show: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        keys = None if video is None else self._side(0, self.enter_video(video))
        words = self._side(1, self.enter_text(text))
        found: tuple[Tensor, Tensor | None] = self.text_stack(words, _with_class(keep), keys, None, show)
        return found

    def _side(self, side: int, tokens: Tensor) -> Tensor:
        """The side's class token, and its tokens [B, n, D] with the vector of the side added."""
        return torch.cat([self._class(side, tokens), tokens + self.side[side]], 1)

    def _class(self, side: int, like: Tensor) -> Tensor:
        return self.cls[side].to(like.dtype).expand(len(like), 1, -1)


def seq2seq(patches: int, places: int, *, device: torch.device | None = None) -> Tensor:
    """Attention bias for `attend`, [1 + n + L, 1 + n + L], 0 or minus infinity.

    A word attends to the clip, itself and the preceding words; class token and clip attend to no word.
    """
    start = 1 + patches
    place = torch.arange(start + places, device=device)
    sees = (place < start)[None] | ((place[None] <= place[:, None]) & (place >= start)[:, None])
    return torch.zeros(sees.shape, device=device).masked_fill(~sees, float("-inf"))


def _with_class(keep: Tensor) -> Tensor:
    """Boolean [B, 1 + L]: `keep` with True for the prepended class token."""
    return F.pad(keep, (1, 0), value=True)
