"""Cached digests of files, so that a folder of videos is read once and not for every plan."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from workbench.tracking.files import write_atomic

NAME = "digests.json"
"""The file below the root of prepared data."""
CHUNK = 1 << 20
SETTLED = 2_000_000_000
"""Nanoseconds since the last change after which a digest is cached. Some file systems store times in steps of
two seconds, so a second change shortly after the first would not be noticed."""


class Digests:
    """Digests of files by path, size and time of change, cached in a file if one is given.

    A missing, damaged or unreadable cache counts as empty; failures to write it are ignored. Processes that
    write it at the same time replace it as a whole: at worst some videos are read again.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, Any] | None = None
        self._new: dict[str, list[Any]] = {}

    @property
    def folder(self) -> Path | None:
        """The root of prepared data, which also contains other cached properties of files."""
        return self._file.parent if self._file is not None else None

    def of(self, path: Path) -> list[int | str]:
        """Size in bytes and SHA-256 of the first and last MiB: enough to notice a change, quick if large.

        `["unreadable"]` where there is no such file or it cannot be read; decoding names the reason.
        """
        try:
            if not path.is_file():
                return ["unreadable"]  # opening a pipe would block
            state = path.stat()
            name, seen = str(path.absolute()), [state.st_size, state.st_mtime_ns]
            match self._remembered(path):
                case [size, changed, str(digest)] if [size, changed] == seen:
                    return [state.st_size, digest]
            digest = content(path, state.st_size)
        except OSError:
            return ["unreadable"]
        if time.time_ns() - state.st_mtime_ns > SETTLED:
            self._new[name] = [*seen, digest]
        return [state.st_size, digest]

    def size(self, path: Path) -> int:
        """Size of a file in bytes, from the cache or the file system; -1 if there is none."""
        match self._remembered(path):
            case [int(size), _, _]:
                return size
        try:
            return path.stat().st_size
        except OSError:
            return -1

    def known(self, path: Path) -> str:
        """SHA-256 (see `of`) of a file, from the cache or computed; empty if it cannot be read."""
        match self._remembered(path):
            case [_, _, str(digest)]:
                return digest
        _, *digests = self.of(path)
        return str(digests[0]) if digests else ""

    def _remembered(self, path: Path) -> Any:
        if self._known is None:
            self._known = _read(self._file)
        name = str(path.absolute())
        return self._new.get(name) or self._known.get(name)

    def keep(self) -> None:
        """Adds new digests to those that the file contains by now."""
        if self._file is None or not self._new:
            return
        with contextlib.suppress(OSError):  # without the cache the files are only read again
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._file, json.dumps({"files": _read(self._file) | self._new}) + "\n")


def content(path: Path, size: int) -> str:
    """SHA-256 of the first and last MiB of a file of `size` bytes, in hexadecimal digits."""
    with open(path, "rb") as stream:
        sha = hashlib.sha256(stream.read(CHUNK))
        stream.seek(max(0, size - CHUNK))
        sha.update(stream.read(CHUNK))
    return sha.hexdigest()


def edges(content: bytes) -> bytes:
    """The bytes of a whole file that `content` hashes."""
    return content[:CHUNK] + content[-CHUNK:]


def _read(file: Path | None) -> dict[str, Any]:
    """Path -> size, time of change, digest; each is looked at only when it is used."""
    if file is None:
        return {}
    try:
        files = json.loads(file.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}
