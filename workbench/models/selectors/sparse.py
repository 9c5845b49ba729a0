"""Fewer tokens, chosen by what is in them: patches by attention within an encoder, frames by a caption.

Nothing is multiplied by zero: what is not chosen is computed no further. Letters: B batch, P pairs, T
frames, K of them chosen, N patches of a clip, n visible ones of a frame, m of them kept, D width.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.models.encoder import as_written
from workbench.models.video import VideoEncoder
from workbench.targets.precision import at_least_float32


class Frames(NamedTuple):
    """A clip that was read frame by frame."""

    vectors: Tensor
    """[B, T, D], one of each frame, as the encoder pools it."""
    tokens: Tensor
    """[B, T, m, D]"""
    left: Tensor
    """Boolean [B, N], True for the T * m patches that were read to the end."""

    @property
    def all(self) -> Tensor:
        """[B, T, 1 + m, D], the frame's vector, then its patches."""
        return torch.cat([self.vectors[:, :, None], self.tokens], 2)


class Kept(NamedTuple):
    """What of a clip is read beside its caption, to be looked at."""

    patches: Tensor
    """Boolean [B, N], True where the encoder reads to its end."""
    frames: Tensor
    """Boolean [B, T], True where words look."""
    share: Tensor
    """float32 [B, T], how well the selector says that frames fit, adding up to 1."""


def read_frames(
    encoder: VideoEncoder, video: Tensor, mask: Tensor | None = None, *, keep: float = 1.0, after: float = 1.0
) -> Frames:
    """Reads each frame of clips [B, T, H, W, 3] by itself, with a class token of its own.

    Args:
        mask: Boolean [B, N], True = hidden, as many patches of each frame; None shows everything.
        keep: share of a frame's visible patches that are read to the end, see `KeepAttended`; 1 for all.
        after: share of the blocks, rounded up, behind which the others are dropped.
    """
    time, space = encoder.grid.time, encoder.grid.space
    tokens = encoder.embed(video, mask).unflatten(1, (time, -1)).flatten(0, 1)  # [B * T, n, D]
    rows, visible = tokens.shape[:2]
    hidden = torch.zeros(rows, space, device=video.device) if mask is None else mask.view(rows, space).int()
    place = hidden.argsort(dim=1, stable=True)[:, :visible]  # [B * T, n]
    if keep < 1:
        sparsifier = KeepAttended(ceil_count(keep, visible), front=encoder.extra_tokens)
        block = ceil_count(after, len(encoder.layers)) - 1
        pooled, tokens = encoder.encode(tokens, run={block: sparsifier})
        place = place.gather(1, sparsifier.kept)  # [B * T, m]
    else:
        pooled, tokens = encoder.encode(tokens)
    left = torch.zeros(rows, space, dtype=torch.bool, device=video.device).scatter(1, place, True)
    vectors, tokens, left = (x.unflatten(0, (len(video), time)) for x in (pooled, tokens, left))
    return Frames(vectors, tokens, left.flatten(1))


class KeepAttended:
    """Runs a block, then goes on with those patches only that its class token attends to most.

    A `RunBlock` for one pass through an encoder with a class token; the order of the patches is kept.

    front: tokens before the patches, the class token first.
    """

    kept: Tensor
    """int64 [B, count], numbers of the patches that were kept, among those that came; after the pass."""

    def __init__(self, count: int, *, front: int = 1) -> None:
        self.count = count
        self.front = front

    def __call__(self, block: nn.Module, x: Tensor) -> Tensor:
        """Tokens [B, front + count, D] of x [B, front + n, D]."""
        y, share = class_attention(block, x, front=self.front)
        self.kept = highest(share, self.count)
        index = self.kept[..., None].expand(-1, -1, y.shape[-1])
        return torch.cat([y[:, : self.front], y[:, self.front :].gather(1, index)], 1)


