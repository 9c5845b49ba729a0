"""LSMDC (arXiv:1605.03705), text-video retrieval on its 1,000 public test clips.

Its files are named `.csv` and separated by tabs. A clip is a separate file; if it is missing but the whole
film exists, the segment is decoded from the film by the extracted times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row
from workbench.data.annotations.reading import caption_of, text_of
from workbench.data.annotations.tree import Tree
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "LSMDC's clips and annotations"
FILES = {
    "train": "LSMDC16_annos_training.csv",
    "val": "LSMDC16_annos_val.csv",
    "test": "LSMDC16_challenge_1000_publictect.csv",
}
COLUMNS = "clip_id, start_aligned, end_aligned, start_extracted, end_extracted and sentence"
_TIME = re.compile(r"(\d+)\.(\d+)\.(\d+)\.(\d+)")
"""Hours, minutes, seconds, milliseconds."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    assert source is not None, "SOURCE says so"
    tree = Tree.of(Path(source))
    benchmark = Benchmark(
        name=data.name,
        families=(Family("CLIP4Clip", tuple(FILES.values()), lambda files: _rows(files, tree)),),
        layout="videos/{}.avi",
        protocol="1,000 public test clips",
        published={"test clips": 1000},
        source="the protocol of CLIP4Clip, arXiv:2104.08860",
        pickles={"raw-captions.pkl": " and ".join(FILES.values())}
        | {f"lsmdc_retrieval_{split}.pkl": name for split, name in FILES.items()},
    )
    return read(benchmark, source, digests)


def _rows(files: Files, tree: Tree) -> Iterator[Row]:
    for split, name in FILES.items():
        yield from rows_of(files[name], split, tree)


def rows_of(path: Path, split: str, tree: Tree) -> Iterator[Row]:
    """Rows of one file, of clips, or of a film if only the film exists."""
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) != 6:
            if not line.strip():
                continue
            raise UserError(
                f"{path}, line {number} has {len(fields)} fields separated by tabs, not {COLUMNS}"
            )
        clip, *times, sentence = (one.strip() for one in fields)
        start, end = _seconds(path, number, times[2]), _seconds(path, number, times[3])
        caption = caption_of(path, sentence)
        fault = "" if end > start else f"it ends at {end:g} s and begins at {start:g} s"
        film = re.sub(r"_[\d.]+-[\d.]+$", "", clip)
        if not tree.places(clip) and tree.places(film):
            yield Row(film, caption, split, start, end, fault=fault)
        else:
            yield Row(clip, caption, split, fault=fault)


def _seconds(path: Path, number: int, text: str) -> float:
    found = _TIME.fullmatch(text)
    if found is None:
        raise UserError(f"{path}, line {number}: a time must be written like 00.12.34.567, not {text!r:.40}")
    hours, minutes, seconds, thousandths = found.groups()
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(thousandths) / 10 ** len(thousandths)
