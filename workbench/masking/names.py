"""Which maskings there are, read from the source, so that listing them loads no torch."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def video() -> dict[str, str]:
    """Class name of every video masking -> the first sentence of its docstring."""
    return _subclasses("video.py", "VideoMasking")


def text() -> dict[str, str]:
    """Class name of every text masking -> the first sentence of its docstring."""
    return _subclasses("text.py", "TextMasking")


def said(name: str) -> str:
    """What studies and pages call a masking: `per-frame` for `PerFrameMasking`."""
    return "-".join(re.findall("[A-Z][a-z]+", name)[:-1]).lower()


def _subclasses(file: str, base: str) -> dict[str, str]:
    tree = ast.parse(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and base in {b.id for b in node.bases if isinstance(b, ast.Name)}:
            found[node.name] = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    return found
