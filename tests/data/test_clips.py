"""The decoder: which frames it takes, how it scales them, and that nothing hangs. Bad files: tests/faults."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from workbench.data import decode as module
from workbench.data.decode import DecodeError, decode, encode, fit
from workbench.data.sampling import centre_frames
from workbench.data.workers import run_tasks


def test_frames_are_the_centres_of_equal_intervals() -> None:
    assert centre_frames(16, 8) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert centre_frames(3, 4) == [0, 1, 1, 2]
    assert centre_frames(1, 4) == [0, 0, 0, 0]


def test_fit_scales_the_short_side_and_cuts_the_middle() -> None:
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:, 20:60] = 200
    assert (fit(frame, 20) > 150).mean() > 0.9
    assert fit(frame, 40).shape == (40, 40, 3)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    frames = np.full((8, 32, 32, 3), 40, np.uint8)
    frames += (np.arange(8, dtype=np.uint8) * 20)[:, None, None, None]
    encode(tmp_path / "ramp.mp4", frames, rate=8, crf=10)
    assert np.abs(decode(tmp_path / "ramp.mp4", 8, 32).astype(int) - frames).mean() < 4


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"x" * 999, "not a readable video")])
def test_what_is_no_video_has_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(DecodeError, match=reason):
        decode(tmp_path / "x.mp4", 4, 32)


def test_a_truncated_video_is_refused_or_shorter_but_never_hangs(tmp_path: Path) -> None:
    encode(
        tmp_path / "whole.mp4",
        np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8),
        rate=8,
        crf=20,
    )
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    task = {"path": str(tmp_path / "cut.mp4"), "count": 4, "size": 32}
    (done,) = run_tasks("workbench.data.decode:decode_task", [(0, task)], workers=1, deadline=30)
    assert done.failure or "reason" in done.answer or done.answer["total"] < 30


@pytest.mark.parametrize("without_decord", [False, True])
def test_a_file_that_is_too_large_to_be_held_is_read_again_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_decord: bool
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8)
    encode(tmp_path / "a.mp4", frames, rate=8, crf=20)
    if without_decord:
        monkeypatch.setattr(module, "decord", None)
    opened, opening = [], module._open
    monkeypatch.setattr(module, "_open", lambda path: opened.append(path) or opening(path))
    held = decode(tmp_path / "a.mp4", 4, 32)
    assert len(opened) == 1
    monkeypatch.setattr(module, "HELD", 100)
    assert np.array_equal(held, decode(tmp_path / "a.mp4", 4, 32))
    assert len(opened) == 3


@pytest.mark.skipif(module.decord is None, reason="decord is not installed")
@pytest.mark.parametrize(
    ("batch", "passed"), [(32 << 20, 1 << 20), (32 << 20, 0), (3 * 48 * 64 * 5, 1 << 20)]
)
@pytest.mark.parametrize("count", [1, 4, 8, 40])
def test_decord_gives_the_same_frames_however_many_at_once_and_whether_it_seeks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, batch: int, passed: int
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), np.uint8)
    encode(tmp_path / "a.mp4", frames, rate=8, crf=20)  # a group of pictures is 8 frames long
    monkeypatch.setattr(module, "BATCH", batch)
    monkeypatch.setattr(module, "PASSED", passed)
    task = {"path": str(tmp_path / "a.mp4"), "count": count, "size": 32}
    answer, found = module.decode_task(task)
    assert answer == {"decoder": "decord", "total": 30, "damaged": 0}
    monkeypatch.setattr(module, "decord", None)
    answer, in_order = module.decode_task(task)
    assert answer["decoder"] == "pyav"
    assert found == in_order


@pytest.mark.skipif(module.decord is None, reason="decord is not installed")
@pytest.mark.parametrize("raised", ["DECORDError", "DecodeError", "MemoryError", "RuntimeError"])
def test_what_decord_gives_up_on_goes_to_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: str
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8)
    encode(tmp_path / "a.mp4", frames, rate=8, crf=20)
    task = {"path": str(tmp_path / "a.mp4"), "count": 4, "size": 32}
    answer, found = module.decode_task(task)
    assert answer["decoder"] == "decord"
    errors = {"DECORDError": module.decord.DECORDError, "DecodeError": DecodeError,
              "MemoryError": MemoryError, "RuntimeError": RuntimeError}  # fmt: skip
    tried = []

    def gives_up(*given: object) -> None:
        tried.append(given)
        raise errors[raised]("it gives up")

    monkeypatch.setattr(module, "_with_decord", gives_up)
    assert module.decode_task(task) == ({"decoder": "pyav", "total": 20, "damaged": 0}, found)
    assert len(tried) == 1


def hang(task: dict) -> tuple[dict, bytes]:
    import time

    time.sleep(task["seconds"])
    return {"slept": task["seconds"]}, b""


def test_a_hanging_task_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    tasks = [(0, {"seconds": 0.0}), (1, {"seconds": 600.0}), (2, {"seconds": 0.0})]
    found = {d.number: d for d in run_tasks("test_clips:hang", tasks, workers=1, deadline=1.0)}
    assert found[0].answer == {"slept": 0.0}
    assert "no answer within 1 seconds" in found[1].failure
    assert found[2].answer == {"slept": 0.0}


def test_a_song_with_a_cover_is_no_video_of_one_frame(tmp_path: Path) -> None:
    cover = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(cover, "JPEG")
    frame = b"\0image/jpeg\0\x03\0" + cover.getvalue()
    frame = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    song = tmp_path / "song.mp3"
    with av.open(str(song), "w", options={"id3v2_version": "0"}) as container:
        stream = container.add_stream("mp3", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux([*stream.encode(sound), *stream.encode()])
    song.write_bytes(b"ID3\x03\0\0" + size + frame + song.read_bytes())
    with av.open(str(song)) as container:
        assert len(container.streams.video) == 1, "FFmpeg shows the cover as a stream"
    with pytest.raises(DecodeError, match="it has no video stream"):
        decode(song, 2, 32)
