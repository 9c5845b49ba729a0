"""Parts of a file by their seconds: the frames that are shown then, by either decoder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from workbench.data import decode as module
from workbench.data.decode import decode_task
from workbench.data.sampling import centre_frames, frames_within

TIMES = [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (0.0, 0.0, (0, 4)),
        (0.0, 1.0, (0, 2)),
        (0.5, 1.5, (1, 3)),
        (0.6, 0.9, (1, 2)),  # no frame begins in it: the one that is shown
        (1.0, 0.0, (2, 4)),
        (1.0, 99.0, (2, 4)),
        (1.9, 99.0, (3, 4)),
        (0.5 + 1e-9, 1.0 + 1e-9, (1, 2)),  # rounded times
    ],
)
def test_frames_within_seconds(start: float, end: float, found: tuple[int, int]) -> None:
    assert frames_within(TIMES, start, end) == found


def test_a_segment_after_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"its segment begins at 2 s, and the video ends at 2\.00 s"):
        frames_within(TIMES, 2.0, 3.0)
    with pytest.raises(ValueError, match="no times"):
        frames_within([], 0.0, 1.0)


def counting(path: Path, ticks: list[int], codec: str = "libx264") -> None:
    """A video whose frame k is shown from `ticks[k]` tenths of a second on and has the grey 10 + 12 k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "1", "g": "4", "bf": "2"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        for number, tick in enumerate(ticks):
            pixels = np.full((32, 32, 3), 10 + 12 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def shown(path: Path, count: int, start: float, end: float) -> tuple[list[int], str]:
    """Numbers of the frames that are given, and the decoder."""
    task = {"path": str(path), "count": count, "size": 32, "start": start, "end": end}
    answer, payload = decode_task(task)
    assert "reason" not in answer, answer
    frames = np.frombuffer(payload, np.uint8).reshape(count, 32, 32, 3)
    return [round((float(frame.mean()) - 10) / 12) for frame in frames], answer["decoder"]


@pytest.mark.parametrize("with_decord", [True, False])
def test_a_segment_has_its_own_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_decord: bool
) -> None:
    counting(tmp_path / "even.mp4", list(range(16)))
    if not with_decord:
        monkeypatch.setattr(module, "decord", None)
    assert shown(tmp_path / "even.mp4", 4, 0.4, 0.8)[0] == [4, 5, 6, 7]
    assert shown(tmp_path / "even.mp4", 2, 0.4, 1.2)[0] == [6, 10]
    assert shown(tmp_path / "even.mp4", 2, 1.4, 30.0)[0] == [14, 15]
    assert shown(tmp_path / "even.mp4", 2, 0.0, 0.0)[0] == [4, 12]


def test_frames_of_a_variable_rate_are_found_by_their_times(tmp_path: Path) -> None:
    counting(tmp_path / "odd.mkv", [0, 1, 2, 3, 13, 23, 33, 34])
    assert shown(tmp_path / "odd.mkv", 2, 1.0, 3.0)[0] == [4, 5]
    assert shown(tmp_path / "odd.mkv", 1, 0.5, 1.0)[0] == [3], "the frame that is shown then"


def test_a_segment_outside_the_video_is_a_reason(tmp_path: Path) -> None:
    counting(tmp_path / "a.mp4", list(range(10)))
    answer, _ = decode_task(
        {"path": str(tmp_path / "a.mp4"), "count": 2, "size": 32, "start": 5.0, "end": 9.0}
    )
    assert answer["reason"] == "its segment begins at 5 s, and the video ends at 1.00 s"


REAL = Path(__file__).parents[3] / "shared" / "data"
FILES = (
    "clips/fight-surv/fight/fi001.mp4",
    "clips/grid/bbaf2n.mpg",
    "clips/mmaction2/test.avi",
    "edge_cases/androidx-media/mkv__sample_with_multiple_key_frames.mkv",
    "edge_cases/androidx-media/mp4__sample_android_slow_motion.mp4",
    "edge_cases/androidx-media/mp4__edit_list_positive_shift.mp4",
)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize("name", FILES)
def test_segments_of_real_files_are_those_of_decoding_in_order(name: str) -> None:
    """Against every frame with the time at which the decoder says it is shown."""
    with av.open(str(REAL / name)) as container:
        frames = [(frame.time, np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
                  for frame in container.decode(video=0)]  # fmt: skip
    begin = frames[0][0]
    length = frames[-1][0] - begin
    start, end = 0.3 * length, 0.8 * length
    inside = [pixels for time, pixels in frames if start - 1e-6 <= time - begin < end - 1e-6]
    wanted = [module.fit(inside[i], 32) for i in centre_frames(len(inside), 3)]
    task = {"path": str(REAL / name), "count": 3, "size": 32, "start": start, "end": end}
    answer, payload = decode_task(task)
    assert "reason" not in answer, answer
    assert np.array_equal(np.frombuffer(payload, np.uint8).reshape(3, 32, 32, 3), np.stack(wanted))
