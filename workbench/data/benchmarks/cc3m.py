"""Conceptual Captions (ACL 2018), one caption an image, for pre-training; the validation file is the test.

An image's file is named by the CRC-32 of its address, as Frozen stores it (arXiv:2104.00650).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row
from workbench.data.annotations.reading import caption_of, lines_of, table_of
from workbench.data.digests import Digests
from workbench.data.index import PICTURES, Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "CC3M's images and its lists"
TABLES = {"train": "Train_GCC-training*.csv", "test": "Validation_GCC*.csv|Validation_*.csv"}
PLAIN = {"train": "Train_GCC-training*.tsv", "test": "Validation_GCC*.tsv"}
FOLDERS = {"train": "training", "test": "validation"}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        kinds=PICTURES,
        families=(
            Family("Frozen", tuple(TABLES.values()), _tables),
            Family("Conceptual Captions", tuple(PLAIN.values()), _plain),
        ),
        layout="training/{}",
        protocol="the validation file is the test",
    )
    return read(benchmark, source, digests)


def file_of(url: str) -> str:
    """File name of the image at an address."""
    return str(zlib.crc32(url.encode("utf-8")))


def _tables(files: Files) -> Iterator[Row]:
    for split, name in TABLES.items():
        for row in table_of(files[name], "caption", "thumbnailUrl"):
            yield _row(files[name], row["thumbnailUrl"], row["caption"], split)


def _plain(files: Files) -> Iterator[Row]:
    """Lines `caption TAB address`, without a header."""
    for split, name in PLAIN.items():
        for number, line in enumerate(lines_of(files[name]), start=1):
            caption, tab, url = line.partition("\t")
            if not tab:
                raise UserError(f"{files[name]}, line {number} must be a caption, a tab and an address")
            yield _row(files[name], url, caption, split)


def _row(path: Path, url: str, caption: str, split: str) -> Row:
    return Row(f"{FOLDERS[split]}/{file_of(url)}", caption_of(path, caption), split)
