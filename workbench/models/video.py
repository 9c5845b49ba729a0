"""The video encoder: a space-time ViT with timm's blocks that does not compute dropped tokens.

Letters: B batch, T frames, H W pixels, N all tokens of a clip, n tokens encoded, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from workbench.errors import UserError
from workbench.fields import added, at_least, divides, one_of
from workbench.masking.positions import columns, opposite, places
from workbench.masking.video import Grid
from workbench.models.pretrained import videomae, vit
from workbench.models.pretrained.source import Source, Stem, resampled, tubelet_filter

Pooling = Literal["cls", "mean", "map"]
RunBlock = Callable[[nn.Module, Tensor], Tensor]
"""Runs a block over [B, n, D] tokens and may return fewer of them, such as `sparse.KeepAttended`."""


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """A timm ViT, extended to a video encoder by tubelets. Zero keeps the named model's own value.

    The default is the small core that all studies share, so that arms differ in their objective only.
    """

    backbone: str = "vit_tiny_patch16_224"
    """A plain VisionTransformer of timm: its name, `hf-hub:OWNER/NAME` or `local-dir:PATH`; or `videomae:`
    and a hub name or a local folder. See docs/weights.md."""
    width: int = 128
    depth: int = 4
    heads: int = 2
    patch: int = 8
    tubelet: int = 4
    """Frames per token; 1 makes every frame's patches tokens of their own (image mode: one frame)."""
    hidden: Literal["drop", "replace", "zero"] = "drop"
    """Hidden tokens are removed before the encoder, or replaced by a learned mask token, or read as black."""
    pool: Literal["cls", "mean", "own"] = "cls"
    """Class token, mean of the patches, or the named model's own pooling, such as SigLIP's attention."""
    pretrained: str = ""
    """`timm` for the named model's published weights, `transformers` for VideoMAE's, or the path of a
    safetensors file that fits the named model."""
    cls: bool = added(before=True)
    """Whether there is a class token before the patches."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch"):
            at_least(f"video.{name}", getattr(self, name), 0)
        at_least("video.tubelet", self.tubelet, 1)
        if self.heads and self.width:
            divides("video.heads", self.heads, "video.width", self.width)
        one_of("video.hidden", self.hidden, ("drop", "replace", "zero"))
        one_of("video.pool", self.pool, ("cls", "mean", "own"))
        if self.pool == "cls" and not self.cls:
            raise UserError("without a class token (video.cls=False) video.pool must be 'mean' or 'own'")


class Encoded(NamedTuple):
    """The output of an encoder: one vector for each sample, and the tokens it was pooled from."""

    pooled: Tensor
    """[B, D]"""
    tokens: Tensor
    """[B, n, D], without the class token, in the order of the visible positions."""


class VideoEncoder(nn.Module):
    """Encodes clips as vectors. `forward` = patches -> `embed` -> `encode`."""

    shift: Tensor
    scale: Tensor
    fixed: Tensor | None

    def __init__(self, config: VideoConfig, *, frames: int, size: int) -> None:
        super().__init__()
        source = _source(config, size)
        model = source.vit
        self.config = config
        self._start = source.start
        self.patch: int = config.patch or model.patch_embed.patch_size[0]
        self.width: int = model.embed_dim
        first: Any = model.blocks[0]
        self.heads: int = first.attn.num_heads
        self.grid = _grid(frames, size, config.tubelet, self.patch)
        self.pixels = config.tubelet * self.patch**2 * 3
        self._pooling = _pooling(config, model)

        self.project = nn.Linear(self.pixels, self.width)
        # Learned, but initialised with sines: a short training learns motion much earlier than from noise.
        self.space = nn.Parameter(_sines(self.width, self.grid.height, self.grid.width))
        self.time = nn.Parameter(_sines(self.width, self.grid.time))
        self.cls = nn.Parameter(torch.zeros(1, 1, self.width)) if config.cls else None
        self.mask_token = nn.Parameter(torch.zeros(self.width)) if config.hidden == "replace" else None
        if self.cls is not None:
            nn.init.trunc_normal_(self.cls, std=0.02)
        self.registers = model.reg_token
        self.norm_pre = model.norm_pre
        self.blocks = model.blocks
        # Models with a norm after pooling do not normalise tokens; here their tokens get the same norm.
        norms_mean = isinstance(model.norm, nn.Identity)
        self.norm = model.fc_norm if norms_mean else model.norm
        self._norms_mean = norms_mean and config.pool == "own"
        self.attn_pool = model.attn_pool if self._pooling == "map" else None
        self.register_buffer("fixed", None, persistent=False)
        if source.fixed is not None:
            self.fixed = resampled(source.fixed, self.grid).flatten(0, 2)
            for learned in (self.space, self.time):
                nn.init.zeros_(learned)
        if source.stem is not None:
            self._inherit(source.stem)
        repeats = self.pixels // 3
        mean, std = torch.tensor(source.mean).repeat(repeats), torch.tensor(source.std).repeat(repeats)
        self.register_buffer("shift", -mean / std, persistent=False)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        pool = [] if self.attn_pool is None else [self.attn_pool]
        return [self.project, *self.blocks, *pool]

    @property
    def extra_tokens(self) -> int:
        return int(self.config.cls) + (0 if self.registers is None else self.registers.shape[1])

    @property
    def start(self) -> str:
        return self._start

    @property
    def positions(self) -> Tensor:
        """Position embeddings, [N, D]."""
        learned = (self.time[:, None] + self.space[None]).flatten(0, 1)
        return learned if self.fixed is None else learned + self.fixed

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Encoded:
        """Encodes uint8 clips [B, T, H, W, 3]; `mask` [B, N], True = hidden; None hides nothing."""
        return self.encode(self.embed(video, mask))

    def patches(self, video: Tensor, where: Tensor | None = None) -> Tensor:
        """Pixels of the tokens that `where` [B, N] selects (the same number for each sample), or of all.

        Returns:
            [B, n, tubelet * patch * patch * 3] in the clips' own type, the colour channel varying fastest.
        """
        (t, h, w), p, q = self.grid, self.patch, self.config.tubelet
        # Pixels of one row of a patch are contiguous, so bytes are copied in whole words, not one by one.
        word = _word(3 * p) if video.dtype == torch.uint8 else video.dtype
        rows = video.contiguous().flatten(3).view(word)  # [B, T, H, words of a row]
        if where is None:
            view = rows.unflatten(1, (t, q)).unflatten(3, (h, p)).unflatten(5, (w, -1))
            chosen = view.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(video), self.grid.tokens, -1)
        else:
            # Hidden pixels are not read: each row of a selected patch is one copy that begins at `first`.
            b, token = places(where)
            frame, place = b * t * q + token // self.grid.space * q, token % self.grid.space
            first = (frame * h * p + place // w * p) * w + place % w
            frames, lines = (torch.arange(side, device=video.device) for side in (q, p))
            index = first[:, None, None] + (frames[:, None] * h * p + lines) * w  # [chosen, q, p]
            chosen = rows.reshape(len(video) * t * q * h * p * w, -1).index_select(0, index.flatten())
            chosen = chosen.view(len(video), -1, q * p * chosen.shape[-1])
        return chosen.view(video.dtype)

    def unpatch(self, patches: Tensor) -> Tensor:
        """Clips [B, T, H, W, 3] from the pixels of all their tokens [B, N, P], the inverse of `patches`."""
        (t, h, w), p, q = self.grid, self.patch, self.config.tubelet
        view = patches.unflatten(1, (t, h, w)).unflatten(4, (q, p, p, 3))  # [B, t, h, w, q, p, p, 3]
        view = view.permute(0, 1, 4, 2, 5, 3, 6, 7)  # [B, t, q, h, p, w, p, 3]
        return view.flatten(5, 6).flatten(3, 4).flatten(1, 2)

    def embed(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens with positions [B, n, D]: the visible ones, or all with hidden ones replaced."""
        position = self.positions
        if mask is None or self.config.hidden != "drop":
            patches = self.patches(video)
            if mask is not None and self.config.hidden == "zero":
                patches = patches.masked_fill(mask[..., None], 0)
            x = self.project(self._normalise(patches))
            if mask is not None and self.mask_token is not None:
                x = torch.where(mask[..., None], self.mask_token.to(x.dtype), x)
            return x + position
        visible = opposite(mask)
        index = columns(visible)  # [B, n]
        # An embedding look-up, because its backward pass is deterministic where plain indexing is not.
        return self.project(self._normalise(self.patches(video, visible))) + F.embedding(index, position)

    def encode(
        self,
        tokens: Tensor,
        keep: Tensor | None = None,
        *,
        run: Mapping[int, RunBlock] = MappingProxyType({}),
    ) -> Encoded:
        """Runs the blocks over [B, n, D] tokens; `keep` [B, n] is False where a token is padding.

        run: index of a block from 0 -> the function that runs it; only for tokens without padding.
        """
        front = [extra for extra in (self.cls, self.registers) if extra is not None]
        x, attend = tokens, None
        if front:
            x = torch.cat([*(extra.expand(len(x), -1, -1).to(x.dtype) for extra in front), x], dim=1)
        if keep is not None:
            # Without a class token, a row of padding alone would have nothing to attend to.
            seen = F.pad(keep, (self.extra_tokens, 0), value=True) if front else _never_empty(keep)
            attend = _bias(seen, x.dtype)
        x = self.norm_pre(x)
        for number, block in enumerate(self.blocks):
            x = run[number](block, x) if number in run else block(x, attn_mask=attend)
        normed = self.norm(x)
        pooled = self.norm(self._pool(x, keep)) if self._norms_mean else self._pool(normed, keep)
        return Encoded(pooled, normed[:, self.extra_tokens :])

    def _pool(self, x: Tensor, keep: Tensor | None) -> Tensor:
        if self._pooling == "cls":
            return x[:, 0]
        x = x[:, self.extra_tokens :]
        if self.attn_pool is not None:
            pooled: Tensor = self.attn_pool(x, None if keep is None else _bias(_never_empty(keep), x.dtype))
            return pooled
        if keep is None:
            return x.mean(1)
        weight = keep[..., None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1)  # an empty caption pools to zero

    def _normalise(self, patches: Tensor) -> Tensor:
        return torch.addcmul(self.shift, patches.to(self.scale.dtype), self.scale)

    @torch.no_grad()
    def _inherit(self, stem: Stem) -> None:
        """Takes over the layers before the blocks.

        Temporal positions start at zero, and so do spatial ones if the model's own are `fixed`."""
        weight = tubelet_filter(stem.weight, patch=self.patch, tubelet=self.config.tubelet)
        self.project.weight.copy_(weight.permute(0, 2, 3, 4, 1).flatten(1))
        nn.init.zeros_(self.project.bias)  # norms before the blocks replace a bias
        if stem.bias is not None:
            self.project.bias.copy_(stem.bias)
        registers = 0 if self.registers is None else self.registers.shape[1]
        if self.cls is not None:
            self.cls.copy_(stem.prefix[:1])
        if self.registers is not None:
            self.registers.copy_(stem.prefix[len(stem.prefix) - registers :])
        nn.init.zeros_(self.space)
        nn.init.zeros_(self.time)
        if stem.position is not None:
            self.space.copy_(resampled(stem.position[None], self.grid._replace(time=1)).flatten(0, 2))


