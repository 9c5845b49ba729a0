"""A part of a file is decoded from its last key frame on, and gives the frames of decoding the whole file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from workbench.data import decode as module
from workbench.data.decode import decode_task
from workbench.data.sampling import centre_frames, frames_within

KINDS = {
    "mp4": ("libx264", {"g": "12", "bf": "3"}, True),
    "mov": ("libx264", {"g": "12", "bf": "2", "x264-params": "open-gop=1:keyint=12"}, True),
    "mkv": ("libx264", {"g": "9", "bf": "3", "x264-params": "open-gop=1:keyint=9"}, True),
    "ts": ("libx264", {"g": "12", "bf": "3"}, True),
    "avi": ("mpeg4", {"g": "12"}, True),
    "3gp": ("mpeg4", {"g": "12", "bf": "2"}, True),
    "mpg": ("mpeg2video", {"g": "12", "bf": "2"}, None),
    "m4v": ("libx265", {"x265-params": "keyint=12:open-gop=1:bframes=3:log-level=none"}, None),
    "webm": ("libvpx-vp9", {"g": "12", "lag-in-frames": "8", "auto-alt-ref": "1"}, True),
    "flv": ("flv", {"g": "12"}, True),
}
"""Suffix -> codec, its options, and whether parts are decoded alone; None where either will do."""


def drawn(path: Path, codec: str, options: dict[str, str], begin: int) -> None:
    """Sixty different frames, the first of which is shown `begin` frames after the begin of the file."""
    form = {"m4v": "mp4", "3gp": "3gp"}.get(path.suffix[1:])
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    with av.open(str(path), "w", format=form) as container:
        rate = 24 if path.suffix == ".mpg" else 12  # MPEG-2 knows few
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            pixels = np.roll(noise, (number, number // 8), (1, 0)).repeat(8, 0).repeat(8, 1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = begin + number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("begin", [0, 31])
@pytest.mark.parametrize("suffix", KINDS)
def test_a_part_has_the_frames_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, begin: int
) -> None:
    codec, options, alone = KINDS[suffix]
    if codec not in av.codecs_available:
        pytest.skip(f"{codec} is not here")
    path = tmp_path / f"a.{suffix}"
    drawn(path, codec, options, begin)
    monkeypatch.setattr(module, "decord", None)
    was_alone = []
    parts = module._alone

    def told(*given: object) -> object:
        found = parts(*given)  # type: ignore[arg-type]
        was_alone.append(found is not None)
        return found

    monkeypatch.setattr(module, "_alone", told)
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    times = [time - frames[0][0] for time, _ in frames if time is not None and frames[0][0] is not None]
    length = times[-1]
    for start, end in ((0.0, 0.2), (0.31, 0.34), (0.55, 0.9), (0.9, 2.0)):
        begins, stops = frames_within(times, start * length, end * length)
        inside = [begins + number for number in centre_frames(stops - begins, 4)]
        wanted = [module.fit(frames[number][1], 32) for number in inside]
        task = {"path": str(path), "count": 4, "size": 32, "start": start * length, "end": end * length}
        answer, payload = decode_task(task)
        assert answer.get("decoder") == "pyav", answer
        assert np.array_equal(np.frombuffer(payload, np.uint8).reshape(4, 32, 32, 3), np.stack(wanted))
    if alone:
        assert was_alone == [True] * 4
