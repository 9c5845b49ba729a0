"""The cached run table, because building it from thousands of rows takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from workbench.tracking.cache import rows
from workbench.tracking.cache.rows import Signature, parquet_of, read_parquet
from workbench.tracking.files import write_atomic

_HEAD: dict[str, pl.DataType] = {
    "built: version": pl.Int64(), "built: run": pl.String(), "built: signature": pl.List(pl.Int64()),
    "built: fields": pl.String(),
}  # fmt: skip


class Source(NamedTuple):
    """The source of a row of the table."""

    signature: Signature
    fields: str
    """Digest of its fields and their types, on which the columns of the table hang."""


class FrameFile:
    """`runs/STUDY/.NAME.parquet`: one table with the sources of its rows.

    version: of the code that builds it.
    """

    def __init__(self, folder: Path, name: str, version: int) -> None:
        self._path, self._version = folder / f".{name}.parquet", version

    def read(self) -> tuple[pl.DataFrame | None, dict[str, Source]]:
        """The table, and run directory -> source of its row; None where none is kept that can be read."""
        found = read_parquet(self._path)
        if found is None or {name: found.schema.get(name) for name in _HEAD} != _HEAD:
            return None, {}
        heads = found.select(*_HEAD).drop_nulls().filter(pl.col("built: version") == self._version)
        sources = {run: Source(tuple(seen), fields) for _, run, seen, fields in heads.iter_rows()}
        return (found.drop(*_HEAD), sources) if len(sources) == found.height else (None, {})

    def write(self, frame: pl.DataFrame, sources: Mapping[str, Source]) -> None:
        """Keeps a table of many rows; sources: in their order. Nothing is kept where one may only read, or
        the disk is full."""
        if frame.height < rows.WORTH_KEEPING:
            return
        heads = [
            (self._version, run, list(source.signature), source.fields) for run, source in sources.items()
        ]
        head = pl.DataFrame(heads, schema=_HEAD, orient="row")
        with suppress(OSError):
            write_atomic(self._path, parquet_of(pl.concat([head, frame], how="horizontal")))
