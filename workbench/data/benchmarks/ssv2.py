"""Something-Something v2 (arXiv:1706.04261) for retrieval, as Singularity does (arXiv:2206.03428): the label
of a clip, or for `ssv2-template` its template, is searched.

Several clips have one text. In an evaluation each text is one query, and the best-ranked of its clips
counts. A training batch may contain a text twice; each then counts as a negative of the other's clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, singularity
from workbench.data.annotations.reading import caption_of, entries, json_of, name_of
from workbench.data.digests import Digests
from workbench.data.index import Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["PROTOCOLS", "SOURCE", "index", "videos"]

SOURCE = "Something-Something v2's clips and annotations"
PROTOCOLS = {
    "": "a clip's label is searched, the best-ranked of the clips with one label counts",
    "template": "a clip's template is searched, the best-ranked of the clips with one template counts",
}
FILES = {"train": "something-something-v2-train.json", "test": "something-something-v2-validation.json"}
LABELS = {"train": "train.json", "test": "validation.json"}
"""The files of Qualcomm's release, in the folder `labels`."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    protocol = data.name.partition("-")[2]
    text = protocol or "label"
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("Something-Something", tuple(FILES.values()), lambda files: _rows(files, FILES, text)),
            Family("Qualcomm", tuple(LABELS.values()), lambda files: _rows(files, LABELS, text)),
            singularity(f"ssv2_ret_{text}_train.json", f"ssv2_ret_{text}_val_small.json"),
        ),
        layout="videos/{}.webm",
        protocol=PROTOCOLS[protocol],
        published={"train clips": 168_913, "test clips": 24_777},
        source="the data set's own files; Singularity tests on fewer",
        shared=True,
    )
    return read(benchmark, source, digests)


def _rows(files: Files, names: Mapping[str, str], text: str) -> Iterator[Row]:
    """A clip's class is its template. names: split -> pattern."""
    for split, name in names.items():
        path = files[name]
        for entry in entries(path, json_of(path), "id", "label", "template"):
            template = re.sub(r"[\[\]]", "", caption_of(path, entry["template"]))
            caption = template if text == "template" else caption_of(path, entry["label"])
            yield Row(name_of(path, entry["id"]), caption, split, label=template)
