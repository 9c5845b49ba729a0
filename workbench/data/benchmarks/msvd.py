"""MSVD (ACL 2011), text-video retrieval with about forty captions a clip: 1,200, 100 and 670 clips.

Two conventions are in use for video-to-text, and both are measured. `v2t_r5` ranks a clip's best caption
among all captions; `sets_v2t_r5` of the task `caption_sets` ranks the set of captions of each clip by the
best of them. For text-to-video every caption is a query in both (frozen-in-time#48, #53).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, singularity, violet
from workbench.data.annotations.reading import caption_of, json_of, lines_of, objects
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "MSVD's videos and annotations"
TASKS = {"": ("caption_sets",)}
CAPTIONS = "captions_msvd.json"
LISTS = {split: f"{split}_list.txt" for split in ("train", "val", "test")}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("CLIP4Clip", (*LISTS.values(), CAPTIONS), _rows),
            singularity("msvd_ret_train.json", "msvd_ret_test.json", "msvd_ret_val.json"),
            violet("txt_msvd-retrieval.json"),
        ),
        near={"AllVideoDescriptions.txt|*video_descriptions.csv": "has captions without splits"},
        layout="videos/{}.avi",
        protocol="every caption of a test clip a query; sets_v2t_* has the other convention of video-to-text",
        published={"train clips": 1200, "val clips": 100, "test clips": 670, "test captions": 27_763},
        source="the lists of collaborative-experts, captions as Clover counts them",
        pickles={"raw-captions.pkl": CAPTIONS},
    )
    return read(benchmark, source, digests)


def _rows(files: Files) -> Iterator[Row]:
    path = files[CAPTIONS]
    captions = dict(objects(path, json_of(path), list))
    for split, name in LISTS.items():
        for video in lines_of(files[name]):
            if video not in captions:
                raise UserError(f"{files[name]} names {video!r}, of which {path} has no caption")
            for caption in captions[video]:  # each a text, or a list of words
                yield Row(video, caption_of(path, caption), split)
