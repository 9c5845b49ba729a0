"""Where published weights lie, in folders, packages, the Hugging Face hub, and how they fit other sizes.

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
"""ImageNet statistics in [0, 1]; pretrained weights bring their own."""
SAFETENSORS = ("model.safetensors", "open_clip_model.safetensors")
_PACKAGE = "package:"
_UNREAD: ContextVar[bool] = ContextVar("_UNREAD", default=False)


class Stem(NamedTuple):
    """What a published model has before its blocks.

    Letters: D width, q frames that a filter spans (1 of an image model), p side of a patch, k tokens that
    stand in front, h w patches.
    """

    weight: Tensor
    """[D, 3, q, p, p]"""
    bias: Tensor | None
    """[D]"""
    prefix: Tensor
    """[k, D], the class token if there is one, then registers, with what is added for their places."""
    position: Tensor | None
    """[h, w, D], learned; None where there are none."""


class Source(NamedTuple):
    """A model that a video encoder is made of. The defaults are those of a random start."""

    vit: VisionTransformer
    """Its blocks, norms and pooling are taken over as they are."""
    stem: Stem | None = None
    """None for a random start."""
    fixed: Tensor | None = None
    """[t, h, w, D], positions that are not learned, at the model's own size."""
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    start: str = ""
    """What the weights are, empty for random ones."""


@contextmanager
def without_reading() -> Iterator[None]:
    """Published models are built in their shape, but no weights are read: a checkpoint brings them all."""
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)


def unread() -> bool:
    """Whether weights are left out, see `without_reading`."""
    return _UNREAD.get()


def locate(name: str) -> str:
    """A local folder or a name of the hub, of an address; `package:NAME/FOLDER` lies in an installed package.

    Such an address names the same weights on every machine. The package is looked up, not imported.
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
    """A file of a published model, None where it has none of that name, or none that can be reached.

    name: a local folder, or a name of the hub, which in timm's form may end in `@REVISION`.

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
        OSError: it has none, or none that can be reached.
    """
    for file in SAFETENSORS:
        if found := file_of(name, file):
            return found
    files = " or ".join(SAFETENSORS)
    raise FileNotFoundError(
        f"no {files} of it lies here or can be reached; pickles (.bin, .pth) are not read"
    )


def named(name: str, file: Path | None) -> str:
    """What a record says of weights: their name, and the beginning of the SHA-256 of their file."""
    if file is None:
        return name
    with file.open("rb") as opened:
        return f"{name} (sha256 {hashlib.file_digest(opened, 'sha256').hexdigest()[:12]})"


def unavailable(what: str, error: Exception, local: str, field: str) -> UserError:
    """One sentence on weights that could not be loaded.

    local: what may be given instead; field: of the configuration, which may be left empty.
    """
    return UserError(
        f"{what} could not be loaded ({' '.join(str(error).split())[:200]}); "
        f"give {local}, or set {field} to '' for a random start"
    )


def tubelet_filter(weight: Tensor, *, patch: int, tubelet: int) -> Tensor:
    """A filter of patches or tubelets [D, 3, q, p, p] for others, [D, 3, tubelet, patch, patch].

    An image model's is averaged over time (q = 1), so that a still clip gives what its image gives.
    """
    frames = [resample_patch_embed(frame, [patch, patch]) for frame in weight.unbind(2)]  # [D, 3, p, p] each
    if len(frames) == 1:
        frames = [frames[0] / tubelet] * tubelet
    return torch.stack(frames, 2)


def resampled(position: Tensor, grid: Grid) -> Tensor:
    """Positions [t, h, w, D] at the places of another grid: bicubic in space, linear in time."""
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
