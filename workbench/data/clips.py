"""The only decoder: video file in, uint8 frames out. The one home of decord and PyAV."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

try:
    import decord
except ImportError:  # no wheel for this platform, as on ARM
    decord = None


class DecodeError(Exception):
    """A video that cannot be decoded; the message is the reason."""


def decoder_name() -> str:
    """Decoder and version, recorded with every run: another decoder gives other frames."""
    return f"decord {decord.__version__}" if decord is not None else f"pyav {av.__version__}"


def centre_frames(total: int, count: int) -> list[int]:
    """Frame numbers at the centres of `count` equal intervals, as Frozen-in-Time tests (arXiv:2104.00650).

    A video with fewer than `count` frames gives some of them several times.
    """
    return [min(total - 1, int((i + 0.5) * total / count)) for i in range(count)]


def decode(path: Path | str, count: int, size: int) -> np.ndarray:
    """`count` frames [count, size, size, 3]."""
    answer, payload = decode_task({"path": str(path), "count": count, "size": size})
    return np.frombuffer(payload, np.uint8).reshape(count, size, size, 3)


def decode_task(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    reader = decord.VideoReader(task["path"], ctx=decord.cpu(0), num_threads=1)
    total = len(reader)
    batch = reader.get_batch(centre_frames(total, task["count"])).asnumpy()
    frames = np.stack([fit(frame, task["size"]) for frame in batch])
    return {"decoder": "decord", "total": total}, frames.tobytes()


_SCALER = VideoReformatter()


def fit(frame: np.ndarray, size: int) -> np.ndarray:
    """Short side to `size`, then the central square."""
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    scale = size / min(height, width)
    height, width = max(size, round(height * scale)), max(size, round(width * scale))
    scaled = _SCALER.reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
        width=width, height=height, interpolation=Interpolation.AREA,
    ).to_ndarray()
    top, left = (height - size) // 2, (width - size) // 2
    return scaled[top : top + size, left : left + size]


def encode(path: Path, frames: np.ndarray, *, rate: int, crf: int) -> None:
    """Write frames uint8 [T, H, W, 3] as H.264 in yuv420p, one closed group of pictures per second."""
    options = {"crf": str(crf), "preset": "ultrafast", "g": str(rate), "threads": "1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
