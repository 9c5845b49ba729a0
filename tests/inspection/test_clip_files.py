"""Where a run's clips are, and which of their files a browser can play."""

import json

import numpy as np
import pytest
from synthetic import BASE, RATIOS, key_of, write_study

from workbench.data.build import _seen_from
from workbench.data.store import FrameStore, write_record
from workbench.errors import UserError
from workbench.inspection.clips import Clips, frames_path, open_clips
from workbench.tracking.run_dir import RunDir


def clips_at(folder, paths, **record):
    """A store of clips a, b, ... with these paths."""
    store = folder / "frames-2x8"
    store.mkdir(parents=True)
    np.save(store / "frames.npy", np.zeros((len(paths), 2, 8, 8, 3), np.uint8))
    clips = [
        {"id": chr(97 + i), "split": "test", "captions": [f"clip {i}"], "attributes": {"n": i}} | path
        for i, path in enumerate(paths)
    ]
    known = {"name": "own", "digest": "d", "decoder": "none", "skipped": [], "repeated_frames": 0,
             "frames_sha256": "", "notes": [], "videos": "../videos"}  # fmt: skip
    write_record(store, known | {"clips": clips} | record)
    return Clips(FrameStore.open(store))


def test_a_file_is_found_beside_its_store_wherever_that_was_moved(tmp_path):
    clips_at(tmp_path / "one", [{"path": "x/1.mp4"}])
    (tmp_path / "one/videos/x").mkdir(parents=True)
    (tmp_path / "one/videos/x/1.mp4").write_bytes(b"video")
    (tmp_path / "one").rename(tmp_path / "two")
    moved = Clips(FrameStore.open(tmp_path / "two/frames-2x8"))
    assert moved.file("a").read_bytes() == b"video"
    assert moved.captions == {"a#0": "clip 0"}
    assert moved.attributes("a") == {"n": 0}
    assert moved.attributes("z") == {}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ({"path": "gone.mp4"}, "there is no file gone.mp4"),
        ({"path": "old.avi"}, "browsers do not play .avi files"),
        ({"path": "../secret.mp4"}, "do not say where"),
        ({"path": "/etc/secret.mp4"}, "do not say where"),
        ({}, "do not say where"),
    ],
)
def test_a_file_that_cannot_be_played_has_a_reason(tmp_path, path, reason):
    clips = clips_at(tmp_path, [path])
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/old.avi").write_bytes(b"video")
    with pytest.raises(UserError, match=reason):
        clips.file("a")


def test_a_file_that_is_too_large_for_a_page_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.inspection.clips.LARGEST", 10)
    clips = clips_at(tmp_path, [{"path": "1.mp4"}])
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/1.mp4").write_bytes(bytes(11))
    with pytest.raises(UserError, match="too many to show"):
        clips.file("a")


def test_stores_name_drawn_videos_relative_and_ones_own_absolute(tmp_path):
    cache = tmp_path / "data/shapes-1234"
    (cache / "partial-frames").mkdir(parents=True)
    assert _seen_from(cache / "partial-frames", cache / "videos") == "../videos"
    assert _seen_from(cache / "partial-frames", tmp_path / "own") == str((tmp_path / "own").resolve())


def test_the_place_of_the_data_follows_from_the_configuration_and_cannot_leave_the_root(tmp_path):
    write_study(tmp_path, "ratios", RATIOS, (0,), baseline=BASE)
    run = RunDir.of(tmp_path, "ratios", key_of(BASE), 0)
    with pytest.raises(UserError, match="does not say which data"):
        frames_path(run, tmp_path)
    data = {"type": "config.DataConfig", "name": "own", "digest": "0123456789abcdef", "frames": 2, "size": 8}
    run.file("config.json").write_text(json.dumps({"data": data}))
    assert frames_path(run, tmp_path) == tmp_path / "own-0123456789ab/frames-2x8"
    with pytest.raises(UserError, match="not on this machine"):
        open_clips(run, tmp_path)
    run.file("config.json").write_text(json.dumps({"data": data | {"name": "../../etc"}}))
    with pytest.raises(UserError, match="is not a valid data set"):
        frames_path(run, tmp_path)
