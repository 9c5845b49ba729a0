"""MSR-VTT (CVPR 2016), text-video retrieval: the 1kA split with 9,000 or 7,010 training videos, or the full
split.

1kA has 1,000 test videos with one fixed caption each (JSFusion's choice, arXiv:1808.02559), and the file
that calls itself its val list holds the same videos, so val is taken out of train. The 7,010 training videos
are train and val of the full split; lists called `*_list_miech.txt` are another split with another test, and
are not read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, clipbert, simvtp, singularity, violet
from workbench.data.annotations.reading import caption_of, entries, json_of, lines_of, name_of, table_of
from workbench.data.digests import Digests
from workbench.data.index import Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["PROTOCOLS", "SOURCE", "index", "videos"]

SOURCE = "MSR-VTT's videos and annotations"
PROTOCOLS = {
    "": "1kA, 9,000 training videos of which some are val, test of 1,000 videos with one caption each",
    "7k": "1kA, 7,010 training videos of which some are val, test of 1,000 videos with one caption each",
    "full": "the full split, every caption of a test video a query",
}
TASKS = {"full": ("caption_sets",)}
CHALLENGE = ("train_val_videodatainfo.json", "test_videodatainfo.json")
"""The files of the MSR-VTT challenge, which make up the data set."""
TEST, CAPTIONS = "MSRVTT_JSFUSION_test.csv", "MSRVTT_data.json|MSR_VTT.json"
PICKLES = {
    "jsfusion_val_caption_idx.pkl": TEST,
    "train_Retri_9k_anno_new.pkl": f"MSRVTT_train.9k.csv with {CAPTIONS.replace('|', ' or ')}",
    "test_Retri_1k_anno_new.pkl": TEST,
}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    protocol = data.name.partition("-")[2]
    families = _full() if protocol == "full" else _one_caption(protocol)
    published = {
        "": {"train clips": 9000, "test clips": 1000, "test captions": 1000},
        "7k": {"train clips": 7010, "test clips": 1000, "test captions": 1000},
        "full": {"train clips": 6513, "val clips": 497, "test clips": 2990},
    }
    benchmark = Benchmark(
        name=data.name,
        families=families,
        layout="videos/all/{}.mp4",
        protocol=PROTOCOLS[protocol],
        published=published[protocol],
        source="the lists of collaborative-experts",
        pickles=PICKLES,
        near={"|".join(CHALLENGE): "is of the full split, msrvtt-full"},
    )
    return read(benchmark, source, digests)


def _one_caption(protocol: str) -> tuple[Family, ...]:
    size = protocol or "9k"
    table = f"MSRVTT_train.{size}.csv"
    lists = ("train_list_full.txt", "val_list_full.txt") if protocol else ("train_list_jsfusion.txt",)
    own = (simvtp("train_9k_miech.json", "test_1k_miech.json"),) if not protocol else ()
    return (
        Family("CLIP4Clip", (table, TEST, CAPTIONS), lambda files: _trained_on(files, (table,))),
        Family("Frozen", (*lists, CAPTIONS, TEST), lambda files: _trained_on(files, lists)),
        singularity(f"msrvtt_ret_train{size}.json", "msrvtt_ret_test1k.json"),
        *own,
        violet("txt_msrvtt-retrieval.json"),
        clipbert("msrvtt"),
    )


def _full() -> tuple[Family, ...]:
    lists = {split: f"{split}_list_full.txt" for split in ("train", "val", "test")}

    def rows(files: Files) -> Iterator[Row]:
        for split, name in lists.items():
            yield from _captioned(files, lines_of(files[name]), split, files[name])

    return (
        Family("Frozen", (*lists.values(), CAPTIONS), rows),
        Family("MSR-VTT challenge", CHALLENGE, _challenge),
    )


def _challenge(files: Files) -> Iterator[Row]:
    """`videos[]` with `video_id` and `split`, where val is called `validate`, and `sentences[]`."""
    for name in CHALLENGE:
        path = files[name]
        found = json_of(path)
        given = found.get("videos") if isinstance(found, dict) else None
        captions = captions_by_video(path, found)
        for entry in entries(path, given, "video_id", "split"):
            split = "val" if entry["split"] == "validate" else entry["split"]
            if split not in ("train", "val", "test"):
                raise UserError(f"{path} has the split {split!r}; train, validate and test are read")
            video = name_of(path, entry["video_id"])
            if video not in captions:
                raise UserError(f"{path} names {video!r}, of which it has no caption")
            yield from (Row(video, caption, split) for caption in captions[video])


def _trained_on(files: Files, names: tuple[str, ...]) -> Iterator[Row]:
    """Rows of training videos, a list or CSV file of them, with all captions, and of the fixed test
    captions."""
    for name in names:
        path = files[name]
        yield from _captioned(files, _listed(path), "train", path)
    for row in table_of(files[TEST], "video_id", "sentence"):
        yield Row(name_of(files[TEST], row["video_id"]), caption_of(files[TEST], row["sentence"]), "test")


def _listed(path: Path) -> list[str]:
    """The videos of a list, or of a CSV file."""
    if path.suffix == ".csv":
        return [row["video_id"].strip() for row in table_of(path, "video_id")]
    return lines_of(path)


def _captioned(files: Files, listed: list[str], split: str, where: Path) -> Iterator[Row]:
    path = files[CAPTIONS]
    captions = captions_by_video(path, json_of(path))
    for video in listed:
        if video not in captions:
            raise UserError(f"{where} names {video!r}, of which {path} has no caption")
        for caption in captions[video]:
            yield Row(video, caption, split)


def captions_by_video(path: Path, found: Any) -> dict[str, list[str]]:
    """All captions of each video, of `MSRVTT_data.json` (`sentences`) or of `MSR_VTT.json`
    (`annotations`)."""
    found = found if isinstance(found, dict) else {}
    key, name = ("annotations", "image_id") if "annotations" in found else ("sentences", "video_id")
    captions: dict[str, list[str]] = defaultdict(list)
    for entry in entries(path, found.get(key), name, "caption"):
        captions[name_of(path, entry[name])].append(caption_of(path, entry["caption"]))
    return captions
