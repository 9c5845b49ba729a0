"""Data sets: a module each. `prepare` turns one into a frame store that training reads.

A data set is a module of this package with two functions:

- ``index(data, source) -> Index``: clips, captions, splits, digest; cheap, decodes nothing;
- ``videos(index, source, cache, progress) -> Path``: the folder in which the clips lie.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig


def names() -> list[str]:
    """Data sets of this package: its modules that define `index` and `videos`."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        # Read, not imported: listing names must not load a decoder.
        tree = ast.parse(Path(__path__[0], f"{module.name}.py").read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if {"index", "videos"} <= functions:
            found.append(module.name)
    return found


def prepare(
    data: DataConfig,
    *,
    source: str | None = None,
    root: Path,
    progress: bool = True,
    allow_bad_eval: bool = False,
) -> Path:
    """Path of the ready frame store; makes it when it is not there. Raises `UserError`.

    Args:
        source: folder of one's own data.
        root: where prepared data sets lie.
        allow_bad_eval: evaluate without the videos that cannot be decoded, instead of refusing.
    """
    from workbench.data.build import Job, build, refuse_gaps
    from workbench.data.store import FrameStore, is_ready, store_path

    module = _module(data.name)
    if not (data.digest and is_ready(path := store_path(data, Path(root)))):
        index = module.index(data, source)
        path = store_path(replace(data, digest=index.digest), Path(root))
        build(Job(data, source, Path(root), progress, allow_bad_eval), module, index, path)
    if not allow_bad_eval:  # the store may be from a call that allowed it
        skipped = FrameStore.open(path).skipped
        refuse_gaps([(one["video"], one["reason"]) for one in skipped if one["split"] != "train"])
    return path


class Described(NamedTuple):
    """Data as far as it is known without decoding it."""

    data: DataConfig
    """The configuration with the digest of its content."""
    train_clips: int


def describe(data: DataConfig, source: str | None = None) -> Described:
    """Reads the index of a data set. Raises `UserError` where it is not usable."""
    index = _module(data.name).index(data, source)
    train = sum(clip.split == "train" for clip in index.clips)
    return Described(replace(data, digest=index.digest), train)


def _module(name: str) -> ModuleType:
    if name not in names():
        raise UserError(f"no data set {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"workbench.data.{name}")
