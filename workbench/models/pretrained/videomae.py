"""VideoMAE models of transformers (arXiv:2203.12602), converted to the blocks of timm's ViT.

`video.backbone` is `videomae:` followed by a hub name or a local folder, such as
`videomae:MCG-NJU/videomae-base`; `video.pretrained` is `transformers`. The encoder's weights are read, from
a `VideoMAEModel`, a `VideoMAEForPreTraining` or a `VideoMAEForVideoClassification`; heads are left out. If
its configuration leaves the last norm to the head (`use_mean_pooling`), there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from safetensors import SafetensorError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import AutoConfig, VideoMAEConfig, VideoMAEModel

from workbench.errors import UserError
from workbench.models.pretrained import source
from workbench.models.pretrained.source import MEAN, STD, Source, Stem
from workbench.models.pretrained.vit import check_shape

PREFIX = "videomae:"


def build(backbone: str, shape: Mapping[str, int], *, tubelet: int, weights: bool) -> Source:
    """A VideoMAE encoder.

    Args:
        shape: as in `vit.random_start`; only the model's own shape is allowed.
        tubelet: frames of a token; only the model's own value is allowed.
        weights: whether the published ones are read; otherwise the start is random.
    """
    name = source.locate(backbone.removeprefix(PREFIX))
    try:
        config: Any = AutoConfig.from_pretrained(name, trust_remote_code=False)
        mean, std = _statistics(name)
    except (OSError, ValueError, KeyError) as error:
        raise _unavailable(backbone, error) from error
    if not isinstance(config, VideoMAEConfig) or config.hidden_act != "gelu":
        raise UserError(f"{backbone} is not a VideoMAE with GELU but of the kind {config.model_type!r}")
    if tubelet != config.tubelet_size:
        raise UserError(f"{backbone} as published has video.tubelet={config.tubelet_size}")
    vit = _vit(config)
    check_shape(backbone, vit, shape)
    fixed = _sines(config)
    if not weights:
        return Source(vit, None, fixed)
    if source.unread():
        return Source(vit, None, fixed, mean, std, backbone)
    try:
        file = source.weights_of(name)
        loaded: Any = VideoMAEModel.from_pretrained(
            name, config=config, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unavailable(backbone, error) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"{backbone} lacks {len(missing)} tensors of a VideoMAE: {missing[0]}, …")
    _take_over(vit, model)
    project = model.embeddings.patch_embeddings.projection
    stem = Stem(
        project.weight.detach(), project.bias.detach(), project.weight.new_zeros(0, vit.embed_dim), None
    )
    return Source(vit, stem, fixed, mean, std, source.named(backbone, file))


def _vit(config: Any) -> VisionTransformer:
    return VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.hidden_size,
        depth=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        mlp_ratio=config.intermediate_size / config.hidden_size,
        qkv_bias=config.qv_bias,
        norm_layer=partial(nn.LayerNorm, eps=config.layer_norm_eps),
        class_token=False,
        pos_embed="none",
        global_pool="avg",
        fc_norm=False,
        final_norm=not config.use_mean_pooling,
        num_classes=0,
        weight_init="jax",
    )


@torch.no_grad()
def _take_over(vit: VisionTransformer, model: VideoMAEModel) -> None:
    """Copies the weights of `model` into `vit`, whose blocks compute the same."""
    pairs: Any = zip(model.encoder.layer, vit.blocks, strict=True)
    for layer, own in pairs:
        asked = layer.attention.attention
        parts = asked.query, asked.key, asked.value
        own.attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        if own.attn.qkv.bias is not None:  # keys have none
            zero = torch.zeros_like(asked.query.bias)
            own.attn.qkv.bias.copy_(torch.cat([asked.query.bias, zero, asked.value.bias]))
        for mine, theirs in (
            (own.attn.proj, layer.attention.output.dense),
            (own.mlp.fc1, layer.intermediate.dense),
            (own.mlp.fc2, layer.output.dense),
            (own.norm1, layer.layernorm_before),
            (own.norm2, layer.layernorm_after),
        ):
            mine.load_state_dict(theirs.state_dict())
    if model.layernorm is not None:
        vit.norm.load_state_dict(model.layernorm.state_dict())


def _sines(config: Any) -> Tensor:
    """Its fixed positions [t, h, w, D]: sines of a token's index among all tokens of a clip."""
    side = config.image_size // config.patch_size
    grid = (config.num_frames // config.tubelet_size, side, side)
    number = torch.arange(grid[0] * side * side, dtype=torch.float64)[:, None]
    channel = torch.arange(config.hidden_size, dtype=torch.float64)
    angle = number / 10000 ** (2 * (channel // 2) / config.hidden_size)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float().unflatten(0, grid)


def _statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of its input; ImageNet's if it defines none."""
    if file := source.file_of(name, "preprocessor_config.json"):
        preprocessor = json.loads(file.read_text(encoding="utf-8"))
        return tuple(preprocessor.get("image_mean", MEAN)), tuple(preprocessor.get("image_std", STD))
    return MEAN, STD


def _unavailable(backbone: str, error: Exception) -> UserError:
    name = backbone.removeprefix(PREFIX)
    local = f"a local folder ({PREFIX}PATH), or fetch it where there is a network (`hf download {name}`)"
    return source.unavailable(f"the VideoMAE {name}", error, local, "video.pretrained")
