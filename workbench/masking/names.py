"""The available maskings, read from the source, so that listing them does not import torch."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

from workbench import extensions
from workbench.errors import UserError


class Named(NamedTuple):
    """The class of a masking and its description."""

    module: str
    about: str
    """The first paragraph of its docstring."""


def video() -> dict[str, str]:
    """Class name of every video masking -> the first paragraph of its docstring."""
    return {name: found.about for name, found in _subclasses("video.py", "VideoMasking").items()}


def text() -> dict[str, str]:
    """Class name of every text masking -> the first paragraph of its docstring."""
    return {name: found.about for name, found in _subclasses("text.py", "TextMasking").items()}


def strategy_name(name: str) -> str:
    """The name of a masking in studies and on pages: `per-frame` for `PerFrameMasking`."""
    return "-".join(re.findall("[A-Z][a-z]+", name)[:-1]).lower()


def load(name: str) -> type:
    """The class of a masking. Raises `UserError`, which lists the available ones, for an unknown name."""
    known = _subclasses("video.py", "VideoMasking") | _subclasses("text.py", "TextMasking")
    if name not in known:
        raise UserError(f"there is no masking {name!r}; there are {', '.join(known)}")
    found: type = getattr(extensions.module(known[name].module), name)
    return found


def _subclasses(file: str, base: str) -> dict[str, Named]:
    """Built-in maskings, then those of the user's files, which may subclass them.

    Raises `UserError` if two have the same name.
    """
    path = Path(__file__).with_name(file)
    found = _in(path, f"workbench.masking.{path.stem}", {base})
    for stem, theirs in extensions.files("maskings").items():
        for name, new in _in(theirs, f"workbench.masking.{stem}", {base, *found}).items():
            if name in found:
                raise UserError(f"{theirs} defines {name} as {found[name].module} does; rename it")
            found[name] = new
    return found


def _in(file: Path, module: str, bases: set[str]) -> dict[str, Named]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        extensions.module(module)  # raises an error that names the fault of the file
        raise
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and bases & set(map(_called, node.bases)):
            about = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            found[node.name] = Named(module, about)
    return found


def _called(base: ast.expr) -> str:
    """The name of a base class: `TubeMasking`, also if it is written `video.TubeMasking`."""
    if isinstance(base, ast.Attribute):
        return base.attr
    return base.id if isinstance(base, ast.Name) else ""
