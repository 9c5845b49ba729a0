"""Transformers that read a clip and a caption together: side by side, or one side querying the other.

Letters: B batch, n tokens of a clip, L places of a caption, D width. A class token of its own stands in
front of whatever is read, so that a caption without a word still leaves something to attend to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn

from workbench.fields import at_least, divides, one_of

MODES = ("concat", "xattn", "stride", "both")


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """How clip and caption meet. The default is as deep as the small core's text encoder."""

    mode: Literal["concat", "xattn", "stride", "both"] = "concat"
    """`concat`: every token attends to all of both sides. `xattn`: words attend to words, then to patches.
    `stride`: as `xattn`, but every `stride`-th block is one of `concat`; between these the clip passes by
    unchanged. `both`: two stacks, in which each side attends to itself, then to the other side's tokens."""
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
    """[B, n, D], in the order they came; under `xattn` as they came."""
    text: Tensor
    """[B, L, D]"""
    pooled: Tensor
    """[B, D], the class token; under `both` the product of the two sides' class tokens."""
    attention: Tensor | None = None
    """[B, 1 + L, n]: how much the class token and each word look at each patch, the mean over heads and
    blocks; None unless asked for."""


class Attention(nn.Module):
    """Tokens attend to keys, which may be themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fused_attn = True
        """See `explicit_attention`."""
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, keys: Tensor, bias: Tensor | None = None, show: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """New tokens [B, q, D] and, on request, the mean over heads of what attends to what, [B, q, k].

        bias: added to the scores, [B or 1, 1, q or 1, k].
        """
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, q, D / heads]
        key, value = self.key_value(keys).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = None if bias is None else bias.to(query.dtype)
        if self.fused_attn and not show:
            y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            return self.out(y.transpose(1, 2).flatten(2)), None
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
        share = (scores if bias is None else scores + bias).softmax(-1)
        y = (share @ value).transpose(1, 2).flatten(2)
        return self.out(y), share.mean(1) if show else None


class FusionBlock(nn.Module):
    """Self-attention, then attention to `keys` where the block crosses, then a perceptron; norms first."""

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
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens [B, q, D] and, on request, the attention to `keys`, or to each other where there are none.

        A block that crosses leaves that part out where no keys are given.
        """
        own = self.norm1(x)
        y, share = self.attention(own, own, bias, show and keys is None)
        x = x + y
        if self.crosses and keys is not None:
            y, share = self.cross(self.norm_query(x), self.norm_keys(keys), keys_bias, show)
            x = x + y
        return x + self.mlp(self.norm2(x)), share


