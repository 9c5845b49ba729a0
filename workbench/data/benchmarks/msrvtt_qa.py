"""MSRVTT-QA (ACM Multimedia 2017, Xu et al.), open-ended question answering about the videos of MSR-VTT.

Questions were generated from captions, and nearly every answer is one word. Each question with its answer is
a caption of its video for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, answered, question
from workbench.data.annotations.reading import entries, json_of
from workbench.data.digests import Digests
from workbench.data.index import Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "MSR-VTT's videos and the questions of MSRVTT-QA"
TASKS = {"": ("video_qa",)}
FILES = {split: f"{split}_qa.json" for split in ("train", "val", "test")}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(Family("MSRVTT-QA", tuple(FILES.values()), _rows), answered("msrvtt_qa")),
        layout="videos/all/{}.mp4",
        protocol="every question of a test video, answered in words; a caption is a question with its answer",
    )
    return read(benchmark, source, digests)


def _rows(files: Files) -> Iterator[Row]:
    for split, name in FILES.items():
        path = files[name]
        for entry in entries(path, json_of(path), "video_id", "question", "answer", "category_id"):
            yield question(path, f"video{entry['video_id']}", split, entry["question"], entry["answer"])
