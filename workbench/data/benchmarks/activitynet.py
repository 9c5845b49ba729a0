"""ActivityNet Captions (arXiv:1705.00754), paragraph retrieval: the query is all sentences of a video.

The test split is `val_1`, as is usual, so val is taken out of train. `activitynet-moments` makes each
sentence a clip of its own, decoded from its start to its end. `activitynet-grounding` is temporal grounding
of each sentence in its whole video.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, clipbert, moment, singularity, violet
from workbench.data.annotations.reading import captions_of, json_of, names_of, objects, seconds_of
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["PROTOCOLS", "SOURCE", "index", "videos"]

SOURCE = "ActivityNet's videos and caption annotations"
PROTOCOLS = {
    "": "paragraph retrieval on val_1, all sentences of a video together",
    "moments": "each sentence of val_1 a query for its own segment of a video",
    "grounding": "each sentence of val_1 a query for its times in a whole video",
}
TASKS = {"grounding": ("grounding",)}
FILES = {"train": "train.json", "test": "val_1.json"}
IDS = {"train": "train_ids.json", "test": "val_ids.json"}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    protocol = data.name.partition("-")[2]
    others = (
        singularity("anet_ret_train.json", "anet_ret_val_1.json", paragraph=True),
        violet("txt_activitynet-retrieval.json", paragraph=True),
        clipbert("anet", paragraph=True),
    )
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family(
                "CLIP4Clip", tuple(FILES.values()), lambda files: _rows(files, protocol), tuple(IDS.values())
            ),
            *(() if protocol else others),
        ),
        layout="videos/{}.mp4",
        protocol=PROTOCOLS[protocol],
        published={} if protocol == "moments" else {"train clips": 10_009, "test clips": 4917},
        source="the lists of collaborative-experts",
    )
    return read(benchmark, source, digests)


def _rows(files: Files, protocol: str) -> Iterator[Row]:
    for split, name in FILES.items():
        ids = files.get(IDS[split])
        yield from rows_of(files[name], split, set(names_of(ids)) if ids else None, protocol)


def rows_of(path: Path, split: str, listed: set[str] | None = None, protocol: str = "") -> Iterator[Row]:
    """Rows of one file; listed: the videos to keep, with or without their `v_`; None for all. Names keep
    their `v_`.

    protocol: see `PROTOCOLS`.
    """
    for video, entry in objects(path, json_of(path), dict):
        if not {"duration", "timestamps", "sentences"} <= set(entry):
            raise UserError(f"{path}: {video!r} must have duration, timestamps and sentences")
        if listed is not None and not listed & {video, video.removeprefix("v_")}:
            continue
        length = seconds_of(path, entry["duration"])
        if not protocol:
            (caption,) = captions_of(path, entry["sentences"], paragraph=True)
            yield Row(video, caption, split, end=length)
            continue
        captions, times = captions_of(path, entry["sentences"]), entry["timestamps"]
        if not isinstance(times, list) or len(times) != len(captions):
            raise UserError(f"{path}: {video!r} must have times for each of its {len(captions)} sentences")
        for caption, pair in zip(captions, times, strict=True):
            if not isinstance(pair, list) or len(pair) != 2:
                raise UserError(f"{path}: {video!r} has times that are not a pair of seconds: {pair!r:.60}")
            start, end = (seconds_of(path, one) for one in pair)
            found = moment(video, caption, split, start, end, length)
            if protocol == "moments":
                found = found._replace(start=start, end=min(end, length), known={})
            yield found
