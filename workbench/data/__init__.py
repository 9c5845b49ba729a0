"""Data sets: a module each. `prepare` turns one into a frame store that training reads.

A data set is a module of this package with two functions:

- ``index(data, source) -> Index``: clips, captions, splits, digest; cheap, decodes nothing;
- ``videos(index, source, cache, progress) -> Path``: the folder in which the clips lie.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig
    from workbench.data.index import Index


def names() -> list[str]:
    """Data sets of this package: its modules that have an `index` function."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    return [name for name in modules if name in ("moving_shapes", "folder")]


def prepare(
    data: DataConfig,
    *,
    source: str | None = None,
    root: Path,
    progress: bool = True,
    allow_bad_eval: bool = False,
) -> Path:
    """Path of the ready frame store."""
    from workbench.data.build import build

    return build(data, source, Path(root), progress, allow_bad_eval)


def describe(data: DataConfig, source: str | None = None, root: Path | None = None) -> DataConfig:
    """The same configuration with the digest of its content."""
    return replace(data, digest=_module(data.name).index(data, source).digest)


def _module(name: str) -> ModuleType:
    if name not in names():
        raise UserError(f"no data set {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"workbench.data.{name}")
