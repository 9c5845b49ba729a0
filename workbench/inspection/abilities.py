"""Abilities of recipes, read from the source, without importing torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from workbench import extensions, recipes

ROOT = Path(__file__).parents[2]


class _Class(NamedTuple):
    methods: set[str]
    bases: list[str]


def able(*methods: str) -> list[str]:
    """Recipes that define all of these methods (see `BaseRecipe`), in alphabetical order."""
    theirs = extensions.files("recipes")
    found = {name: _methods(f"workbench.recipes.{name}", "Recipe", theirs) for name in recipes.names()}
    return [name for name, defined in found.items() if set(methods) <= defined]


def _methods(module: str, name: str, theirs: Mapping[str, Path]) -> set[str]:
    """Methods of a class, those of the classes that it builds on included as far as they are ours.

    theirs: recipes of the user's own, name -> file.
    """
    mine = theirs.get(module.removeprefix("workbench.recipes."))
    file = mine or ROOT / f"{module.replace('.', '/')}.py"
    seen = file.stat()
    try:
        classes, origin = _parsed(file, seen.st_mtime_ns, seen.st_size)
    except SyntaxError:
        if mine is None:
            raise
        return set()  # no abilities; loading the file reports its error
    if name not in classes:
        return set()
    methods, bases = classes[name]
    for base in bases:
        place, called = origin.get(base, (module, base))
        if place.startswith("workbench."):
            methods = methods | _methods(place, called, theirs)
    return methods


@lru_cache(maxsize=512)
def _parsed(file: Path, changed: int, size: int) -> tuple[dict[str, _Class], dict[str, tuple[str, str]]]:
    """Classes of a file by name, and imported name -> module and name there; parsed again when the time or
    the size of the file has changed."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    origin = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    classes = {
        node.name: _Class(
            methods={part.name for part in node.body if isinstance(part, ast.FunctionDef)},
            bases=[base.id for base in node.bases if isinstance(base, ast.Name)],
        )
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    return classes, origin
