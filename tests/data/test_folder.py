"""One's own videos: what is wrong is named, nothing is dropped in silence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from workbench.config import DataConfig
from workbench.data import describe, named_place, prepare, read_index
from workbench.data.decode import decoder_names, encode
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.study.cells.options import Options

DATA = DataConfig(name="folder", frames=4, size=32)


def video(path: Path, level: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.arange(12, dtype=np.uint8)[:, None, None, None] * 8
    encode(path, np.broadcast_to(level + ramp, (12, 48, 64, 3)).copy(), rate=8, crf=20)


def folder(path: Path, rows: list[tuple[str, ...]], header: str = "video,caption,split") -> str:
    path.mkdir(exist_ok=True)
    with open(path / "captions.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([tuple(header.split(",")), *rows])
    return str(path)


def small(path: Path, **splits: str) -> str:
    names = {f"{n}.mp4": "train" for n in "abcd"} | {"e.mp4": "val", "f.mp4": "test"}
    for level, name in enumerate(names):
        video(path / name, 60 + 10 * level)
    return folder(path, [(name, f"clip {name}", split) for name, split in names.items()])


def test_a_folder_becomes_a_store(tmp_path: Path) -> None:
    source = small(tmp_path / "own")
    store = FrameStore.open(prepare(DATA, source=source, root=tmp_path / "root", progress=False))
    assert {name: len(part) for name, part in store.splits.items()} == {"train": 4, "val": 1, "test": 1}
    assert store.frames.shape == (6, 4, 32, 32, 3)
    assert store.skipped == []
    assert store.decoder.startswith(("decord", "pyav"))


def test_several_captions_of_a_video_share_its_frames(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        video(own / name)
    rows = [(n, f"{w} {n}", s) for n, s in zip(("a.mp4", "b.mp4", "c.mp4", "d.mp4"),
            ("train", "train", "val", "test"), strict=True) for w in ("one", "two")]  # fmt: skip
    store = FrameStore.open(prepare(DATA, source=folder(own, rows), root=tmp_path, progress=False))
    assert len(store.frames) == 4
    assert len(store.splits["test"]) == 2
    assert len(set(store.splits["test"].clips)) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "empty"), (b"not a video at all" * 50, "not a readable video")],
)
def test_a_bad_training_video_is_left_out_with_its_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    source = small(tmp_path / "own")
    target = tmp_path / "own" / "b.mp4"
    target.unlink() if content is None else target.write_bytes(content)
    store = FrameStore.open(prepare(DATA, source=source, root=tmp_path / "root", progress=False))
    assert [entry["video"] for entry in store.skipped] == ["b.mp4"]
    assert reason in store.skipped[0]["reason"]
    assert len(store.splits["train"]) == 3


def test_a_bad_evaluation_video_is_refused_unless_allowed(tmp_path: Path) -> None:
    source = small(tmp_path / "own")
    video(tmp_path / "own" / "g.mp4")
    with open(tmp_path / "own" / "captions.csv", "a", encoding="utf-8") as stream:
        stream.write("g.mp4,one more,test\n")
    (tmp_path / "own" / "f.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 videos of val or test.*f\.mp4.*--allow-bad-eval"):
        prepare(DATA, source=source, root=tmp_path / "root", progress=False)
    assert not list((tmp_path / "root").rglob("frames.npy"))
    path = prepare(DATA, source=source, root=tmp_path / "root", progress=False, allow_bad_eval=True)
    assert len(FrameStore.open(path).splits["test"]) == 1
    with pytest.raises(UserError, match="--allow-bad-eval"):
        prepare(DATA, source=source, root=tmp_path / "root", progress=False)


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    source = small(tmp_path / "own")
    path = prepare(DATA, source=source, root=tmp_path / "root", progress=False)
    whole = np.load(path / "frames.npy")
    (path / "frames.npy").unlink()
    assert prepare(DATA, source=source, root=tmp_path / "root", progress=False) == path
    assert np.array_equal(np.load(path / "frames.npy"), whole)
    record = json.loads((path / "store.json").read_text())
    for torn in ("{", "[]", "null", json.dumps(record | {"clips": 5}), json.dumps(record | {"clips": [1]})):
        (path / "store.json").write_text(torn)
        assert prepare(DATA, source=source, root=tmp_path / "root", progress=False) == path
        assert np.array_equal(FrameStore.open(path).frames, whole)


def test_the_decoders_that_were_used_are_recorded(tmp_path: Path) -> None:
    one = decoder_names({"pyav": 3})
    assert one.startswith("pyav ")
    assert "(" not in one
    both = decoder_names({"pyav": 1, "decord": 2})
    assert [part.split()[0] for part in both.split(", ")] == ["decord", "pyav"]
    assert both.endswith("(1 videos)")


def test_a_caption_with_commas_must_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("video,caption\na.mp4,a man, who runs\n")
    with pytest.raises(UserError, match=r"line 2 has more fields than the header; quote a caption"):
        describe(DATA, str(tmp_path))


def test_captions_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").mkdir()
    with pytest.raises(UserError, match=r"captions\.csv cannot be read"):
        describe(DATA, str(tmp_path))


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], "video,caption", "names no video"),
        ([("a.mp4", "x")], "file,text", "columns video,caption"),
        ([("../a.mp4", "x")], "video,caption", "inside the folder"),
        ([("/a.mp4", "x")], "video,caption", "inside the folder"),
        ([("", "x")], "video,caption", "inside the folder"),
        ([("a.mp4", "  ")], "video,caption", "caption is empty"),
        ([("a.mp4", "x" * 10_000)], "video,caption", "at most 2000"),
        ([("a.mp4", "x", "dev")], "video,caption,split", "train, val, test"),
        ([("a.mp4", "x", "train"), ("a.mp4", "y", "test")], "video,caption,split", "one split"),
        ([("a.mp4", "x", "train"), ("b.mp4", "y", "")], "video,caption,split", "1 videos have no split"),
        ([("a.mp4", "x", "train")], "video,caption,split", "no video is in the split test"),
        ([("a.mp4", "x")], "video,caption", "too few to split"),
        ([("a.mp4", "x")], "Video,Caption", r"columns video,caption\[,split\], each once, not Video,Caption"),
        ([("a.mp4", "x", "y")], "video,caption,caption", "each once, not video,caption,caption"),
        ([("a.mp4", "x", "test"), ("b.mp4", "y", "val")], "video,caption,split", "0 videos are in the split"),
        (
            [("a.mp4", "x", "test"), ("b.mp4", "y", "val"), ("c.mp4", "z", "train")],
            "video,caption,split",
            "1 videos are in the split train; at least 2 are needed",
        ),
        (
            [("a.mp4", "one\ntwo\nthree"), ("b.mp4", "")],
            "video,caption",
            r"csv, line 5: the caption is empty",
        ),
    ],
)
def test_a_wrong_captions_file_is_named(
    tmp_path: Path, rows: list[tuple[str, ...]], header: str, message: str
) -> None:
    source = folder(tmp_path / "own", rows, header)
    with pytest.raises(UserError, match=message) as caught:
        describe(DATA, source)
    assert "\n" not in str(caught.value)


def test_a_quote_that_is_not_closed_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{i}.mp4,clip {i}\n" for i in range(6))
    (tmp_path / "captions.csv").write_text(f'video,caption\n{rows}7.mp4,"a clip\n8.mp4,a clip\n')
    with pytest.raises(UserError, match=r"is not a CSV file after 5\.mp4: .*a quote must end with one"):
        describe(DATA, str(tmp_path))


def test_a_path_may_begin_with_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_place("folder:~/own") == ("folder", str(tmp_path / "own"))
    assert named_place("moving_shapes") == ("moving_shapes", None)
    assert Options(data="folder:~/own").source("folder") == str(tmp_path / "own")


def test_a_path_in_place_of_a_name_is_understood(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"did you mean folder:{tmp_path}"):
        describe(DataConfig(name=str(tmp_path)))


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "own.zip").write_bytes(b"x")
    for name in ("folder", "msrvtt"):
        with pytest.raises(UserError, match=r"own\.zip is a file; unpack it"):
            describe(DataConfig(name=name), str(tmp_path / "own.zip"))


def test_no_folder_and_no_captions_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        describe(DATA, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no captions\.csv"):
        describe(DATA, str(tmp_path))


def test_the_split_is_by_name_and_said(tmp_path: Path) -> None:
    rows = [(f"{i}.mp4", f"clip {i}") for i in range(40)]
    own = tmp_path / "own"
    source = folder(own, rows, "video,caption")
    assert describe(DATA, source) == describe(DATA, folder(own, rows[::-1], "video,caption"))
    found = read_index(DATA, source)
    assert sorted(c.split for c in found.clips) == ["test"] * 4 + ["train"] * 32 + ["val"] * 4
    assert "4 videos each for val and test" in found.notes[0]


def test_changing_a_video_changes_the_digest(tmp_path: Path) -> None:
    source = small(tmp_path / "own")
    before = describe(DATA, source).data.digest
    video(tmp_path / "own" / "a.mp4", 120)
    assert describe(DATA, source).data.digest != before


def test_captions_with_emoji_and_nul_are_kept_readable(tmp_path: Path) -> None:
    from workbench.data.folder import _caption

    assert _caption("line 2", "a\0 red 🟥  star") == "a red 🟥 star"
