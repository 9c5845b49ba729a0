"""Published counts, confirmed on the annotation files where a copy of them lies beside the checkout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from workbench.config import DataConfig
from workbench.data import read_index
from workbench.data.benchmarks import activitynet, didemo, msvd, webvid
from workbench.data.index import Index

REAL = Path(__file__).parents[3] / "shared" / "data" / "annotations"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the annotation files are not here")


def read(name: str, folder: Path, *files: Path) -> tuple[Index, dict[str, int]]:
    """The index of a folder with copies of the files, and its counts."""
    for file in files:
        shutil.copy(file, folder)
    found = read_index(DataConfig(name=name), str(folder), usable=False)
    assert found.survey is not None
    return found, {count.what: count.found for count in found.survey.counts}


def lists(name: str) -> dict[str, set[str]]:
    return {
        file.stem: {line.strip() for line in file.read_text().splitlines()}
        for file in (REAL / "ce_splits" / name).glob("*.txt")
    }


def every_caption(folder: Path) -> None:
    """Stands for `MSRVTT_data.json`, which is not here: 20 captions a video."""
    captions = [{"video_id": f"video{i}", "caption": f"{i} {k}"} for i in range(10_000) for k in range(20)]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"sentences": captions}))


@pytest.mark.parametrize(("name", "size", "train"), [("msrvtt", "9k", 9000), ("msrvtt-7k", "7k", 7010)])
def test_msrvtt_1ka(tmp_path: Path, name: str, size: str, train: int) -> None:
    every_caption(tmp_path)
    tables = REAL / "msrvtt"
    found, counts = read(
        name, tmp_path, tables / f"MSRVTT_train.{size}.csv", tables / "MSRVTT_JSFUSION_test.csv"
    )
    assert counts["train clips"] == train
    assert (counts["test clips"], counts["test captions"]) == (1000, 1000)
    val = [clip for clip in found.clips if clip.split == "val"]
    assert len(val) == train // 10
    assert all(len(clip.captions) == 1 for clip in val)
    assert any("val is" in note for note in found.notes)


def test_the_val_list_of_1ka_is_its_test_and_7k_is_train_and_val_of_the_full_split(tmp_path: Path) -> None:
    every_caption(tmp_path)
    full = [REAL / "ce_splits" / "msrvtt" / f"{split}_list_full.txt" for split in ("train", "val", "test")]
    found, counts = read("msrvtt-full", tmp_path, *full)
    assert [counts[f"{split} clips"] for split in ("train", "val", "test")] == [6513, 497, 2990]
    known = lists("msrvtt")
    first, *rows = (REAL / "msrvtt" / "MSRVTT_JSFUSION_test.csv").read_text().splitlines()
    assert first == "key,vid_key,video_id,sentence"
    assert known["val_list_jsfusion"] == {row.split(",")[2] for row in rows}
    seven = set((REAL / "msrvtt" / "MSRVTT_train.7k.csv").read_text().split()[1:])
    assert seven == known["train_list_full"] | known["val_list_full"]
    assert len(known["train_list_miech"]) == 6656
    assert not any("val is" in note for note in found.notes), "the full split has its own"


def test_msvd(tmp_path: Path) -> None:
    files = [REAL / "msvd" / name for name in (*msvd.LISTS.values(), msvd.CAPTIONS)]
    _, counts = read("msvd", tmp_path, *files)
    assert [counts[f"{split} clips"] for split in ("train", "val", "test")] == [1200, 100, 670]
    assert counts["test captions"] == 27_763


def test_didemo() -> None:
    known = lists("didemo")
    assert [len(known[f"{split}_list"]) for split in ("train", "val", "test")] == [8392, 1065, 1004]
    file = REAL / "didemo" / "val_data.json"
    rows = list(didemo.rows_of(file, "val", known["val_list"]))
    assert len(rows) == 1065
    assert {row.end for row in rows} == {30.0}
    moments = list(didemo.rows_of(file, "val", moments=True))
    assert len(moments) == 4180
    assert not any(row.fault for row in moments)
    assert (moments[0].start, moments[0].end) == (3.75, 8.75), "of [1, 1] three times and [0, 0]"


def test_activitynet() -> None:
    known = lists("activity-net")
    assert [len(known[name]) for name in ("train_list", "val_1_list")] == [10_009, 4917]
    file = REAL / "activitynet" / "val_1.json"
    rows = list(activitynet.rows_of(file, "test", known["val_1_list"]))
    assert len(rows) == 4917
    assert max(len(row.caption.split()) for row in rows) == 332, "paragraphs of more than 200 words are kept"
    moments = list(activitynet.rows_of(file, "test", protocol="moments"))
    assert len(moments) == 17_505
    assert not any(row.fault for row in moments)
    lengths = {name: entry["duration"] for name, entry in json.loads(file.read_text()).items()}
    assert all(0 <= row.start < row.end <= lengths[row.video] for row in moments)


def test_webvid() -> None:
    rows = list(webvid.rows_of(REAL / "webvid" / "results_2M_val.csv", "test"))
    assert len(rows) == 9
    assert rows[0].video == "videos/027701_027750/1053841541.mp4"
    assert rows[0].caption.startswith("Travel blogger shoot a story")