def _never_empty(keep: Tensor) -> Tensor:
    """`keep`, Boolean [B, n], with rows that are all False set to True, because softmax needs a key."""
    return keep | ~keep.any(1, keepdim=True)


def _bias(seen: Tensor, kind: torch.dtype) -> Tensor:
    """Attention bias [B, 1, 1, n] that allows attention only to tokens in `seen`, Boolean [B, n]."""
    hidden = ~seen[:, None, None, :]
    return torch.zeros_like(hidden, dtype=kind).masked_fill(hidden, float("-inf"))


def _word(size: int) -> torch.dtype:
    """The widest integer type whose size divides this number of bytes."""
    words = (torch.int64, torch.int32, torch.int16, torch.uint8)
    return next(word for word in words if size % word.itemsize == 0)


def _sines(width: int, *sides: int) -> Tensor:
    """Sine and cosine positions [product of sides, width]; each side has a share of the width."""
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in sides), indexing="ij")
    pairs = width // (2 * len(sides))
    rate = 100.0 ** -(torch.arange(pairs) / pairs)
    angles = [axis.reshape(-1, 1) * rate for axis in axes]
    table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return F.pad(table, (0, width - table.shape[1]))


def _source(config: VideoConfig, size: int) -> Source:
    names = {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    shape = {name: value for name, value in names.items() if value}
    if config.backbone.startswith(videomae.PREFIX):
        if config.pretrained not in ("", "transformers"):
            raise UserError(
                f"video.pretrained of {config.backbone} must be 'transformers' or empty, not "
                f"{config.pretrained!r}"
            )
        return videomae.build(config.backbone, shape, tubelet=config.tubelet, weights=bool(config.pretrained))
    if config.pretrained == "transformers":
        raise UserError(f"transformers is for VideoMAE only: video.backbone must be {videomae.PREFIX}NAME")
    if config.pretrained == "timm":
        return vit.published(config.backbone, shape)
    if config.pretrained:
        return vit.from_file(config.backbone, config.pretrained, shape)
    return vit.random_start(config.backbone, shape, patch=config.patch, size=size)


def _pooling(config: VideoConfig, model: VisionTransformer) -> Pooling:
    """The pooling of tokens to one vector. Raises `UserError` if the model does not support it."""
    if config.cls and model.cls_token is None:
        raise UserError(
            f"{config.backbone} has no class token: set video.cls=False, and video.pool='mean' or 'own'"
        )
    if config.pool != "own":
        return config.pool
    kinds: dict[str, Pooling] = {"token": "cls", "avg": "mean", "map": "map"}
    kind = None if model.pool_include_prefix else kinds.get(model.global_pool)
    if kind is None:
        raise UserError(
            f"{config.backbone} pools by {model.global_pool!r}: video.pool must be 'cls' or 'mean', not 'own'"
        )
    if kind == "cls" and not config.cls:
        raise UserError(f"{config.backbone} pools by its class token: video.pool='own' needs video.cls=True")
    return kind


def _grid(frames: int, size: int, tubelet: int, patch: int) -> Grid:
    if frames % tubelet:
        raise UserError(f"{frames} frames do not divide into tubelets of {tubelet}")
    if size % patch:
        raise UserError(f"frames of {size} pixels do not divide into patches of {patch}")
    return Grid(frames // tubelet, size // patch, size // patch)
