"""The report on a data set: every fault that was put in is counted, named, and changes the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from workbench.data.__main__ import main
from workbench.data.decode import encode


def video(path: Path, seed: int, frames: int = 12) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 4, 4, 3), np.uint8)
    encode(path, pixels.repeat(8, 1).repeat(12, 2), rate=6, crf=20)


def small(folder: Path) -> Path:
    """Six sound clips in three splits."""
    folder.mkdir()
    rows = ["video,caption,split"]
    for seed, split in enumerate(("train", "train", "train", "train", "val", "test")):
        video(folder / f"{seed}.mp4", seed)
        rows.append(f"{seed}.mp4,clip number {seed},{split}")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["check", *arguments])
    return code, *capsys.readouterr()


def test_a_sound_data_set_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(small(tmp_path / "own")))
    assert code == 0
    assert out.splitlines() == [
        "6 videos: 6 fine, 0 refused",
        "splits: train 4, val 1, test 1",
        "codecs: h264 6",
        "sizes: 48x32 6",
        "duration: 2.00 to 2.00 s; 12 to 12 frames",
    ]
    assert "checking videos" in err


def test_every_fault_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = small(tmp_path / "own")
    (own / "1.mp4").write_bytes(b"")
    (own / "2.mp4").write_bytes(b"no video" * 99)
    (own / "5.mp4").write_bytes((own / "0.mp4").read_bytes())
    video(own / "left.mp4", 9)
    frozen = np.random.default_rng(3).integers(0, 255, (16, 32, 48, 3), np.uint8)
    frozen[5:] = 77
    encode(own / "frozen.mp4", frozen, rate=6, crf=20)
    with open(own / "captions.csv", "a", encoding="utf-8") as stream:
        stream.write("frozen.mp4,Clip number 0,train\nmissing.mp4,lost,train\n")
    code, out, _ = run(capsys, str(own), "--json", str(tmp_path / "report.json"))
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "8 videos: 5 fine, 3 refused"
    assert "refused, the file is empty: 1" in lines
    assert lines[lines.index("refused, there is no such file: 1") + 1] == "  missing.mp4"
    assert lines[lines.index("repeated frames in: 1") + 1] == "  frozen.mp4"
    assert lines[lines.index("clips that stand in several splits: 1") + 1] == "  0.mp4 = 5.mp4"
    assert lines[lines.index("captions of several clips: 1") + 1] == "  'clip number 0': 2 clips"
    assert lines[lines.index("videos without a caption: 1") + 1] == "  left.mp4"
    found = json.loads((tmp_path / "report.json").read_text())
    assert set(found["refused"]) == {"1.mp4", "2.mp4", "missing.mp4"}
    assert found["facts"]["frozen.mp4"]["repeated"] >= 4
    assert found["leaks"] == [["0.mp4", "5.mp4"]]


def test_a_folder_without_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep").mkdir()
    video(tmp_path / "a.mp4", 1, 20)
    video(tmp_path / "deep" / "b.mp4", 2, 6)
    (tmp_path / "notes.txt").write_text("not a video")
    code, out, _ = run(capsys, str(tmp_path))
    assert code == 0
    assert out.splitlines()[0] == "2 videos: 2 fine, 0 refused"
    assert "duration: 1.00 to 3.33 s; 6 to 20 frames" in out


def test_captions_that_cannot_be_used_are_said_beside_the_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = small(tmp_path / "own")
    (own / "captions.csv").write_text("video,caption\n0.mp4,\n")
    code, out, _ = run(capsys, str(own))
    assert code == 1
    assert "6 videos: 6 fine" in out
    assert "captions cannot be used" in out
    assert "the caption is empty" in out


def test_a_data_set_by_name_is_what_a_study_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = small(tmp_path / "own")
    by_path, by_name = (run(capsys, place)[:2] for place in (str(own), f"folder:{own}"))
    assert by_path == by_name
    assert by_name[0] == 0
    (own / "captions.csv").unlink()
    code, out, _ = run(capsys, f"folder:{own}")
    assert code == 1, "a study needs captions"
    assert "captions cannot be used" in out
    own.rename(tmp_path / "folder:own")
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "folder:own")[0] == 0, "a folder may have a colon in its name"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("folder:", "own videos need a place: --data folder:PATH"),
        ("folder:nowhere", "there is no folder nowhere"),
        ("moving_shapes:here", "moving_shapes takes no place"),
        ("nothing:here", "there is no folder nothing:here"),
        ("nothing:here", "no data set 'nothing'; there are activitynet, "),
        ("activitynet", "caption annotations need a place: --data activitynet:PATH"),
    ],
)
def test_a_name_with_a_wrong_place(capsys: pytest.CaptureFixture[str], place: str, message: str) -> None:
    code, _, err = run(capsys, place)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_videos_are_looked_for_as_benchmarks_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "far").mkdir()
    video(tmp_path / "far" / "a.mp4", 1)
    own = tmp_path / "own"
    (own / "__MACOSX").mkdir(parents=True)
    (own / "__MACOSX" / "._a.mp4").write_bytes(b"\0\5\x16\7")
    (own / "linked").symlink_to(tmp_path / "far")
    code, out, _ = run(capsys, str(own))
    assert (code, out.splitlines()[0]) == (0, "1 videos: 1 fine, 0 refused")


def test_an_archive_cannot_be_checked_or_made_into_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.zip").write_bytes(b"x")
    assert run(capsys, str(tmp_path / "own.zip"))[0] == 2
    assert main(["shard", str(tmp_path / "own.zip"), "--into", str(tmp_path / "set")]) == 2
    assert capsys.readouterr().err.endswith("own.zip is a file; unpack it, and give the folder\n")
    assert main(["shard", "nosuch:/x", "--into", str(tmp_path / "set")]) == 2
    assert "no data set 'nosuch'; there are activitynet, " in capsys.readouterr().err


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_nothing_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    code, _, err = run(capsys, str(tmp_path / place))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "no folder" in err or "nor a video" in err
