"""Addresses of databases and servers: shown without passwords, compared without spelling differences."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

_SECRET = re.compile(r"(?<=://)(?P<user>[^/@:]*):[^/@]*(?=@)")
_QUERY = re.compile(r"(?i)\b(password|token|secret)=[^&\s]*")


def masked(text: str) -> str:
    """`text` with the passwords of all addresses in it replaced by `***`."""
    return _QUERY.sub(r"\1=***", _SECRET.sub(r"\g<user>:***", text))


def sqlite(path: Path) -> str:
    """Address of an SQLite file."""
    return f"sqlite:///{path.resolve()}"


def same_database(one: str, other: str) -> bool:
    """Whether two addresses name the same database, whatever driver, user or options they name."""
    return _place(one) == _place(other)


def _place(address: str) -> tuple[str, str, str]:
    parts = urlsplit(address)
    kind = parts.scheme.partition("+")[0].replace("postgresql", "postgres")
    if kind == "sqlite":
        return kind, "", str(Path(parts.path.removeprefix("/")).resolve())
    return kind, f"{parts.hostname}:{parts.port or ''}", parts.path
