"""MSVD-QA (ACM Multimedia 2017, Xu et al.), open-ended question answering about the videos of MSVD.

Videos have numbers in its files and other names at their source; `youtube_mapping.txt` maps them. Each
question with its answer is a caption of its video for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, answered, question
from workbench.data.annotations.reading import entries, json_of, lines_of
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "MSVD's videos and the questions of MSVD-QA"
TASKS = {"": ("video_qa",)}
FILES = {split: f"{split}_qa.json" for split in ("train", "val", "test")}
NAMES = "youtube_mapping.txt"


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(Family("MSVD-QA", (*FILES.values(), NAMES), _rows), answered("msvd_qa")),
        layout="videos/{}.avi",
        protocol="every question of a test video, answered in words; a caption is a question with its answer",
    )
    return read(benchmark, source, digests)


def _rows(files: Files) -> Iterator[Row]:
    names: dict[str, str] = {}
    for number, line in enumerate(lines_of(files[NAMES]), 1):
        if len(parts := line.split()) != 2:
            raise UserError(f"{files[NAMES]}, line {number} must be `VIDEO vidNUMBER`")
        names[parts[1]] = parts[0]
    for split, file in FILES.items():
        path = files[file]
        for entry in entries(path, json_of(path), "video_id", "question", "answer"):
            own = f"vid{entry['video_id']}"
            if own not in names:
                raise UserError(f"{path} names {own!r}, of which {files[NAMES]} has no name")
            yield question(path, names[own], split, entry["question"], entry["answer"])
