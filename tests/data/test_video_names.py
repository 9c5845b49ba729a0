"""Which file of a folder is the video that an annotation names."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_files import annotate, didemo_data, folder_of
from benchmark_items import items
from PIL import Image

from workbench.config import DataConfig
from workbench.data import read_index
from workbench.data.annotations.tree import Tree
from workbench.data.index import PICTURES

FILES = (
    "a.mts", "b.mp4", "c.", "d.mp4", "e.3g2.mp4", "f.mov", "f.mov.mp4", "G.MP4", "h.jpg", "h.mp4", "j.avi",
    "j.gif", "k.null", "l.divx", "m.M2TS", "n.webp", "o", "1004_Juno_00.00.07.707.avi",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in FILES:
        (tmp_path / "videos" / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("a.mts", "a.mts"),
        ("b.mts", "b.mp4"),
        ("c.", "c."),
        ("d.", "d.mp4"),
        ("d.null", "d.mp4"),
        ("e.3g2", "e.3g2.mp4"),
        ("f.mov", "f.mov"),
        ("G", "G.MP4"),
        ("h", "h.mp4"),
        ("videos/h", "h.mp4"),
        ("j", "j.avi"),
        ("j.gif", "j.gif"),
        ("k.null", "k.null"),
        ("k", ""),
        ("l", "l.divx"),
        ("l.divx", "l.divx"),
        ("m", "m.M2TS"),
        ("n", ""),
        ("o", "o"),
        ("1004_Juno_00.00.07.707", "1004_Juno_00.00.07.707.avi"),
        ("1004_Juno_00.00.07.707-00.00.09.1", ""),
        ("1004_Juno_00.00.07.707.5", ""),
    ],
)
def test_a_name_finds_its_video(folder: Path, name: str, first: str) -> None:
    assert Tree.of(folder).places(name)[:1] == ([f"videos/{first}"] if first else [])


def test_pictures_are_found_among_videos_of_their_names(folder: Path) -> None:
    tree = Tree.of(folder, PICTURES)
    assert [tree.places(name) for name in ("h", "h.jpg", "n", "j", "o")] == [
        ["videos/h.jpg"], ["videos/h.jpg"], ["videos/n.webp"], [], ["videos/o"],
    ]  # fmt: skip


def test_a_link_to_nothing_and_an_empty_file_come_behind_a_good_copy(tmp_path: Path) -> None:
    for place in ("a", "b", "c/deep"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "a" / "x.avi").symlink_to(tmp_path / "gone.avi")
    (tmp_path / "b" / "x.avi").touch()
    (tmp_path / "c" / "deep" / "x.mp4").write_text("x")
    assert Tree.of(tmp_path).places("x.avi") == ["c/deep/x.mp4", "a/x.avi", "b/x.avi"]


def test_a_thumbnail_beside_a_video_is_not_read(tmp_path: Path) -> None:
    source = folder_of("activitynet", tmp_path, empty=True)
    before = read_index(DataConfig(name="activitynet"), str(source))
    for clip in before.clips:
        Image.new("RGB", (8, 8)).save((source / clip.path).with_suffix(".jpg"))
        Image.new("RGB", (8, 8)).save((source / clip.path).with_suffix(".webp"))
    after = read_index(DataConfig(name="activitynet"), str(source))
    assert [clip.path for clip in after.clips] == [clip.path for clip in before.clips]
    assert after.survey is not None
    assert after.survey.doubles == ()


def test_a_video_that_is_there_twice_is_noted(tmp_path: Path) -> None:
    source = folder_of("msrvtt", tmp_path, empty=True)
    (source / "deep" / "video3.mp4").write_text("x")
    (source / "other").mkdir()
    (source / "other" / "video3.avi").write_text("x")
    notes = read_index(DataConfig(name="msrvtt"), str(source)).notes
    said = "1 lie there several times, such as deep/video3.mp4, which is taken, and other/video3.avi"
    assert said in notes


def test_videos_of_flickr_are_found_where_the_annotations_have_them(tmp_path: Path) -> None:
    ends = (".mts", ".", ".null", ".3g2", ".m2ts", ".qt", ".divx", ".MOV", ".wmv", ".mp4")
    clips = [clip._replace(name=f"{clip.name}{end}") for clip, end in zip(items(), ends, strict=True)]
    annotate(tmp_path, didemo_data(clips))
    empty = read_index(DataConfig(name="didemo"), str(tmp_path), usable=False)
    assert [clip.path for clip in empty.clips] == [f"videos/{clip.name}" for clip in clips]
    (tmp_path / "videos").mkdir()
    for clip in clips:
        (tmp_path / "videos" / clip.name).write_text("x")
    found = read_index(DataConfig(name="didemo"), str(tmp_path))
    assert all((tmp_path / clip.path).is_file() for clip in found.clips)


NAMES = Path(__file__).parents[3] / "shared" / "data" / "annotations" / "ce_splits" / "didemo"


@pytest.mark.skipif(not NAMES.is_dir(), reason="the lists are not here")
def test_every_name_of_didemo_is_found_as_mp4(tmp_path: Path) -> None:
    names = [line for file in NAMES.glob("*.txt") for line in file.read_text().split("\n") if line.strip()]
    assert len(names) == 8392 + 1065 + 1004
    for name in names:
        stem = name.strip().rpartition(".")[0]
        assert Tree(tmp_path, {}, {stem: [f"videos/{stem}.mp4"]}).places(name) == [f"videos/{stem}.mp4"]
