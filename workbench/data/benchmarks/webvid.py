"""WebVid (arXiv:2104.00650), one caption for each clip, for pre-training; the val file is the test.

Captions keep their length, whereas Frozen truncates them at 350 characters; all clips of the val file are
used, whereas Frozen samples 1,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, simvtp, singularity, violet
from workbench.data.annotations.reading import caption_of, table_of
from workbench.data.digests import Digests
from workbench.data.index import Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "WebVid's clips and its lists"
FILES = {"train": "results_*_train*.csv", "test": "results_*_val*.csv"}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("Frozen", tuple(FILES.values()), _rows),
            singularity("webvid_train.json", "webvid_val.json"),
            violet("txt_webvid2.5m.json"),
            simvtp("train.json", "val.json"),
        ),
        layout="videos/{}.mp4",
        protocol="the val file is the test, whole captions",
    )
    return read(benchmark, source, digests)


def _rows(files: Files) -> Iterator[Row]:
    for split, name in FILES.items():
        yield from rows_of(files[name], split)


def rows_of(path: Path, split: str) -> Iterator[Row]:
    """Rows of one file; clips are at `videos/page_dir/videoid.mp4`."""
    for row in table_of(path, "videoid", "name", "page_dir"):
        yield Row(f"videos/{row['page_dir']}/{row['videoid']}.mp4", caption_of(path, row["name"]), split)
