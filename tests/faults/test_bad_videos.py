"""Bad videos: each gives the frames that decoding in order gives, or is refused with its reason."""

from __future__ import annotations

import http.server
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from videos import (
    FILES,
    REAL,
    damaged,
    moving,
    patched,
    plain,
    reference,
    sound_only,
    written,
)

from workbench.config import DataConfig
from workbench.data import prepare
from workbench.data.decode import DecodeError, decode, encode
from workbench.data.store import FrameStore
from workbench.data.workers import MEMORY, Done, run_tasks

pytestmark = pytest.mark.fault

COUNT, SIZE, DEADLINE = 8, 48, 60.0
REFUSED = {
    "cmaf__multi-segment__video_init.mp4": "no frame",
    "dash__multi-segment-with-emsg0__segment_init.mp4": "no frame",
    "mkv__full_blocks.mkv": "no video stream",
    "mkv__subsample_encrypted_altref.webm": "no frame",
    "mkv__subsample_encrypted_noaltref.webm": "no frame",
    "mp4__sample_audio_only_15s.mp4": "no video stream",
    "nasa_13013.mp4.audio.mp3": "no video stream",
}
"""The real files that cannot be decoded: headers without content, subtitles, encrypted, sound only."""


def decoded(paths: list[Path]) -> dict[Path, Done]:
    """What the killable decoder processes answer, one for each file."""
    tasks = [(i, {"path": str(path), "count": COUNT, "size": SIZE}) for i, path in enumerate(paths)]
    answers = run_tasks("workbench.data.decode:decode_task", tasks, workers=1, deadline=DEADLINE)
    return {paths[done.number]: done for done in answers}


def right(path: Path, done: Done) -> bool:
    """Whether the frames are the reference's; decoders round colours in their own ways."""
    frames = np.frombuffer(done.payload, np.uint8).reshape(COUNT, SIZE, SIZE, 3)
    return bool(np.abs(frames.astype(int) - reference(path, COUNT, SIZE)).mean() < 1.0)


@pytest.fixture(scope="module")
def real() -> dict[Path, Done]:
    if not FILES:
        pytest.skip("the real difficult files are not here")
    return decoded(FILES)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REAL)) for path in FILES])
def test_a_real_file_gives_the_reference_frames_or_its_reason(path: Path, real: dict[Path, Done]) -> None:
    done = real[path]
    assert not done.failure
    if path.name in REFUSED:
        assert REFUSED[path.name] in done.answer["reason"]
    else:
        assert "reason" not in done.answer
        assert right(path, done)


def test_every_real_file_is_accounted_for(real: dict[Path, Done], capsys: pytest.CaptureFixture[str]) -> None:
    kinds = Counter(
        "killed" if done.failure else "refused" if "reason" in done.answer else "decoded"
        for done in real.values()
    )
    ways = Counter(done.answer["decoder"] for done in real.values() if "decoder" in done.answer)
    hurt = sum(bool(done.answer.get("damaged")) for done in real.values())
    with capsys.disabled():
        print(f"\n{len(FILES)} real files: {dict(kinds)}, by {dict(ways)}; {hurt} with damaged frames")
    assert kinds["decoded"] + kinds["refused"] == len(FILES)
    assert kinds["refused"] == len(REFUSED)


