"""Cached rows, one for each run, of values from some of its files, beside the runs of a study.

`runs/STUDY/.NAME.parquet` holds most rows; those that came since are lines of `.NAME.tail.jsonl`, so that a
run that ends costs one line. A row carries the times, sizes and file numbers of the files that it was read
from, and counts only while these are what they were.
"""

from __future__ import annotations

import base64
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from workbench.tracking.files import try_lock, write_atomic

WORTH_KEEPING = 64
"""Number of rows from which a reader caches what it has read; fewer are quickly read again."""
TAIL = 1 << 16
"""Bytes of a tail; with an eighth of the other file on top, more are joined with it."""
_LOCK = ".kept.lock"
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK
"""A link might lead anywhere, and nobody may ever read what is written into a pipe."""

Signature = tuple[int, ...]
"""Time (ns), size and number of each file; zeros for one that is not there."""


class RowFile:
    """Rows of one kind. `schema` is what a row holds besides its run and its signature."""

    def __init__(self, folder: Path, name: str, version: int, schema: Mapping[str, pl.DataType]) -> None:
        self._folder, self._version = folder, version
        self._whole, self._tail = folder / f".{name}.parquet", folder / f".{name}.tail.jsonl"
        head = {"version": pl.Int64(), "run": pl.String(), "signature": pl.List(pl.Int64())}
        self.schema: dict[str, pl.DataType] = head | dict(schema)

    def read(self) -> pl.DataFrame:
        """All rows, one a run, the newest of each; empty where there are none that can be read.

        Columns: version, run, signature, and those of the schema.
        """
        tail = self._lines()
        if self._is_long(_size(self._tail)):
            self._join(tail)
            tail = self._lines()
        return _newest(self._load(), tail)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps rows, each with its run, its signature and the columns of the schema.

        Where one may only read, or the disk is full, nothing is kept. Nobody waits for what can be read
        again: what another process writes at the same moment may be lost. A single row, as of a run that
        ends, is added without polars, whose threads do not survive a fork, from which workers come.
        """
        lines = b"".join(self._line(row) for row in rows)
        if len(rows) > 1 and self._is_long(len(lines)):
            self._join(self.frame(rows))
        elif lines:
            with suppress(OSError):
                _append(self._tail, lines)

    def frame(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """Rows as `read` returns them."""
        return pl.DataFrame([{"version": self._version, **row} for row in rows], schema=self.schema)

    def none(self) -> pl.DataFrame:
        """The columns without a row."""
        return pl.DataFrame(schema=self.schema)

    def _is_long(self, size: int) -> bool:
        return size > TAIL + _size(self._whole) // 8

    def _join(self, new: pl.DataFrame) -> None:
        """All rows in one file, without those of runs that are gone."""
        with suppress(OSError):
            if (lock := try_lock(self._folder / _LOCK)) is None:
                return
            with lock:
                rows = _newest(_newest(self._load(), self._lines()), new)
                there = [name for name in rows["run"] if os.path.isdir(f"{self._folder}/{name}")]
                write_atomic(self._whole, parquet_of(rows.filter(pl.col("run").is_in(there))))
                self._tail.unlink(missing_ok=True)

    def _load(self) -> pl.DataFrame:
        rows = read_parquet(self._whole)
        if rows is None or rows.schema != pl.Schema(self.schema):
            return self.none()
        return rows.filter(pl.col("version") == self._version, pl.col("run").is_not_null())

    def _lines(self) -> pl.DataFrame:
        try:
            rows = {row["run"]: row for row in self._parsed(content_of(self._tail))}
            return pl.DataFrame(list(rows.values()), schema=self.schema)
        except (OSError, TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            return self.none()

    def _parsed(self, content: bytes) -> Iterator[dict[str, Any]]:
        """The lines that are whole and of this version."""
        for line in content.splitlines():
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict) and row.keys() == self.schema.keys():
                    for name, kind in self.schema.items():
                        if kind == pl.Binary():
                            row[name] = base64.b64decode(row[name], validate=True)
                    if row["version"] == self._version and isinstance(row["run"], str):
                        yield row

    def _line(self, row: Mapping[str, Any]) -> bytes:
        plain = {"version": self._version} | dict(row)
        for name, value in plain.items():
            if isinstance(value, bytes):
                plain[name] = base64.b64encode(value).decode()
        return json.dumps(plain).encode() + b"\n"


def _newest(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    if before.is_empty() or after.is_empty():
        return after if before.is_empty() else before
    return pl.concat([before.join(after, on="run", how="anti", maintain_order="left"), after])


def _append(path: Path, lines: bytes) -> None:
    """In one write, so that lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | _PLAIN, 0o666)
    try:
        os.write(fd, lines)
    finally:
        os.close(fd)


def content_of(path: Path) -> bytes:
    """The content of a plain file. Raises `OSError` if there is none."""
    if not stat.S_ISREG(path.lstat().st_mode):  # a link might lead anywhere
        raise FileNotFoundError(f"{path} is not a file")
    return path.read_bytes()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def read_parquet(path: Path) -> pl.DataFrame | None:
    """None for a file that is missing or damaged. It is read whole before it is unpacked, so that one that is
    replaced meanwhile does no harm."""
    try:
        return pl.read_parquet(io.BytesIO(content_of(path)))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def parquet_of(rows: pl.DataFrame) -> bytes:
    """The content of such a file."""
    out = io.BytesIO()
    rows.write_parquet(out, compression="zstd")
    return out.getvalue()


def signature(folder: str, names: Sequence[str]) -> Signature:
    """That of some files of a run directory; taken before they are read."""
    found: list[int] = []
    for name in names:
        try:
            seen = os.stat(f"{folder}/{name}")
        except FileNotFoundError:
            found += (0, 0, 0)
        else:
            found += (seen.st_mtime_ns, seen.st_size, seen.st_ino)
    return tuple(found)


def plain_signature(folder: str, name: str) -> Signature | None:
    """That of one file; None where it or its directory is missing or a link, of which nothing is kept."""
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return None
        seen = os.lstat(f"{folder}/{name}")
    except (OSError, ValueError):  # a name with a NUL
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino) if stat.S_ISREG(seen.st_mode) else None
