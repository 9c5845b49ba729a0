"""DiDeMo (arXiv:1708.01641), paragraph retrieval: all sentences of a video are the query for its first
30 seconds.

Longer videos were cut to 30 seconds when they were annotated. `didemo-moments` makes each sentence a clip of
its own, decoded from its start to its end: times count chunks of 5 seconds, and annotators are averaged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, clipbert, singularity, violet
from workbench.data.annotations.reading import caption_of, entries, json_of, lines_of, name_of
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["PROTOCOLS", "SOURCE", "index", "videos"]

SOURCE = "DiDeMo's videos and annotations"
PROTOCOLS = {
    "": "paragraph retrieval, all sentences of a video together, its first 30 seconds",
    "moments": "each sentence a query for its own segment of a video",
}
CHUNK = 5.0
"""Seconds of a step of `times`."""
ANNOTATED = 30.0
"""Length of a video that annotators saw, in seconds."""
SPLITS = ("train", "val", "test")


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    moments = data.name.endswith("-moments")
    files = tuple(f"{split}_data.json" for split in SPLITS)
    lists = tuple(f"{split}_list.txt" for split in SPLITS)
    others = (
        singularity("didemo_ret_train.json", "didemo_ret_test.json", "didemo_ret_val.json", paragraph=True),
        violet("txt_didemo-retrieval.json", paragraph=True),
        clipbert("didemo", paragraph=True),
    )
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("LocalizingMoments", files, lambda found: _rows(found, moments), lists),
            *(() if moments else map(_of_annotated, others)),
        ),
        layout="videos/{}.mp4",
        protocol=PROTOCOLS["moments" if moments else ""],
        published={} if moments else {"train clips": 8392, "val clips": 1065, "test clips": 1004},
        source="the lists of collaborative-experts",
        pickles={f"didemo_retrieval_{split}.pkl": f"{split}_data.json" for split in SPLITS}
        | {f"{split}_new.pkl": f"{split}_data.json" for split in SPLITS},
    )
    return read(benchmark, source, digests)


def _of_annotated(family: Family) -> Family:
    """A family whose files contain no lengths; videos are cut to the length that annotators saw."""

    def read(files: Files) -> Iterator[Row]:
        return (row._replace(end=ANNOTATED) for row in family.read(files))

    return replace(family, read=read)


def _rows(files: Files, moments: bool) -> Iterator[Row]:
    for split in SPLITS:
        path = files[f"{split}_data.json"]
        listed = files.get(f"{split}_list.txt")
        yield from rows_of(path, split, set(lines_of(listed)) if listed else None, moments=moments)


def rows_of(
    path: Path, split: str, listed: set[str] | None = None, *, moments: bool = False
) -> Iterator[Row]:
    """Rows of one file; listed: the videos to keep, None for all."""
    sentences: dict[str, list[str]] = defaultdict(list)
    for entry in entries(path, json_of(path), "video", "description", "times", "num_segments"):
        video, caption = name_of(path, entry["video"]), caption_of(path, entry["description"])
        if listed is not None and video not in listed:
            continue
        if moments:
            start, end, fault = _segment(path, entry)
            yield Row(video, caption, split, start, end, fault=fault)
        else:
            sentences[video].append(caption)
    for video, said in sentences.items():
        yield Row(video, " ".join(filter(None, said)), split, end=ANNOTATED)


def _segment(path: Path, entry: dict[str, Any] | Any) -> tuple[float, float, str]:
    """Mean start and end of the annotators in seconds, and why the segment is invalid."""
    times = entry["times"]
    if not isinstance(times, list) or not times or not all(_pair(pair) for pair in times):
        raise UserError(f"{path}: times must be pairs of whole chunks, not {times!r:.60}")
    start = fmean(pair[0] for pair in times) * CHUNK
    end = (fmean(pair[1] for pair in times) + 1) * CHUNK
    if type(entry["num_segments"]) is not int:
        raise UserError(f"{path}: num_segments must be a whole number, not {entry['num_segments']!r:.60}")
    most = entry["num_segments"] * CHUNK
    if start < 0 or end <= start or end > most:
        return 0.0, 0.0, f"a segment from {start:g} to {end:g} s lies outside its {most:g} s"
    return start, end, ""


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value)
