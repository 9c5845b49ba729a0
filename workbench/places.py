"""Where this project's studies and dashboard lie: beside the package, or inside it where it is installed."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def ours(name: str) -> Path:
    """The folder `studies` or `app`."""
    shipped = PACKAGE / "shipped" / name
    return shipped if shipped.is_dir() else PACKAGE.parent / name
