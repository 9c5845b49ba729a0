"""VATEX (arXiv:1904.03493), text-video retrieval with ten English captions a clip; its validation is the
test.

The splits of papers differ, and their lists could not be read; every store notes the split used here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, singularity
from workbench.data.annotations.reading import captions_of, entries, json_of, name_of
from workbench.data.digests import Digests
from workbench.data.index import Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "VATEX's videos and annotations"
TASKS = {"": ("caption_sets",)}
FILES = {"train": "vatex_training_v1.0*.json", "test": "vatex_validation_v1.0*.json"}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("InternVideo", tuple(FILES.values()), _rows),
            singularity("vatex_ret_train.json", "vatex_ret_test.json", "vatex_ret_val.json"),
        ),
        layout="videos/{}.mp4",
        protocol="the validation file is the test, every English caption a query",
    )
    return read(benchmark, source, digests)


def _rows(files: Files) -> Iterator[Row]:
    for split, name in FILES.items():
        path = files[name]
        for entry in entries(path, json_of(path), "videoID", "enCap"):
            for caption in captions_of(path, entry["enCap"]):
                yield Row(name_of(path, entry["videoID"]), caption, split)
