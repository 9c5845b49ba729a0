"""Image models that timm builds as a VisionTransformer: ViT, CLIP, SigLIP, DINOv2, DeiT, AugReg, EVA's first.

`video.backbone` is timm's name (`vit_base_patch16_clip_quickgelu_224.openai`), a hub address
(`hf-hub:timm/vit_base_patch16_224.mae`), or a folder saved by timm (`local-dir:PATH`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import PatchEmbed
from timm.models import is_model, is_model_in_modules, load_model_config_from_hf, parse_model_name
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import nn

from workbench.errors import UserError
from workbench.models.pretrained.source import Source, Stem, file_of, named, unavailable, unread, weights_of

_MODULES = ["vision_transformer", "deit"]
"""Modules of timm that contain plain ViTs or close relatives; models of others are rejected unbuilt."""
_FOLDER = "local-dir"
_LIKE = "vit_base_patch16_224, vit_base_patch16_clip_quickgelu_224.openai and their like"


def random_start(backbone: str, shape: Mapping[str, int], *, patch: int, size: int) -> Source:
    """A model with random weights.

    Args:
        shape: `embed_dim`, `depth` and `num_heads` in timm's terms, if they differ from the model's own.
        patch: pixels, 0 for the model's own.
        size: pixels of a frame's side.
    """
    options: dict[str, Any] = dict(shape)
    if patch:
        options["patch_size"] = patch
    # timm's default normal(0.02) is made for 768 channels: in a narrow model the class token sees next to
    # nothing of the patches at first, and a contrastive loss does not leave its plateau. Xavier scales with
    # width.
    return Source(_build(backbone, img_size=size, weight_init="jax", **options))


def published(backbone: str, shape: Mapping[str, int]) -> Source:
    """The weights that are published under the model's name."""
    vit = _build(backbone)
    # By itself, timm initialises missing blocks at random, and other heads would fit the same shapes.
    check_shape(backbone, vit, shape)
    try:
        file = None if unread() else _file(vit.pretrained_cfg, backbone)
    except OSError as error:
        raise _unavailable(f"the weights of {backbone}", error) from error
    return _read(vit, file, backbone)


def from_file(backbone: str, path: str, shape: Mapping[str, int]) -> Source:
    """A model with this name and shape, with weights from a safetensors file."""
    file = Path(path)
    if not unread() and (file.suffix != ".safetensors" or not file.is_file()):
        raise UserError(
            f"no weights at {path!r}: video.pretrained must be 'timm', 'transformers', the path of a "
            "safetensors file, or empty for a random start"
        )
    return _read(_build(backbone, **shape), None if unread() else file, path)


def check_shape(backbone: str, vit: VisionTransformer, shape: Mapping[str, int]) -> None:
    """Raises `UserError` if the shape differs from that of the published weights."""
    first: Any = vit.blocks[0]
    published = {"embed_dim": vit.embed_dim, "depth": len(vit.blocks), "num_heads": first.attn.num_heads}
    fields = {"embed_dim": "width", "depth": "depth", "num_heads": "heads"}
    for name, value in published.items():
        if shape.get(name, value) != value:
            raise UserError(f"{backbone} as published has video.{fields[name]}={value}; 0 takes it over")


def _build(backbone: str, **options: Any) -> VisionTransformer:
    architecture = _architecture(backbone)
    if not is_model(architecture):
        raise UserError(f"timm has no plain ViT {architecture!r}; allowed are {_LIKE}")
    if not is_model_in_modules(architecture, _MODULES):
        raise _other(backbone, "of another family in timm")
    try:
        return _plain(timm.create_model(backbone, num_classes=0, **options), backbone)
    # For example if the model's own heads do not divide the requested width.
    except (AssertionError, TypeError) as error:
        raise UserError(f"timm cannot build {backbone} with {options}: {error}") from error


def _architecture(backbone: str) -> str:
    """timm's name of the model at an address; folders and the hub give it in config.json."""
    try:
        place, name = parse_model_name(backbone)
        if place == _FOLDER and not Path(name, "config.json").is_file():
            raise FileNotFoundError(f"there is no {Path(name, 'config.json')}")
        if place == _FOLDER:
            return str(timm.models._hub.load_model_config_from_path(name)[1])
        return name if place is None else str(load_model_config_from_hf(name)[1])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unavailable(f"no plain ViT at {backbone!r}: its description", error) from error


def _plain(vit: nn.Module, backbone: str) -> VisionTransformer:
    """Raises `UserError` for related models with parts that the encoder would silently leave out."""
    if type(vit) is not VisionTransformer:
        raise _other(backbone, f"a {type(vit).__name__}")
    if type(vit.patch_embed) is not PatchEmbed or not isinstance(vit.patch_embed.norm, nn.Identity):
        raise _other(backbone, "one whose patches are more than a linear projection of pixels")
    if not hasattr(vit.blocks[0], "attn"):
        raise _other(backbone, "one whose blocks hold several attentions")
    return vit


def _other(backbone: str, what: str) -> UserError:
    return UserError(f"{backbone} is {what}, not a plain VisionTransformer; allowed are {_LIKE}")


def _file(config: Any, backbone: str) -> Path:
    if config.get("source") == _FOLDER:
        return weights_of(config["file"])
    place, file = config.get("hf_hub_id"), config.get("hf_hub_filename") or ""
    if not place:
        raise FileNotFoundError(f"timm knows no safetensors file of {backbone}")
    found = file_of(place, file) if file.endswith(".safetensors") else None
    return found or weights_of(place)


def _read(vit: VisionTransformer, file: Path | None, name: str) -> Source:
    """The model with the weights of a file; without a file only its shape."""
    if file is not None:
        try:
            weights = checkpoint_filter_fn(load_file(file), vit, adapt_layer_scale=True)
            vit.load_state_dict({k: v for k, v in weights.items() if not k.startswith("head.")})
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise _unavailable(f"the weights {name}", error) from error
    config: Any = vit.pretrained_cfg
    return Source(
        vit, _stem(vit), mean=tuple(config["mean"]), std=tuple(config["std"]), start=named(name, file)
    )


@torch.no_grad()
def _stem(vit: VisionTransformer) -> Stem:
    project = vit.patch_embed.proj
    front = [token[0] for token in (vit.cls_token, vit.reg_token) if token is not None]
    prefix = torch.cat([*front, project.weight.new_zeros(0, vit.embed_dim)])
    position = None if vit.pos_embed is None else vit.pos_embed[0]
    if position is not None and not vit.no_embed_class:
        places, position = position[: len(prefix)], position[len(prefix) :]
        prefix = prefix + places
    if position is not None:
        position = position.unflatten(0, vit.patch_embed.grid_size)
    return Stem(project.weight[:, :, None], project.bias, prefix, position)


def _unavailable(what: str, error: Exception) -> UserError:
    local = (
        "the path of a safetensors file, a folder as timm saves it (video.backbone=local-dir:PATH), or fetch "
        "it where there is a network (`hf download timm/NAME`)"
    )
    return unavailable(what, error, local, "video.pretrained")
