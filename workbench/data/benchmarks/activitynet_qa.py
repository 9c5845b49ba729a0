"""ActivityNet-QA (arXiv:1906.02467), open-ended question answering about long videos of ActivityNet.

Questions and answers were written by people and are in separate files; an answer may have several words and
must match as a whole. Each question with its answer is a caption of its video for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, answered, question
from workbench.data.annotations.reading import entries, json_of, name_of
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "ActivityNet's videos and the questions of ActivityNet-QA"
TASKS = {"": ("video_qa",)}
SPLITS = ("train", "val", "test")
FILES = tuple(f"{split}_{what}.json" for split in SPLITS for what in "qa")


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(Family("ActivityNet-QA", FILES, _rows), answered("anet_qa")),
        layout="videos/{}.mp4",
        protocol="every question of a test video, answered in words; a caption is a question with its answer",
        published={
            "train clips": 3200,
            "train captions": 32_000,
            "val clips": 1800,
            "val captions": 18_000,
            "test clips": 800,
            "test captions": 8000,
        },
        source="its repository",
    )
    return read(benchmark, source, digests)


def _rows(files: Files) -> Iterator[Row]:
    for split in SPLITS:
        asked, answers = (files[f"{split}_{what}.json"] for what in "qa")
        given = {
            name_of(answers, one["question_id"], "a question"): one["answer"]
            for one in entries(answers, json_of(answers), "question_id", "answer")
        }
        for entry in entries(asked, json_of(asked), "video_name", "question", "question_id"):
            number = name_of(asked, entry["question_id"], "a question")
            if number not in given:
                raise UserError(f"{asked} asks {number!r}, of which {answers} has no answer")
            video = f"v_{name_of(asked, entry['video_name']).removeprefix('v_')}"
            yield question(asked, video, split, entry["question"], given[number])
