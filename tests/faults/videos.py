"""Videos with faults, made with PyAV, and the reference they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from workbench.data.decode import encode, fit
from workbench.data.sampling import centre_frames

REAL = Path(__file__).parents[3] / "shared" / "data"
SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".ts", ".flv", ".mp3", ".mpg"}
FILES = sorted(p for p in REAL.rglob("*") if p.suffix in SUFFIXES and p.is_file())


def reference(path: Path, count: int, size: int) -> np.ndarray:
    """All frames in order by PyAV, the wanted ones chosen afterwards: uint8 [count, size, size, 3]."""
    frames = []
    with av.open(str(path)) as container:
        # What a decoder makes of damage depends on how many threads it has.
        container.streams.video[0].codec_context.thread_count = 1
        for packet in container.demux(container.streams.video[0]):
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for frame in decoded:
                upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                frames.append(fit(upright, size))
    return np.stack([frames[i] for i in centre_frames(len(frames), count)])


def moving(frames: int = 30, height: int = 48, width: int = 64) -> np.ndarray:
    """A pattern of which no two frames are alike, uint8 [T, H, W, 3]."""
    t, y, x = np.ogrid[:frames, :height, :width]
    red = 127 + 100 * np.sin((x + 3 * t) / 9) + 0 * y
    green = 127 + 100 * np.sin((y - 2 * t) / 7) + 0 * x
    blue = (8 * t) % 256 + 0 * x + 0 * y
    return np.stack([red, green, blue], -1).astype(np.uint8)


def plain(path: Path, frames: int = 30) -> bytes:
    """An ordinary H.264 file at `path`, and its bytes."""
    encode(path, moving(frames), rate=10, crf=20)
    return path.read_bytes()


def written(path: Path, frames: np.ndarray, codec: str, *, times: Sequence[int] = (), **options: str) -> None:
    """Frames in another codec; `times` are time stamps in tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[number] if times else number
            frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def sound_only(path: Path) -> None:
    """A second of silence in an MP4 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def patched(content: bytes, box: bytes, offset: int, new: bytes) -> bytes:
    """`content` with bytes replaced `offset` bytes after the name of the first such MP4 box."""
    at = content.index(box) + len(box) + offset
    return content[:at] + new + content[at + len(new) :]


def damaged(whole: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """`whole` cut, with some bits flipped, or with a stretch of noise."""
    content = bytearray(whole)
    match kind:
        case "cut":
            return bytes(content[: int(rng.integers(1, len(content)))])
        case "flipped":
            for at in rng.integers(0, len(content), 3):
                content[at] ^= 1 << int(rng.integers(8))
        case "noise":
            at = int(rng.integers(0, len(content) - 200))
            content[at : at + 200] = rng.bytes(200)
        case _:
            raise ValueError(f"no damage {kind!r}")
    return bytes(content)