def class_attention(block: Any, x: Tensor, *, front: int = 1) -> tuple[Tensor, Tensor]:
    """What a timm block makes of x [B, front + n, D], and how much its class token, the first one, attends
    to each patch, the mean over heads, float32 [B, n], without gradient.

    Whatever kernel runs in the block, which need not show its scores: they are formed once more from the
    queries and keys of that very pass, for the class token alone.
    """
    projected: list[Tensor] = []
    hook = block.attn.qkv.register_forward_hook(lambda module, given, out: projected.append(out.detach()))
    try:
        with as_written(block):  # compiled code may have been made for a block without the hook
            y: Tensor = block(x)
    finally:
        hook.remove()
    query, key, _ = projected[0].unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = block.attn.q_norm(query[:, :, :1]), block.attn.k_norm(key)  # [B, heads, 1 or 1 + n, ...]
    with torch.autocast(x.device.type, enabled=False):  # see `FrameSelector.share`
        query, key = at_least_float32(query), at_least_float32(key)
        share = (query * block.attn.scale @ key.mT).softmax(-1)
    return y, share.mean(1)[:, 0, front:].detach()


class FrameSelector(nn.Module):
    """Picks the frames of a clip that fit a caption best; in training by chance, the likelier the better.

    With scores s_t = MLP[frame t; caption] and p = softmax(s) over the frames, those with the K highest log p
    are taken, in training with the highest log p + Gumbel noise, which is drawing K frames by p without
    putting back: a frame that is never taken could not be found to help. The weight of a frame that is taken
    is 1 + p - stop(p), exactly 1 with the gradient of p (a straight-through estimator, arXiv:1308.3432).
    """

    def __init__(self, video_width: int, text_width: int, *, count: int) -> None:
        super().__init__()
        self.count = count
        score = nn.Linear(video_width, 1, bias=False)  # a bias would raise all scores alike
        nn.init.normal_(score.weight, std=0.02)  # at first all frames are about as good
        self.mlp = nn.Sequential(nn.Linear(video_width + text_width, video_width), nn.GELU(), score)

    def share(self, tokens: Tensor, text: Tensor) -> Tensor:
        """p of the frames [P, T], in float32 at least, from their mean tokens and vectors of captions."""
        frames = tokens.mean(2)  # [P, T, D]
        both = torch.cat([frames, text[:, None].expand(-1, frames.shape[1], -1).to(frames.dtype)], -1)
        with torch.autocast(both.device.type, enabled=False):  # bfloat16 would make ties
            score: Tensor = self.mlp(at_least_float32(both))[..., 0]
        return score.softmax(1)

    def choose(self, share: Tensor, chance: Tensor | None = None) -> Tensor:
        """Numbers of the chosen frames in their order, int64 [P, K].

        share: p, [P, T]; chance: uniform numbers in [0, 1), [P, T], None to take the best.
        """
        score = share.log()
        return highest(score if chance is None else score - (-chance.log()).log(), self.count)

    def forward(self, tokens: Tensor, text: Tensor, chance: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens [P, K * n, D] of the chosen frames, and the weight of each, float32 [P, K * n].

        tokens: of all frames, [P, T, n, D]; text: vectors of captions [P, text_width]; chance: see `choose`.
        """
        share = self.share(tokens, text)
        chosen = self.choose(share, chance)
        taken = share.gather(1, chosen)
        weight = 1 + (taken - taken.detach())
        index = chosen[:, :, None, None].expand(-1, -1, *tokens.shape[2:])
        return tokens.gather(1, index).flatten(1, 2), weight.repeat_interleave(tokens.shape[2], 1)


def highest(score: Tensor, count: int) -> Tensor:
    """Numbers of the highest scores of each row in ascending order, int64 [B, count]; of equals the first."""
    best: Tensor = score.detach().argsort(dim=1, descending=True, stable=True)[:, :count]
    return best.sort(dim=1).values


def ceil_count(share: float, whole: int) -> int:
    """How many of `whole` a share in (0, 1] is, rounded up, so that something is always left."""
    return math.ceil(share * whole - 1e-9)