@pytest.mark.parametrize("kind", ["cut", "flipped", "noise"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_damage_is_never_taken_for_frames(tmp_path: Path, codec: str, kind: str) -> None:
    """Damage at random places, of which most decoders notice a part only (decord none of it)."""
    suffix = ".webm" if "vp9" in codec else ".mp4"
    whole = tmp_path / f"whole{suffix}"
    written(whole, moving(), codec)
    rng = np.random.default_rng(len(codec + kind))
    paths = [tmp_path / f"{i}{suffix}" for i in range(12)]
    for path in paths:
        path.write_bytes(damaged(whole.read_bytes(), kind, rng))
    for path, done in decoded(paths).items():
        assert not done.failure, path.name
        assert "reason" in done.answer or right(path, done), path.name


def test_decord_is_not_trusted_with_damaged_frames(tmp_path: Path) -> None:
    content = bytearray(plain(tmp_path / "a.mp4"))
    middle = content.index(b"mdat") + 6000
    content[middle : middle + 40] = bytes(range(100, 140))
    (tmp_path / "b.mp4").write_bytes(content)
    sound, broken = decoded([tmp_path / "a.mp4", tmp_path / "b.mp4"]).values()
    assert sound.answer["damaged"] == 0
    assert broken.answer["damaged"] > 0
    assert right(tmp_path / "b.mp4", broken)


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("libvpx", "a.webm"),
        ("libvpx-vp9", "a.webm"),
        ("libsvtav1", "a.mp4"),
        ("libx265", "a.mp4"),
        ("mpeg4", "a.avi"),
        ("mjpeg", "a.mov"),
        ("ffv1", "a.mkv"),
    ],
)
def test_other_codecs_and_containers(tmp_path: Path, codec: str, name: str) -> None:
    written(tmp_path / name, moving(height=96, width=128), codec)
    (done,) = decoded([tmp_path / name]).values()
    assert done.answer["total"] == 30
    assert right(tmp_path / name, done)


