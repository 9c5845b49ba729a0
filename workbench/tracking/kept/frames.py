"""The run table as it was built last: building it of thousands of rows takes a second."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import polars as pl

from workbench.tracking.files import write_atomic
from workbench.tracking.kept import rows
from workbench.tracking.kept.rows import Signature, parquet_of, read_parquet

_DIGEST = "built from"
"""Column: digest of the rows that the table was built from."""


class FrameFile:
    """`runs/STUDY/.NAME.parquet`: one typed table, which counts for the very rows that it was built from.

    version: of the code that builds it.
    """

    def __init__(self, folder: Path, name: str, version: int) -> None:
        self._path, self._version = folder / f".{name}.parquet", version

    def read(self, signatures: Iterable[tuple[str, Signature]]) -> pl.DataFrame | None:
        """The table of these rows, given as names of runs with their signatures in the order of the table;
        None where another one is kept, or none."""
        frame = read_parquet(self._path)
        if frame is None or _DIGEST not in frame.columns or frame.is_empty():
            return None
        return frame.drop(_DIGEST) if frame[_DIGEST][0] == self._digest(signatures) else None

    def write(self, signatures: Iterable[tuple[str, Signature]], frame: pl.DataFrame) -> None:
        """Keeps a table of many rows; nothing where one may only read, or the disk is full."""
        if frame.height < rows.WORTH_KEEPING:
            return
        with suppress(OSError):
            write_atomic(
                self._path, parquet_of(frame.with_columns(pl.lit(self._digest(signatures)).alias(_DIGEST)))
            )

    def _digest(self, signatures: Iterable[tuple[str, Signature]]) -> str:
        found = hashlib.blake2b(f"{self._version}\n".encode(), digest_size=16)
        for run, signature in signatures:
            found.update(f"{run} {signature}\n".encode())
        return found.hexdigest()