class CrossStack(nn.Module):
    """Blocks whose tokens query those of another side, which stay as they are."""

    extra_tokens, start = 0, None

    def __init__(
        self, width: int, depth: int, heads: int, *, reads: int | None = None, keys: int | None = None
    ) -> None:
        """reads, keys: widths of the tokens and of the other side's, where they are not the stack's own."""
        super().__init__()
        self.enter, self.enter_keys = _fit(reads or width, width), _fit(keys or width, width)
        self.blocks = nn.ModuleList([FusionBlock(width, heads, crosses=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.apply(_start)

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

        keep, keys_keep: Boolean [B, q] and [B, k], False for padding; None where there is none.
        keys: None to query nothing but their own side.
        """
        bias, keys_bias = (None if k is None else _padding(k) for k in (keep, keys_keep))
        x, keys = self.enter(x), None if keys is None else self.enter_keys(keys)
        shares = []
        for block in self.blocks:
            x, share = block(x, bias, keys, keys_bias, show)
            shares.append(share)
        return self.norm(x), torch.stack(shares).mean(0) if show else None


class FusionEncoder(nn.Module):
    """Tokens of both sides, each knowing of the other."""

    extra_tokens, start = 1, None

    def __init__(self, config: FusionConfig, *, video_width: int, text_width: int) -> None:
        super().__init__()
        self.config = config
        self.width, self.video_width = config.width, video_width
        self.enter_video, self.enter_text = _fit(video_width, self.width), _fit(text_width, self.width)
        both = config.mode == "both"
        self.cls = nn.Parameter(torch.empty(1 + both, self.width))
        self.side = nn.Parameter(torch.zeros(2, self.width))
        """Told to each token: which side it is from."""
        if both:
            self.video_stack = CrossStack(self.width, config.depth, config.heads)
            self.text_stack = CrossStack(self.width, config.depth, config.heads)
        else:
            self.blocks = nn.ModuleList(
                [FusionBlock(self.width, config.heads, crosses=self._crosses(i)) for i in range(config.depth)]
            )
            self.norm = nn.LayerNorm(self.width, eps=1e-6)
        self.apply(_start)
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
        show: bool = False,
    ) -> Fused:
        """Reads clips [B, n, video_width] with captions [B, L, text_width].

        Args:
            keep: Boolean [B, L], False at padding.
            attend: of `concat`, added to all scores, [1 + n + L, 1 + n + L] or with a batch in front, such as
                `seq2seq`.
            show: returns attention too.
        """
        if self.config.mode == "both":
            patches, _ = self._look(video, text, keep)
            words, share = self._read(text, keep, video, show)
            attention = None if share is None else share[:, :, 1:]
            return Fused(patches[:, 1:], words[:, 1:], patches[:, 0] * words[:, 0], attention)
        video, text = self.enter_video(video) + self.side[0], self.enter_text(text) + self.side[1]
        n, keep_all = video.shape[1], F.pad(keep, (1 + video.shape[1], 0), value=True)
        together, words_only = _padding(keep_all), _padding(keep_all[:, n:])
        if attend is not None:
            together = together + attend.view(-1, 1, *attend.shape[-2:])
        words = torch.cat([self._class(0, text), text], 1)
        shares: list[Tensor] = []
        for block in self.blocks:
            if block.crosses:
                words, share = block(words, words_only, video, None, show)
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
            x, share = block(x, _padding(keep), show=True)
            got = got + (share * keep[..., None]).sum(1)
        return got[:, 1:]

    def alone(self, text: Tensor, keep: Tensor) -> Tensor:
        """One vector [B, D] a caption that is read without a clip, of `concat`."""
        fused: Fused = self(text.new_zeros(len(text), 0, self.video_width), text, keep)
        return fused.pooled

    def look(self, video: Tensor, text: Tensor | None, keep: Tensor) -> Tensor:
        """Of `both`, one side alone: patches [B, n, D] that query a caption, or none."""
        return self._look(video, text, keep)[0][:, 1:]

    def read(self, text: Tensor, keep: Tensor, video: Tensor | None) -> Tensor:
        """Of `both`, one side alone: words [B, L, D] that query a clip, or none."""
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
        """The side's class token, and its tokens [B, n, D] told which side they are from."""
        return torch.cat([self._class(side, tokens), tokens + self.side[side]], 1)

    def _class(self, side: int, like: Tensor) -> Tensor:
        return self.cls[side].to(like.dtype).expand(len(like), 1, -1)


def seq2seq(patches: int, places: int, *, device: torch.device | None = None) -> Tensor:
    """For `attend`: what each token must not see, [1 + n + L, 1 + n + L], 0 or minus infinity.

    A word sees the clip, itself and the words before it; the class token and the clip see no word.
    """
    start = 1 + patches
    place = torch.arange(start + places, device=device)
    sees = (place < start)[None] | ((place[None] <= place[:, None]) & (place >= start)[:, None])
    return torch.zeros(sees.shape, device=device).masked_fill(~sees, float("-inf"))


def _padding(keep: Tensor) -> Tensor:
    """Boolean [B, k], False at padding -> what is added to scores, [B, 1, 1, k]."""
    return torch.zeros_like(keep, dtype=torch.float32).masked_fill(~keep, float("-inf"))[:, None, None]


def _with_class(keep: Tensor) -> Tensor:
    """Boolean [B, 1 + L]: a class token in front is no padding."""
    return F.pad(keep, (1, 0), value=True)


def _fit(outer: int, inner: int) -> nn.Module:
    return nn.Identity() if outer == inner else nn.Linear(outer, inner)


def _start(module: nn.Module) -> None:
    """As in the video encoder, a start that scales with the width."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
