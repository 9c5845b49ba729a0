"""Published systems, one file each, and the user's own: every module defines `Config` and `Recipe`."""

from __future__ import annotations

import pkgutil
from types import ModuleType

from workbench import extensions
from workbench.errors import UserError

OURS = tuple(__path__)
__path__ += extensions.paths("recipes")


def names() -> list[str]:
    """All recipes in alphabetical order, found by their files, so that listing them does not import torch."""
    return sorted([*(module.name for module in pkgutil.iter_modules(OURS)), *extensions.files("recipes")])


def load(name: str) -> ModuleType:
    """The module of a recipe. Raises `UserError`, which lists the available ones, for an unknown name."""
    if name not in names():
        raise UserError(f"no recipe {name!r}; there are {', '.join(names())}")
    return extensions.module(f"workbench.recipes.{name}")
