"""Charades-STA (arXiv:1705.02101), temporal grounding: each sentence is a query for its times in a whole
video.

Lines of the published files give start and end in seconds; the lengths of videos are in the tables of
Charades itself. Every sentence is also a caption of its whole video, for training and retrieval. Val is taken
out of train.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, moment
from workbench.data.annotations.reading import (
    caption_of,
    entries,
    json_lines_of,
    lines_of,
    name_of,
    seconds_of,
    table_of,
)
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "Charades's videos and the sentences of Charades-STA"
TASKS = {"": ("grounding",)}
SENTENCES = {"train": "charades_sta_train.txt", "test": "charades_sta_test.txt"}
LENGTHS = {"train": "Charades_v1_train.csv", "test": "Charades_v1_test.csv"}
WINDOWS = {split: f"*charades*{split}*.jsonl" for split in SENTENCES}
LINE = re.compile(r"(?P<video>\S+) (?P<start>\d+(\.\d+)?) (?P<end>\d+(\.\d+)?)##(?P<words>.+)")


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("TALL", (*SENTENCES.values(), *LENGTHS.values()), _of_lines),
            Family("Moment-DETR", tuple(WINDOWS.values()), _of_windows),
        ),
        layout="videos/{}.mp4",
        protocol="each sentence a query for its times in a whole video",
    )
    return read(benchmark, source, digests)


def _of_lines(files: Files) -> Iterator[Row]:
    for split, name in SENTENCES.items():
        table = files[LENGTHS[split]]
        lengths = {row["id"]: _seconds(table, row["length"]) for row in table_of(table, "id", "length")}
        for number, line in enumerate(lines_of(files[name]), 1):
            if (said := LINE.fullmatch(line)) is None:
                raise UserError(f"{files[name]}, line {number} must be `VIDEO START END##SENTENCE`")
            if said["video"] not in lengths:
                raise UserError(f"{files[name]} names {said['video']!r}, whose length {table} does not have")
            words = caption_of(files[name], said["words"])
            length = lengths[said["video"]]
            yield moment(said["video"], words, split, float(said["start"]), float(said["end"]), length)


def _of_windows(files: Files) -> Iterator[Row]:
    """Lines of `{vid, query, duration, relevant_windows}`; the first window is the answer."""
    for split, name in WINDOWS.items():
        path = files[name]
        for entry in entries(path, json_lines_of(path), "vid", "query", "duration", "relevant_windows"):
            windows = entry["relevant_windows"]
            if not isinstance(windows, list) or not windows or not isinstance(windows[0], list):
                raise UserError(f"{path}: relevant_windows must be pairs of seconds, not {windows!r:.60}")
            if len(windows[0]) != 2:
                raise UserError(f"{path}: relevant_windows must be pairs of seconds, not {windows!r:.60}")
            start, end = (seconds_of(path, one) for one in windows[0])
            words = caption_of(path, entry["query"])
            yield moment(
                name_of(path, entry["vid"]), words, split, start, end, seconds_of(path, entry["duration"])
            )


def _seconds(path: Path, text: str) -> float:
    try:
        return seconds_of(path, float(text))
    except ValueError:
        raise UserError(f"{path}: a length must be a number of seconds, not {text!r:.60}") from None
