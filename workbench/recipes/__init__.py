"""Published systems, one file each: every module exposes `Config` and `Recipe`."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from workbench.errors import UserError


def names() -> list[str]:
    """Every recipe, in alphabetical order; found by its file, so that listing them loads no torch."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """The module of a recipe; `UserError` lists those that exist when there is none."""
    if name not in names():
        raise UserError(f"no recipe {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"workbench.recipes.{name}")
