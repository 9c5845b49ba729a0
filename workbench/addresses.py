"""Addresses of databases and servers: shown without passwords, compared without spelling differences."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from workbench.errors import UserError

# Up to the last @ of the word: a password with an unescaped / or @ would else show its second half.
_SECRET = re.compile(r"(?<=://)(?P<user>[^/@:\s]*):\S*(?=@)")
_QUERY = re.compile(r"(?i)\b([\w-]*(?:password|passwd|token|secret|api_?key))=[^&\s]*")


_KINDS = {"postgresql": "postgres", "mariadb": "mysql"}
_PORTS = {"postgres": "5432", "mysql": "3306", "mssql": "1433", "http": "80", "https": "443"}
_LOCAL = ("localhost", "127.0.0.1", "::1")

NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs afs beegfs ceph cephfs gfs2 glusterfs gpfs lustre ocfs2 orangefs pvfs2 s3fs "
    "sshfs wekafs".split()
)
"""File systems that several machines may have mounted at once, as Linux names them."""


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


def check_addresses(results: Path, storage: str, tracker: str) -> None:
    """Raises `UserError` if Optuna and MLflow would share a database and destroy each other's tables.

    Args:
        results: folder of all results, whose own databases nobody may be given for the other purpose.
        storage: of Optuna; empty for that folder's own.
        tracker: of MLflow; empty for that folder's own, `none` for no tracker.
    """
    ours, theirs = sqlite(results / "optuna.db"), sqlite(results / "mlflow.db")
    trackers = {tracker or theirs, theirs} - {"none"}
    for one, other in product({storage or ours, ours}, trackers):
        if same_database(one, other):
            raise UserError(
                "Optuna and MLflow must have a database each, because both keep their migrations in a "
                f"table of the same name; {masked(one)} would be the database of both"
            )


def check_local(results: Path, storage: str, tracker: str) -> None:
    """Raises `UserError` for SQLite files on network file systems, whose locks do not work between machines.

    Args: as `check_addresses`.
    """
    ours, theirs = sqlite(results / "optuna.db"), sqlite(results / "mlflow.db")
    for whose, address, way_out in (
        ("Optuna's ledger", storage or ours, "--storage postgresql://USER@HOST/NAME"),
        ("MLflow's store", tracker or theirs, "--mlflow with the address of a server, or none"),
    ):
        path = None if address == "none" else sqlite_path(address)
        kind = network_file_system(path, mounts()) if path is not None else ""
        if kind:
            raise UserError(
                f"{whose}, {path}, lies on a network file system ({kind}), where SQLite damages its file "
                f"when two machines write; give {way_out}, or --results on a local disk"
            )


def mounts() -> str:
    """What is mounted where, in the form of Linux's `mountinfo`; empty on other systems."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def network_file_system(path: Path, mounted: str) -> str:
    """The kind of network file system on which a path lies or would lie, empty for a local one.

    Args:
        mounted: as `mounts` gives it; the deepest mount point above the path counts.
    """
    best, kind = -1, ""
    here = path.resolve()
    for line in mounted.splitlines():
        before, _, after = line.partition(" - ")
        fields, names = before.split(), after.split()
        if len(fields) < 5 or not names:
            continue
        point = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if len(point.parts) > best and here.is_relative_to(point):
            best, kind = len(point.parts), names[0].removeprefix("fuse.")
    return kind if kind in NETWORK else ""


def _place(address: str) -> tuple[str, str, str]:
    parts = _split(address)
    kind = _KINDS.get(kind := parts.scheme.partition("+")[0], kind)
    if kind == "sqlite":
        return kind, "", str(Path(parts.path.removeprefix("/")).resolve())
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    host = (parts.hostname or asked.get("host") or "localhost").lower()
    port = str(parts.port or asked.get("port") or _PORTS.get(kind, ""))
    return kind, f"{'localhost' if host in _LOCAL else host}:{port}", parts.path.strip("/")


def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port  # looked at only when asked for
    except ValueError:  # it quotes what it took for a port, which may be a part of the password
        raise UserError(
            f"{masked(address)} is not a valid store address: its port is not a number, or its password "
            "contains a / or @ that is not written as %2F or %40"
        ) from None
    return parts
