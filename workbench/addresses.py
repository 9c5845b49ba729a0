"""Addresses of databases and servers: shown without passwords, compared without spelling differences."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from workbench.errors import UserError

# Up to the last @ of the word: a password with an unescaped / or @ would else show its second half.
_SECRET = re.compile(r"(?<=://)(?P<user>[^/@:\s]*):\S*(?=@)")
_QUERY = re.compile(r"(?i)\b([\w-]*(?:password|passwd|token|secret|api_?key))=[^&\s]*")


def masked(text: str) -> str:
    """`text` with the passwords of all addresses in it replaced by `***`."""
    return _QUERY.sub(r"\1=***", _SECRET.sub(r"\g<user>:***", text))


def sqlite(path: Path) -> str:
    """Address of an SQLite file."""
    return f"sqlite:///{path.resolve()}"


def sqlite_path(address: str) -> Path | None:
    """The file of an SQLite address, None for any other."""
    parts = _split(address)
    return Path(parts.path.removeprefix("/")) if parts.scheme.startswith("sqlite") else None


def same_database(one: str, other: str) -> bool:
    """Whether two addresses name the same database, whatever driver, user or options they name."""
    return _place(one) == _place(other)


def _place(address: str) -> tuple[str, str, str]:
    parts = _split(address)
    kind = parts.scheme.partition("+")[0].replace("postgresql", "postgres")
    if kind == "sqlite":
        return kind, "", str(Path(parts.path.removeprefix("/")).resolve())
    return kind, f"{parts.hostname}:{parts.port or ''}", parts.path


def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port  # looked at only when asked for
    except ValueError:  # it quotes what it took for a port, which may be a part of the password
        raise UserError(
            f"{masked(address)} is no address of a store: its port is no number, or a / or @ in its "
            "password is not written as %2F or %40"
        ) from None
    return parts
