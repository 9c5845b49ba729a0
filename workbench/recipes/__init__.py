"""Published systems, one file each: every module exposes `Config` and `Recipe`; and the user's own."""

from __future__ import annotations

import pkgutil
from types import ModuleType

from workbench import extensions
from workbench.errors import UserError

OURS = tuple(__path__)
__path__ += extensions.paths("recipes")


def names() -> list[str]:
    """Every recipe, in alphabetical order; found by its file, so that listing them loads no torch."""
    return sorted([*(module.name for module in pkgutil.iter_modules(OURS)), *extensions.files("recipes")])


def load(name: str) -> ModuleType:
    """The module of a recipe; `UserError` lists those that exist when there is none."""
    if name not in names():
        raise UserError(f"no recipe {name!r}; there are {', '.join(names())}")
    return extensions.module(f"workbench.recipes.{name}")
