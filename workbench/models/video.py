"""The video encoder: a space-time ViT made of timm's own blocks that never computes what is dropped.

Letters: B batch, T frames, H W pixels, N all tokens of a clip, n tokens encoded, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models import is_model_in_modules
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from workbench.errors import UserError
from workbench.fields import added, at_least, divides, one_of
from workbench.masking.places import columns, opposite, places
from workbench.masking.video import Grid

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics in [0, 1]; pretrained weights bring their own."""
RunBlock = Callable[[nn.Module, Tensor], Tensor]
"""Runs a block over [B, n, D] tokens and may return fewer of them, such as `sparse.KeepAttended`."""


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """A timm ViT, turned into a video encoder by tubelets. Zero keeps the named model's own value.

    The default is the small core that all studies share, so that arms differ in their objective only.
    """

    backbone: str = "vit_tiny_patch16_224"
    """A name that `timm.create_model` knows and that builds a plain VisionTransformer."""
    width: int = 128
    depth: int = 4
    heads: int = 2
    patch: int = 8
    tubelet: int = 4
    """Frames per token; 1 makes every frame's patches tokens of their own (image mode: one frame)."""
    hidden: Literal["drop", "replace", "zero"] = "drop"
    """Hidden tokens are removed before the encoder, or replaced by a learned mask token, or read as black."""
    pool: Literal["cls", "mean"] = "cls"
    pretrained: str = ""
    """`timm` for the named model's published weights, or the path of a safetensors file of them."""
    cls: bool = added(before=True)
    """Whether a class token stands in front of the patches."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch"):
            at_least(f"video.{name}", getattr(self, name), 0)
        at_least("video.tubelet", self.tubelet, 1)
        if self.heads and self.width:
            divides("video.heads", self.heads, "video.width", self.width)
        one_of("video.hidden", self.hidden, ("drop", "replace", "zero"))
        one_of("video.pool", self.pool, ("cls", "mean"))
        if self.pool == "cls" and not self.cls:
            raise UserError("without a class token (video.cls=False) video.pool is 'mean'")


class Encoded(NamedTuple):
    """What an encoder returns: one vector a sample, and the tokens it was made from."""

    pooled: Tensor
    """[B, D]"""
    tokens: Tensor
    """[B, n, D], without the class token, in the order of the visible positions."""


class VideoEncoder(nn.Module):
    """Clips to vectors. `forward` = patches -> `embed` -> `encode`."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: VideoConfig, *, frames: int, size: int) -> None:
        super().__init__()
        vit = _vit(config, size)
        self.config = config
        self.patch: int = config.patch or vit.patch_embed.patch_size[0]
        self.width: int = vit.embed_dim
        first: Any = vit.blocks[0]
        self.heads: int = first.attn.num_heads
        self.grid = _grid(frames, size, config.tubelet, self.patch)
        self.pixels = config.tubelet * self.patch**2 * 3

        self.project = nn.Linear(self.pixels, self.width)
        # Learned, but sines at the start: in a short training, motion is seen much earlier than with noise.
        self.space = nn.Parameter(_sines(self.width, self.grid.height, self.grid.width))
        self.time = nn.Parameter(_sines(self.width, self.grid.time))
        self.cls = nn.Parameter(torch.zeros(1, 1, self.width)) if config.cls else None
        self.mask_token = nn.Parameter(torch.zeros(self.width)) if config.hidden == "replace" else None
        if self.cls is not None:
            nn.init.trunc_normal_(self.cls, std=0.02)
        self.blocks = vit.blocks
        self.norm = vit.norm
        if config.pretrained:
            self._inherit(vit)
        repeats = self.pixels // 3
        own: Any = vit.pretrained_cfg if config.pretrained else {"mean": MEAN, "std": STD}
        mean, std = torch.tensor(own["mean"]).repeat(repeats), torch.tensor(own["std"]).repeat(repeats)
        self.register_buffer("shift", -mean / std, persistent=False)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [self.project, *self.blocks]

    @property
    def extra_tokens(self) -> int:
        return int(self.config.cls)

    @property
    def start(self) -> str:
        return self.config.pretrained

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Encoded:
        """Encodes uint8 clips [B, T, H, W, 3]; `mask` [B, N] hides where True, None shows everything."""
        return self.encode(self.embed(video, mask))

    def patches(self, video: Tensor, where: Tensor | None = None) -> Tensor:
        """Pixels of the tokens for which `where` [B, N] holds (the same number a sample), or of all.

        Returns:
            [B, n, tubelet * patch * patch * 3] of the clips' own type, the colour channel varying fastest.
        """
        (t, h, w), q = self.grid, self.config.tubelet
        # A patch's pixels of one row lie side by side: bytes are copied in whole words, not one by one.
        word = _word(3 * self.patch) if video.dtype == torch.uint8 else video.dtype
        rows = video.contiguous().flatten(3).view(word)  # [B, T, H, words of a row]
        view = rows.unflatten(1, (t, q)).unflatten(3, (h, self.patch)).unflatten(5, (w, -1))
        view = view.permute(0, 1, 3, 5, 2, 4, 6)  # [B, t, h, w, q, p, words]
        if where is None:
            chosen = view.reshape(len(video), self.grid.tokens, -1)
        else:
            # Indexing the strided view copies the chosen patches only; hidden pixels are never touched.
            b, token = places(where)
            s = token % self.grid.space
            chosen = view[b, token // self.grid.space, s // w, s % w]
            chosen = chosen.reshape(len(video), -1, q * self.patch * view.shape[-1])
        return chosen.view(video.dtype)

    def unpatch(self, patches: Tensor) -> Tensor:
        """Clips [B, T, H, W, 3] of the pixels of all their tokens [B, N, P], the inverse of `patches`."""
        (t, h, w), p, q = self.grid, self.patch, self.config.tubelet
        view = patches.unflatten(1, (t, h, w)).unflatten(4, (q, p, p, 3))  # [B, t, h, w, q, p, p, 3]
        view = view.permute(0, 1, 4, 2, 5, 3, 6, 7)  # [B, t, q, h, p, w, p, 3]
        return view.flatten(5, 6).flatten(3, 4).flatten(1, 2)

    def embed(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens with positions [B, n, D]: the visible ones, or all with hidden ones replaced."""
        position = (self.time[:, None] + self.space[None]).flatten(0, 1)  # [N, D]
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

        run: of tokens without padding, what runs a block in place of the encoder, by its number from 0.
        """
        x, attend = tokens, None
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)
        if keep is not None:
            # Without a class token, nothing but padding would leave nothing to attend to.
            seen = keep | ~keep.any(1, keepdim=True) if self.cls is None else F.pad(keep, (1, 0), value=True)
            attend = seen[:, None, None, :]  # [B, 1, 1, extra_tokens + n]
            attend = torch.zeros_like(attend, dtype=x.dtype).masked_fill(~attend, float("-inf"))
        for number, block in enumerate(self.blocks):
            x = run[number](block, x) if number in run else block(x, attn_mask=attend)
        x = self.norm(x)
        return Encoded(self._pool(x, keep), x[:, self.extra_tokens :])

    def _pool(self, x: Tensor, keep: Tensor | None) -> Tensor:
        if self.config.pool == "cls":
            return x[:, 0]
        x = x[:, self.extra_tokens :]
        if keep is None:
            return x.mean(1)
        weight = keep[..., None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1)  # an empty caption pools to zero

    def _normalise(self, patches: Tensor) -> Tensor:
        return torch.addcmul(self.shift, patches.to(self.scale.dtype), self.scale)

    @torch.no_grad()
    def _inherit(self, vit: VisionTransformer) -> None:
        """Takes over an image model: tubelets average the patch filter over time, so that a still clip
        gives what the image gave; space positions are resampled, time positions start at zero."""
        weight = resample_patch_embed(vit.patch_embed.proj.weight, [self.patch, self.patch])
        weight = weight[:, :, None].expand(-1, -1, self.config.tubelet, -1, -1) / self.config.tubelet
        self.project.weight.copy_(weight.permute(0, 2, 3, 4, 1).flatten(1))
        self.project.bias.copy_(vit.patch_embed.proj.bias)
        position = resample_abs_pos_embed(
            vit.pos_embed, [self.grid.height, self.grid.width], num_prefix_tokens=1
        )[0]
        if self.cls is not None:
            self.cls.copy_(vit.cls_token + position[:1])
        self.space.copy_(position[1:])
        self.time.zero_()


def _word(size: int) -> torch.dtype:
    """The widest type of which so many bytes are a whole number."""
    words = (torch.int64, torch.int32, torch.int16, torch.uint8)
    return next(word for word in words if size % word.itemsize == 0)


def _sines(width: int, *sides: int) -> Tensor:
    """Sine and cosine positions [product of sides, width], each side with its share of the width."""
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in sides), indexing="ij")
    pairs = width // (2 * len(sides))
    rate = 100.0 ** -(torch.arange(pairs) / pairs)
    angles = [axis.reshape(-1, 1) * rate for axis in axes]
    table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return F.pad(table, (0, width - table.shape[1]))


