"""Paths of this project's studies and dashboard, beside the package or in it, and names of commands."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).parent


def ours(name: str) -> Path:
    """The folder `studies` or `app`."""
    shipped = PACKAGE / "shipped" / name
    return shipped if shipped.is_dir() else PACKAGE.parent / name


def called(command: str) -> str:
    """How a command was called, for help texts: `workbench study` by the console script, `python -m
    workbench.study` otherwise."""
    script = Path(sys.argv[0]).name.removesuffix(".exe") == "workbench"
    return f"workbench {command}" if script else f"python -m workbench.{command}"
