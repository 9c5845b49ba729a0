"""Locations of shards: files, folders, and addresses for `fsspec`, such as `s3://` or `memory://`.

`fsspec` is imported only for an address. Libraries of object stores (`s3fs`, `gcsfs`) and credentials are
found as `fsspec` finds them.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from workbench.addresses import masked
from workbench.errors import UserError

MOST = 1_000_000
"""Largest number of shards of a pattern."""
_BRACES = re.compile(r"\{([^{}]*)\}")


def expand(pattern: str) -> list[str]:
    """The shards that match a pattern, in order of their names, files by their absolute paths.

    pattern: a shard, a folder of `*.tar`, a glob, or names with braces such as `train-{000000..000146}.tar`.
    Raises `UserError` if there is none.
    """
    if pattern.startswith("pipe:"):
        raise UserError(
            "a pipe cannot be read at a place of its own choice, which streaming from an index needs: "
            "copy its shards into a folder, or give an address that fsspec knows"
        )
    found: list[str] = []
    for one in _unbraced(pattern):
        found += _remote(one) if "://" in one else _local(one)
        if len(found) > MOST:
            raise UserError(f"{masked(pattern)} stands for more than {MOST:,} shards")
    if not found:
        raise UserError(f"there is no shard {masked(pattern)}")
    return sorted(dict.fromkeys(found))


def state(address: str) -> list[Any]:
    """Size in bytes, and a mark of the content: time of change in nanoseconds, or the store's own mark."""
    if "://" not in address:
        with _said(address):
            found = os.stat(address)
        return [found.st_size, found.st_mtime_ns]
    system, path = _system(address)
    with _said(address):
        info = system.info(path)
    mark = next((str(info[key]) for key in ("ETag", "etag", "md5", "mtime", "created") if key in info), "")
    return [info["size"], mark]


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """A shard, opened for reading with seeking."""
    if "://" not in address:
        with _said(address), open(address, "rb") as stream:
            yield stream
        return
    system, path = _system(address)
    with _said(address), system.open(path, "rb") as stream:
        yield stream


def read(address: str, offset: int, size: int) -> bytes:
    """Reads `size` bytes of a shard. Raises `UserError` if it cannot be read, or ends before."""
    if "://" in address:
        system, path = _system(address)
        with _said(address):
            content: bytes = system.cat_file(path, start=offset, end=offset + size)
    else:
        with opened(address) as stream:
            stream.seek(offset)
            content = stream.read(size)
    if len(content) != size:
        raise UserError(f"{masked(address)} is shorter than when it was indexed")
    return content


def beside(address: str, name: str) -> str | None:
    """The text of a file in the folder of a shard; None if there is none."""
    if "://" in address:
        system, path = _system(address)
        other = f"{path.rpartition('/')[0]}/{name}"
        with _said(address):
            content: bytes | None = system.cat_file(other) if system.exists(other) else None
    else:
        file = Path(address).parent / name
        with _said(str(file)):
            content = file.read_bytes() if file.is_file() else None
    return None if content is None else content.decode("utf-8", errors="replace")


def sha256(address: str) -> str:
    """SHA-256 of a whole shard, in hexadecimal digits."""
    sha = hashlib.sha256()
    with opened(address) as stream:
        while piece := stream.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def _local(pattern: str) -> list[str]:
    path = Path(pattern)
    if path.is_dir():
        return [str(one.absolute()) for one in path.glob("*.tar")]
    if path.exists():
        return [str(path.absolute())]
    return [os.path.abspath(one) for one in glob.glob(pattern)]


def _remote(pattern: str) -> list[str]:
    system, path = _system(pattern)
    with _said(pattern):
        if any(sign in path for sign in "*?["):
            paths = system.glob(path)
        elif system.isdir(path):
            paths = system.glob(f"{path.rstrip('/')}/*.tar")
        else:
            paths = [path] if system.exists(path) else []
    return [system.unstrip_protocol(one) for one in paths]


def _system(address: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(address)
    except (ImportError, ValueError) as error:  # an unknown protocol, or a missing library
        raise UserError(f"{masked(address)} cannot be read: {masked(str(error))}") from error
    return system, path


@contextmanager
def _said(address: str) -> Iterator[None]:
    """Converts read errors to one sentence. The libraries behind `fsspec` have no common type of error."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{masked(address)} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        if "://" not in address:
            raise
        why = masked(" ".join(str(error).split()))[:200]
        raise UserError(f"{masked(address)} cannot be read: {type(error).__name__}: {why}") from error


def _unbraced(text: str) -> Iterator[str]:
    """Expands braces in names: ranges of numbers, or words."""
    found = None if os.path.exists(text) else _BRACES.search(text)
    if found is None:
        yield text
        return
    first, dots, last = found[1].partition("..")
    choices = found[1].split(",")
    if dots and first.isdecimal() and last.isdecimal():
        if int(last) - int(first) >= MOST:
            raise UserError(f"{masked(text)} stands for more than {MOST:,} shards")
        choices = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    for choice in choices:
        yield from _unbraced(text[: found.start()] + choice + text[found.end() :])