def _vit(config: VideoConfig, size: int) -> VisionTransformer:
    if not is_model_in_modules(config.backbone, ["vision_transformer"]):
        raise UserError(
            f"timm has no plain ViT {config.backbone!r}; allowed are vit_tiny_patch16_224, "
            "vit_small_patch16_224, vit_base_patch16_224 and their like"
        )
    changes = {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    options: dict[str, Any] = {name: value for name, value in changes.items() if value}
    if config.pretrained == "timm":
        return _published(config)
    if config.pretrained:
        return _from_file(config, options)
    if config.patch:
        options["patch_size"] = config.patch
    # timm's default normal(0.02) is made for 768 channels: in a narrow model the class token sees next to
    # nothing of the patches at first, and a contrastive loss stays on its plateau. Xavier scales with width.
    try:
        vit = timm.create_model(config.backbone, num_classes=0, img_size=size, weight_init="jax", **options)
    except (
        AssertionError
    ) as error:  # as where the model's own heads do not divide the width that is asked for
        raise UserError(f"timm cannot build {config.backbone} with {options}: {error}") from error
    return _plain(vit, config)


def _plain(vit: nn.Module, config: VideoConfig) -> VisionTransformer:
    """Refuses relatives with parts that this encoder would silently leave out."""
    if isinstance(vit, VisionTransformer) and type(vit) is VisionTransformer:
        one_class_token = vit.cls_token is not None and vit.num_prefix_tokens == 1
        if one_class_token and not vit.no_embed_class and isinstance(vit.norm_pre, nn.Identity):
            return vit
    raise UserError(
        f"{config.backbone} is not a plain VisionTransformer with one class token, e.g. vit_base_patch16_224"
    )


def _published(config: VideoConfig) -> VisionTransformer:
    try:
        vit = _plain(timm.create_model(config.backbone, pretrained=True, num_classes=0), config)
    except (OSError, RuntimeError) as error:
        raise UserError(_unavailable(f"the weights of {config.backbone}", error)) from error
    # Left to itself, timm starts missing blocks at random, and other heads would fit the same shapes.
    first: Any = vit.blocks[0]
    own = {"width": vit.embed_dim, "depth": len(vit.blocks), "heads": first.attn.num_heads}
    for name, value in own.items():
        if getattr(config, name) not in (0, value):
            raise UserError(f"{config.backbone} as published has video.{name}={value}; 0 takes it over")
    return vit


def _from_file(config: VideoConfig, options: dict[str, Any]) -> VisionTransformer:
    path = Path(config.pretrained)
    if path.suffix != ".safetensors" or not path.is_file():
        raise UserError(
            f"no weights at {config.pretrained!r}: video.pretrained is 'timm', the path of a "
            "safetensors file, or empty for a random start"
        )
    vit = _plain(timm.create_model(config.backbone, num_classes=0, **options), config)
    try:
        weights = checkpoint_filter_fn(load_file(path), vit)
        vit.load_state_dict({k: v for k, v in weights.items() if not k.startswith("head.")})
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise UserError(_unavailable(f"the weights {config.pretrained}", error)) from error
    return vit


def _unavailable(what: str, error: Exception) -> str:
    return (
        f"{what} could not be loaded ({' '.join(str(error).split())[:200]}); "
        "give the path of a safetensors file, or set video.pretrained to '' for a random start"
    )


def _grid(frames: int, size: int, tubelet: int, patch: int) -> Grid:
    if frames % tubelet:
        raise UserError(f"{frames} frames do not divide into tubelets of {tubelet}")
    if size % patch:
        raise UserError(f"frames of {size} pixels do not divide into patches of {patch}")
    return Grid(frames // tubelet, size // patch, size // patch)