@pytest.mark.parametrize("shape", [(33, 17), (1, 1), (9, 300), (300, 9)])
def test_odd_and_tiny_sizes(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "a.mkv"
    written(path, moving(12, *shape), "ffv1")
    (done,) = decoded([path]).values()
    assert done.answer["total"] == 12
    assert right(path, done)


def test_narrow_frames_come_without_the_padding_of_their_lines(tmp_path: Path) -> None:
    """48 pixels are 144 bytes in a line of 192, which decord shows as four channels."""
    path = tmp_path / "a.mp4"
    encode(path, moving(12, 32, 48), rate=10, crf=20)
    (done,) = decoded([path]).values()
    assert right(path, done)


def test_variable_rate(tmp_path: Path) -> None:
    """Frames are counted, not timed: each is one, however long it is shown."""
    times = [n * n for n in range(30)]
    for path in (tmp_path / "a.mkv", tmp_path / "a.mp4"):
        written(path, moving(), "libx264", times=times)
        (done,) = decoded([path]).values()
        assert done.answer["total"] == 30
        assert right(path, done)


def test_a_first_time_stamp_that_is_not_zero(tmp_path: Path) -> None:
    for path in (tmp_path / "a.ts", tmp_path / "a.mkv", tmp_path / "a.mp4"):
        written(path, moving(), "libx264", times=range(50, 80))
        (done,) = decoded([path]).values()
        assert done.answer["total"] == 30, path.name
        assert right(path, done)


def test_a_rotated_video_stands_upright(tmp_path: Path) -> None:
    """The display matrix turns by a quarter clockwise, held against the turned frames themselves."""
    content = plain(tmp_path / "a.mp4")
    matrix = b"".join(
        n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    )
    (tmp_path / "b.mp4").write_bytes(patched(content, b"tkhd", 40, matrix))
    lying = decode(tmp_path / "a.mp4", COUNT, SIZE).astype(int)
    turned = decode(tmp_path / "b.mp4", COUNT, SIZE).astype(int)
    assert np.abs(np.rot90(lying, -1, axes=(1, 2)) - turned).mean() < 2
    assert np.abs(lying - turned).mean() > 20


@pytest.mark.parametrize("claimed", [3, 29, 31, 3000, 2**31 - 1])
def test_a_wrong_frame_count(tmp_path: Path, claimed: int) -> None:
    """The table of durations claims more or fewer frames than there are (decord#373 hangs on more)."""
    content = plain(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(patched(content, b"stts", 8, claimed.to_bytes(4, "big")))
    (done,) = decoded([tmp_path / "b.mp4"]).values()
    assert not done.failure
    assert "reason" in done.answer or right(tmp_path / "b.mp4", done)
    if "reason" not in done.answer:
        assert done.answer["total"] <= 30


def test_what_holds_no_frame_has_a_reason(tmp_path: Path) -> None:
    content = plain(tmp_path / "a.mp4")
    (tmp_path / "zero.mp4").write_bytes(patched(content, b"stsz", 8, bytes(4)))
    sound_only(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nno picture\n")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    names = {
        "zero": "no frame", "sound": "no video stream", "text": "no video stream", "empty": "empty",
        "folder": "no such file", "pipe": "no such file", "missing": "no such file",
    }  # fmt: skip
    answers = decoded([tmp_path / f"{name}.mp4" for name in names])
    assert all(names[path.stem] in done.answer["reason"] for path, done in answers.items()), answers


def test_a_playlist_under_the_name_of_a_video_reaches_no_server(tmp_path: Path) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.ts"
        lists = [
            f"#EXTM3U\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {address}\n",
        ]
        for text in lists:
            (tmp_path / "a.mp4").write_text(text)
            with pytest.raises(DecodeError, match="not a readable video"):
                decode(tmp_path / "a.mp4", COUNT, SIZE)
        server.shutdown()
    assert asked == []


def test_ten_thousand_frames(tmp_path: Path) -> None:
    frames = np.zeros((10_000, 32, 32, 3), np.uint8)
    frames += (np.arange(10_000) % 200).astype(np.uint8)[:, None, None, None]
    encode(tmp_path / "a.mp4", frames, rate=25, crf=20)
    (done,) = decoded([tmp_path / "a.mp4"]).values()
    assert done.answer["total"] == 10_000
    assert right(tmp_path / "a.mp4", done)


def test_frames_too_large_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    written(tmp_path / "a.avi", moving(2), "rawvideo")
    side = (12_000).to_bytes(4, "little")
    (tmp_path / "b.avi").write_bytes(patched((tmp_path / "a.avi").read_bytes(), b"strf", 8, side + side))
    with pytest.raises(DecodeError, match="12000 x 12000 pixels are too large"):
        decode(tmp_path / "b.avi", COUNT, SIZE)


def hoard(task: dict) -> tuple[dict, bytes]:
    """A task that asks for more memory than a worker may have."""
    return {"got": len(bytearray(task["bytes"]))}, b""


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    tasks = [(0, {"bytes": MEMORY}), (1, {"bytes": 1000})]
    greedy, modest = run_tasks("test_bad_videos:hoard", tasks, workers=1, deadline=30)
    assert "MemoryError" in greedy.failure
    assert modest.answer == {"got": 1000}


@pytest.mark.skipif(not FILES, reason="the real difficult files are not here")
def test_8k_is_decoded_within_the_bound() -> None:
    """The bound is the decoder process's own: what needs more ends as a failure."""
    path = REAL / "edge_cases/androidx-media/mp4__8k24fps_300ms.mp4"
    (done,) = decoded([path]).values()
    assert done.failure == ""
    assert done.answer["total"] == 8


def test_repeated_frames_are_counted(tmp_path: Path) -> None:
    """A camera that hung: the frames are the file's, so they are used, and the record says how many."""
    own, rows = tmp_path / "own", ["video,caption,split"]
    own.mkdir()
    for name, split in zip("abcde", ("train", "train", "train", "val", "test"), strict=True):
        frames = moving(16)
        if name == "b":
            frames[6:] = frames[6]
        written(own / f"{name}.mkv", frames, "ffv1")
        rows.append(f"{name}.mkv,clip {name},{split}")
    (own / "captions.csv").write_text("\n".join(rows))
    data = DataConfig(name="folder", frames=8, size=32)
    store = FrameStore.open(prepare(data, source=str(own), root=tmp_path / "root", progress=False))
    assert store.repeated_frames == 4, "frames 7, 9, 11, 13, 15 of b show the same"
    assert store.skipped == []
