"""Flickr8k (JAIR 2013), image-text retrieval with five captions an image: 6,000, 1,000 and 1,000 images.

Kaggle's copy has one file `captions.txt` without splits; a tenth each of it becomes val and test by a hash
of the names, which is not the benchmark's split and is said.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, karpathy
from workbench.data.annotations.reading import caption_of, lines_of, table_of
from workbench.data.digests import Digests
from workbench.data.index import PICTURES, Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "Flickr8k's images and captions"
TASKS = {"": ("caption_sets",)}
TOKENS, TABLE = "Flickr8k.token.txt", "captions.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        kinds=PICTURES,
        families=(
            Family("Flickr8k_text", (TOKENS, *LISTS.values()), _listed),
            karpathy("dataset_flickr8k.json"),
            Family("Kaggle, split by a hash of the names", (TABLE,), _hashed),
        ),
        layout="Images/{}.jpg",
        protocol="every caption of a test image a query",
        published={"train clips": 6000, "val clips": 1000, "test clips": 1000},
        source="the lists of Flickr8k_text",
    )
    return read(benchmark, source, digests)


def _listed(files: Files) -> Iterator[Row]:
    captions: dict[str, list[str]] = {}
    for picture, caption in tokens_of(files[TOKENS]):
        captions.setdefault(picture, []).append(caption)
    for split, name in LISTS.items():
        for picture in lines_of(files[name]):
            if picture not in captions:
                raise UserError(f"{files[name]} names {picture!r}, of which {files[TOKENS]} has no caption")
            yield from (Row(picture, caption, split) for caption in captions[picture])


def tokens_of(path: Path) -> Iterator[tuple[str, str]]:
    """Image and caption of each line `image#number TAB caption`.

    One image of the published file is called `NAME.jpg.1` there and `NAME.jpg` everywhere else.
    """
    for number, line in enumerate(lines_of(path), start=1):
        picture, tab, caption = line.partition("\t")
        if not tab or "#" not in picture:
            raise UserError(f"{path}, line {number} must be image#0, a tab and a caption, not {line!r:.60}")
        name = picture.rpartition("#")[0]
        yield re.sub(r"(\.jpg)\.\d+$", r"\1", name), caption_of(path, caption)


def _hashed(files: Files) -> Iterator[Row]:
    rows = list(table_of(files[TABLE], "image", "caption"))
    pictures = sorted({row["image"] for row in rows}, key=_rank)
    if len(pictures) < 4:
        raise UserError(
            f"{files[TABLE]} names {len(pictures)} images, too few to split; at least 4 are needed"
        )
    share = max(1, len(pictures) // 10)
    held_out = dict.fromkeys(pictures[:share], "test") | dict.fromkeys(pictures[share : 2 * share], "val")
    for row in rows:
        caption = caption_of(files[TABLE], row["caption"])
        yield Row(row["image"], caption, held_out.get(row["image"], "train"))


def _rank(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
