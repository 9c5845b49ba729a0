"""Selection of tokens by content: patches by attention within an encoder, frames by a caption.

Tokens that are not selected are removed, not multiplied by zero, so they cost no further computation.
Letters: B batch, P pairs, T frames, K of them chosen, N patches of a clip, n visible ones of a frame, m of
them kept, D width.
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
    """[B, T, D], the pooled vector of each frame."""
    tokens: Tensor
    """[B, T, m, D]"""
    left: Tensor
    """Boolean [B, N], True for the T * m patches that were read to the end."""

    @property
    def all(self) -> Tensor:
        """[B, T, 1 + m, D], the frame's vector, then its patches."""
        return torch.cat([self.vectors[:, :, None], self.tokens], 2)


class Kept(NamedTuple):
    """The parts of a clip that are read with its caption, for inspection."""

    patches: Tensor
    """Boolean [B, N], True where the encoder reads to its end."""
    frames: Tensor
    """Boolean [B, T], True for frames that words attend to."""
    share: Tensor
    """float32 [B, T], the selector's softmax scores of the frames."""


def read_frames(
    encoder: VideoEncoder, video: Tensor, mask: Tensor | None = None, *, keep: float = 1.0, after: float = 1.0
) -> Frames:
    """Reads each frame of clips [B, T, H, W, 3] separately, with its own class token.

    Args:
        mask: Boolean [B, N], True = hidden, the same number in each frame; None hides nothing.
        keep: share of a frame's visible patches that are read to the end, see `KeepAttended`; 1 for all.
        after: share of the blocks, rounded up, after which the others are dropped.
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
    """Runs a block, then keeps only the patches that its class token attends to most.

    A `RunBlock` for one pass through an encoder with a class token; the order of the patches is kept.

    front: tokens before the patches, the class token first.
    """

    kept: Tensor
    """int64 [B, count], indices of the kept patches among the input patches; set by the pass."""

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
    """Output of a timm block for x [B, front + n, D], and the attention of its class token to the patches.

    The attention is the mean over heads, float32 [B, n], without gradient. Since the kernel in the block need
    not return scores, they are computed again from the queries and keys of this pass, for the class token
    (the first token) alone.
    """
    projected: list[Tensor] = []
    hook = block.attn.qkv.register_forward_hook(lambda module, given, out: projected.append(out.detach()))
    try:
        with as_written(block):  # compiled code may belong to a block without the hook
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
    """Selects the frames of a clip that fit a caption best; in training it samples them by their scores.

    With scores s_t = MLP[frame t; caption] and p = softmax(s) over the frames, those with the K highest log p
    are taken. In training, those with the highest log p + Gumbel noise are taken, which samples K frames by p
    without replacement, because a frame that is never taken could not be found useful. The weight of a taken
    frame is 1 + p - stop(p), exactly 1 with the gradient of p (straight-through estimator, arXiv:1308.3432).
    """

    def __init__(self, video_width: int, text_width: int, *, count: int) -> None:
        super().__init__()
        self.count = count
        score = nn.Linear(video_width, 1, bias=False)  # a bias would raise all scores equally
        nn.init.normal_(score.weight, std=0.02)  # at first all frames have similar scores
        self.mlp = nn.Sequential(nn.Linear(video_width + text_width, video_width), nn.GELU(), score)

    def share(self, tokens: Tensor, text: Tensor) -> Tensor:
        """p of the frames [P, T], in float32 at least, from their mean tokens and vectors of captions."""
        frames = tokens.mean(2)  # [P, T, D]
        both = torch.cat([frames, text[:, None].expand(-1, frames.shape[1], -1).to(frames.dtype)], -1)
        with torch.autocast(both.device.type, enabled=False):  # bfloat16 would produce ties
            score: Tensor = self.mlp(at_least_float32(both))[..., 0]
        return score.softmax(1)

    def choose(self, share: Tensor, chance: Tensor | None = None) -> Tensor:
        """Indices of the selected frames in order, int64 [P, K].

        share: p, [P, T]; chance: uniform numbers in [0, 1), [P, T], None to select the best.
        """
        score = share.log()
        return highest(score if chance is None else score - (-chance.log()).log(), self.count)

    def forward(self, tokens: Tensor, text: Tensor, chance: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens [P, K * n, D] of the selected frames, and the weight of each token, float32 [P, K * n].

        tokens: tokens of all frames, [P, T, n, D]; text: vectors of captions [P, text_width]; chance: see
        `choose`.
        """
        share = self.share(tokens, text)
        chosen = self.choose(share, chance)
        taken = share.gather(1, chosen)
        weight = 1 + (taken - taken.detach())
        index = chosen[:, :, None, None].expand(-1, -1, *tokens.shape[2:])
        return tokens.gather(1, index).flatten(1, 2), weight.repeat_interleave(tokens.shape[2], 1)


def highest(score: Tensor, count: int) -> Tensor:
    """Indices of the highest scores of each row, ascending, int64 [B, count]; the first ones of ties."""
    best: Tensor = score.detach().argsort(dim=1, descending=True, stable=True)[:, :count]
    return best.sort(dim=1).values


def ceil_count(share: float, whole: int) -> int:
    """The share in (0, 1] of `whole`, rounded up, so that at least one is left."""
    return math.ceil(share * whole - 1e-9)
