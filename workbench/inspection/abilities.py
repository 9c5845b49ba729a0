"""Which recipes can do what, read from the source, so that asking loads no torch."""

from __future__ import annotations

import ast
from pathlib import Path

from workbench import own, recipes

ROOT = Path(__file__).parents[2]


def able(*methods: str) -> list[str]:
    """Recipes that define all of these methods (see `BaseRecipe`), in alphabetical order."""
    found = {name: _methods(f"workbench.recipes.{name}", "Recipe") for name in recipes.names()}
    return [name for name, own in found.items() if set(methods) <= own]


def _methods(module: str, name: str) -> set[str]:
    """Methods of a class, those of the classes that it builds on included as far as they are ours."""
    theirs = own.files("recipes").get(module.removeprefix("workbench.recipes."))
    file = theirs or ROOT / f"{module.replace('.', '/')}.py"
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError:
        if theirs is None:
            raise
        return set()  # it can do nothing; whoever loads it is told why
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        return set()
    origin = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    methods = {node.name for node in classes[name].body if isinstance(node, ast.FunctionDef)}
    for base in classes[name].bases:
        if isinstance(base, ast.Name):
            place, called = origin.get(base.id, (module, base.id))
            if place.startswith("workbench."):
                methods |= _methods(place, called)
    return methods
