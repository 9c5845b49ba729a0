"""Published weights from folders, packages and the Hugging Face hub, and resampling to other sizes.

Pickles are never read.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from transformers.utils import cached_file

from workbench.errors import UserError
from workbench.masking.video import Grid

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet mean and deviation for pixels in [0, 1]; pretrained weights have their own."""
SAFETENSORS = ("model.safetensors", "open_clip_model.safetensors")
_PACKAGE = "package:"
_UNREAD: ContextVar[bool] = ContextVar("_UNREAD", default=False)


class Stem(NamedTuple):
    """The layers of a published model before its blocks.

    Letters: D width, q frames of a filter (1 for an image model), p side of a patch, k prefix tokens, h w
    patches.
    """

    weight: Tensor
    """[D, 3, q, p, p]"""
    bias: Tensor | None
    """[D]"""
    prefix: Tensor
    """[k, D], the class token if there is one, then registers, with their position embeddings added."""
    position: Tensor | None
    """[h, w, D], learned positions; None if there are none."""


class Source(NamedTuple):
    """The model behind a video encoder. The defaults are those of a random start."""

    vit: VisionTransformer
    """The model; its blocks, norms and pooling are used unchanged."""
    stem: Stem | None = None
    """None for a random start."""
    fixed: Tensor | None = None
    """[t, h, w, D], fixed positions at the model's own size."""
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    start: str = ""
    """Name of the weights, empty for random ones."""


@contextmanager
def without_reading() -> Iterator[None]:
    """Within the context, published models are built without their weights, which a checkpoint supplies."""
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)


def unread() -> bool:
    """Whether weights are not read, see `without_reading`."""
    return _UNREAD.get()


def locate(name: str) -> str:
    """The local folder or hub name of an address; `package:NAME/FOLDER` is a folder in an installed package.

    A package address names the same weights on every machine. The package is looked up, not imported.
    """
    if not name.startswith(_PACKAGE):
        return name
    package, _, folder = name.removeprefix(_PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"{name}: there is no package {package!r}; `pip install {package.replace('_', '-')}` may bring it"
        )
    return str(Path(next(iter(found.submodule_search_locations)), folder))


def file_of(name: str, file: str) -> Path | None:
    """A file of a published model; None if the model does not have it or it cannot be reached.

    name: a local folder, or a hub name, which in timm's form may end in `@REVISION`.

    Raises:
        OSError: the hub has no model of that name.
    """
    if Path(name).is_dir():
        return path if (path := Path(name, file)).is_file() else None
    place, _, revision = name.partition("@")
    found = cached_file(place, file, revision=revision or None, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)


def weights_of(name: str) -> Path:
    """The safetensors file of a published model.

    Raises:
        OSError: the model has none, or it cannot be reached.
    """
    for file in SAFETENSORS:
        if found := file_of(name, file):
            return found
    files = " or ".join(SAFETENSORS)
    raise FileNotFoundError(
        f"no {files} of it lies here or can be reached; pickles (.bin, .pth) are not read"
    )


def named(name: str, file: Path | None) -> str:
    """Description of weights for records: their name and the beginning of the SHA-256 of their file."""
    if file is None:
        return name
    with file.open("rb") as opened:
        return f"{name} (sha256 {hashlib.file_digest(opened, 'sha256').hexdigest()[:12]})"


def unavailable(what: str, error: Exception, local: str, field: str) -> UserError:
    """The error, of one sentence, for weights that could not be loaded.

    local: what may be given instead; field: field of the configuration, which may be left empty.
    """
    return UserError(
        f"{what} could not be loaded ({' '.join(str(error).split())[:200]}); "
        f"give {local}, or set {field} to '' for a random start"
    )


def tubelet_filter(weight: Tensor, *, patch: int, tubelet: int) -> Tensor:
    """Resamples a patch filter [D, 3, q, p, p] to [D, 3, tubelet, patch, patch].

    The filter of an image model (q = 1) is spread evenly over time, so that a still clip gives the same
    tokens as its image.
    """
    frames = [resample_patch_embed(frame, [patch, patch]) for frame in weight.unbind(2)]  # [D, 3, p, p] each
    if len(frames) == 1:
        frames = [frames[0] / tubelet] * tubelet
    return torch.stack(frames, 2)


def resampled(position: Tensor, grid: Grid) -> Tensor:
    """Positions [t, h, w, D] resampled to another grid: bicubic in space, linear in time."""
    size, old_size = [grid.height, grid.width], position.shape[1:3]
    frames = [
        resample_abs_pos_embed(frame.flatten(0, 1)[None], size, old_size, num_prefix_tokens=0)
        for frame in position
    ]
    space = torch.cat(frames).unflatten(1, (grid.height, grid.width))
    if len(space) == grid.time:
        return space
    places = space.flatten(1).T[None]  # [1, h * w * D, t]
    return F.interpolate(places, grid.time, mode="linear")[0].T.reshape(grid.time, *space.shape[1:])
