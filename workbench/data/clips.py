"""The only decoder: video file in, uint8 frames out. The one home of decord and PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

try:
    import decord
except ImportError:  # no wheel for this platform, as on ARM
    decord = None


BROKEN_PACKETS = 8
"""A video with more broken packets than this is refused; with fewer, the frames that are there are used."""


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
    """`count` frames uint8 [count, size, size, 3] of a video file.

    In the calling process: a hanging decoder hangs it too. `build` runs `decode_task` in killable ones.
    Raises `DecodeError` with the reason.
    """
    answer, payload = decode_task({"path": str(path), "count": count, "size": size})
    if "reason" in answer:
        raise DecodeError(answer["reason"])
    return np.frombuffer(payload, np.uint8).reshape(count, size, size, 3)


def decode_task(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """One video for `workers.run_tasks`: answers with the decoder and the number of frames, or a reason."""
    path, count, size = Path(task["path"]), task["count"], task["size"]
    try:
        plain = _probe(path)
        if decord is not None and plain:
            try:
                return _answer("decord", *_with_decord(path, count, size))
            except (decord.DECORDError, DecodeError, MemoryError):
                pass  # PyAV judges what decord gives up on
        return _answer("pyav", *_with_pyav(path, count, size))
    except DecodeError as error:
        return {"reason": str(error)}, b""


def _answer(decoder: str, frames: np.ndarray, total: int) -> tuple[dict[str, Any], bytes]:
    return {"decoder": decoder, "total": total}, frames.tobytes()


def _probe(path: Path) -> bool:
    """Whether decord can be trusted with this file; `DecodeError` where there is no video to decode.

    decord gives other frames than the file's for VP8 and VP9, for more than eight bits, and for files with
    edit lists or an index that disagrees with their content, so those go to PyAV.
    """
    if not path.is_file():
        raise DecodeError("there is no such file")
    if path.stat().st_size == 0:
        raise DecodeError("the file is empty")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DecodeError("it has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DecodeError("its video codec is not known to this build of FFmpeg")
            context = stream.codec_context
            plain = context.name == "h264" and context.pix_fmt in ("yuv420p", "yuvj420p")
            plain = plain and not stream.start_time
            packets = 0
            for packet in container.demux(stream):
                packets += packet.size > 0
                plain = plain and not packet.is_discard
            return plain and stream.frames == packets
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"it is not a readable video ({_words(error)})") from error


def _with_decord(path: Path, count: int, size: int) -> tuple[np.ndarray, int]:
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    total = len(reader)
    if total == 0:
        raise DecodeError("it has no frames")
    wanted = centre_frames(total, count)
    batch = reader.get_batch(wanted).asnumpy()
    return np.stack([fit(frame, size) for frame in batch]), total


def _with_pyav(path: Path, count: int, size: int) -> tuple[np.ndarray, int]:
    """Decodes in order, twice: to count what really is there, and to take the wanted frames."""
    try:
        total = sum(1 for _ in _frames(path))
        if total == 0:
            raise DecodeError("it has no frame that can be decoded")
        wanted = centre_frames(total, count)
        chosen = {}
        for number, frame in enumerate(_frames(path)):
            if number in wanted:
                chosen[number] = fit(_upright(frame), size)
            if number == wanted[-1]:
                break
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"decoding failed ({_words(error)})") from error
    return np.stack([chosen[number] for number in wanted]), total


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    """All frames that can be decoded, in order of presentation; packets that are broken are passed over."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        broken = 0
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                broken += 1
                if broken > BROKEN_PACKETS:
                    raise DecodeError(f"more than {BROKEN_PACKETS} packets are broken") from error


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB pixels [H, W, 3], turned as the file says they are to be shown."""
    return np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)


def _words(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__


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
        width=width,
        height=height,
        interpolation=Interpolation.AREA,
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
