"""The only decoder, from videos and images to uint8 frames. No other module uses decord or PyAV."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter

from workbench.data.index import absent
from workbench.data.packets import DecodeError, Found, Pick, part_of, steady
from workbench.data.pictures import PILLOW, PictureError, is_picture, picture_facts, read_picture
from workbench.data.sampling import repeated_frames, without_seeking

try:
    import decord
except ImportError:  # no wheel for this platform, as on ARM
    decord = None

__all__ = ["DecodeError", "decode", "decode_task", "decoder_names", "encode", "examine_task", "fit"]

DAMAGED = 8
"""Largest number of broken packets and damaged frames of a usable video."""
LARGEST = 8192 * 8192
"""Largest number of pixels of a frame; more is an error or an attack on memory."""
HELD = 64 << 20
"""Bytes of packets that are kept in memory for decoding, instead of being read from the file again."""
BATCH, PASSED = 32 << 20, 1 << 20
"""Bytes of full-size frames that decord returns at once, and that it decodes needlessly rather than seek."""


def decoder_names(used: Mapping[str, int]) -> str:
    """Decoders with their versions, recorded with every run because decoders differ in their frames.

    used: number of files that each has decoded: `decord` and `pyav` for videos, `pillow` for images.
    """
    versions = {"pyav": av.__version__, "decord": getattr(decord, "__version__", ""), "pillow": PILLOW}
    names = [f"{name} {versions[name]}" for name in sorted(used)]
    if len(names) == 1:
        return names[0]
    return ", ".join(f"{name} ({used[word]} videos)" for name, word in zip(names, sorted(used), strict=True))


def decode(path: Path | str, count: int, size: int) -> np.ndarray:
    """`count` frames uint8 [count, size, size, 3] of a video file.

    It runs in the calling process, which a hanging decoder would block; `build` runs `decode_task` in
    killable processes. Raises `DecodeError` with the reason.
    """
    answer, payload = decode_task({"path": str(path), "count": count, "size": size})
    if "reason" in answer:
        raise DecodeError(answer["reason"])
    return np.frombuffer(payload, np.uint8).reshape(count, size, size, 3)


def decode_task(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Decodes one video for `workers.run_tasks`; answers with decoder and number of frames, or a reason.

    task: `path`, `count`, `size`; `start` and `end` in seconds where a part of the file is wanted.
    """
    # An absolute path cannot be mistaken for one of FFmpeg's protocols.
    path, count, size = Path(task["path"]).absolute(), task["count"], task["size"]
    try:
        if why := absent(path):
            raise DecodeError(why)
        if is_picture(path):
            still = fit(read_picture(path, LARGEST), size)
            return _answer("pillow", np.repeat(still[None], count, axis=0), 1)
        with _open(path) as container:
            found = _probe(container)
            pick = Pick(count, task.get("start", 0.0), task.get("end", 0.0), found)
            if decord is not None and found.plain:
                if _intact(path, found, pick):
                    # PyAV decides on files that decord cannot decode.
                    with suppress(decord.DECORDError, DecodeError, MemoryError, RuntimeError):
                        return _answer("decord", *_with_decord(path, pick, size))
                found = found._replace(held=[])  # so that a fresh decoder decides
            return _answer("pyav", *_with_pyav(path, pick, size, found))
    except (DecodeError, PictureError) as error:
        return {"reason": str(error)}, b""
    except MemoryError:
        return {"reason": "it needs more memory than a decoder may take"}, b""


def examine_task(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """As `decode_task`, but returns facts about the video instead of its frames."""
    answer, payload = decode_task(task)
    if "reason" in answer:
        return answer, b""
    shape = (task["count"], task["size"], task["size"], 3)
    frames = np.frombuffer(payload, np.uint8).reshape(shape)
    repeated = repeated_frames(frames, answer["total"])
    content = hashlib.sha256(payload).hexdigest()
    return answer | _facts(Path(task["path"]).absolute()) | {"repeated": repeated, "content": content}, b""


def _facts(path: Path) -> dict[str, Any]:
    """Codec, size in pixels, seconds, and whether the rate varies by more than rounding."""
    if is_picture(path):
        codec, width, height = picture_facts(path, LARGEST)
        return {"codec": codec, "width": width, "height": height, "seconds": 0.0, "variable_rate": False}
    with _open(path) as container:
        stream = _video(container)
        assert stream is not None, "its frames were decoded"
        context = stream.codec_context
        facts = {"codec": context.codec.canonical_name, "width": context.width, "height": context.height}
        times = sorted(p.pts for p in container.demux(stream) if p.size and p.pts is not None)
        steps = sorted(later - earlier for earlier, later in pairwise(times))
        if not steps or stream.time_base is None:
            return facts | {"seconds": 0.0, "variable_rate": False}
        seconds = float((times[-1] - times[0] + steps[len(steps) // 2]) * stream.time_base)
        return facts | {"seconds": seconds, "variable_rate": steps[-1] > 1.5 * steps[0]}


def _answer(decoder: str, frames: np.ndarray, total: int, damaged: int = 0) -> tuple[dict[str, Any], bytes]:
    return {"decoder": decoder, "total": total, "damaged": damaged}, frames.tobytes()


def _open(path: Path) -> InputContainer:
    """Opens a video. Raises `DecodeError` for other files."""
    try:
        # A playlist with the name of a video would make FFmpeg open addresses chosen by its author.
        return av.open(str(path), options={"protocol_whitelist": "file"})
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"it is not a readable video ({_words(error)})") from error


def _video(container: InputContainer) -> av.VideoStream | None:
    """The first video stream. The cover of a song is also a stream, with one attached image."""
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def _probe(container: InputContainer) -> Found:
    """The content of the file. Raises `DecodeError` if there is no video to decode.

    decord returns wrong frames for VP8 and VP9, for more than eight bits, and for files with edit lists or an
    index that disagrees with their content, so these are decoded by PyAV.
    """
    try:
        stream = _video(container)
        if stream is None:
            raise DecodeError("it has no video stream")
        if stream.codec_context is None:
            raise DecodeError("its video codec is not known to this build of FFmpeg")
        context = stream.codec_context
        if context.width * context.height > LARGEST:
            raise DecodeError(f"its frames of {context.width} x {context.height} pixels are too large")
        context.thread_count = 1  # one process a core already, and frames are the same
        plain = context.name == "h264" and context.pix_fmt in ("yuv420p", "yuvj420p")
        plain = plain and not stream.start_time and len(container.streams.video) == 1
        single = context.name != "vp8"  # its packets may contain frames that are never shown
        packets, groups = 0, []
        ticks: list[int | None] = []
        held, room = [], HELD
        for packet in container.demux(stream):
            if packet.is_keyframe:
                groups.append(packets)
            if packet.size:
                packets += 1
                ticks.append(packet.dts if packet.pts is None else packet.pts)
            plain = plain and not packet.is_discard
            # An empty packet among the others represents a dropped frame.
            single = single and not packet.is_discard and bool(packet.size) == (packet.pts is not None)
            room -= packet.size
            if room >= 0:
                held.append(packet)
        plain = plain and stream.frames == packets and groups[:1] == [0]
        alone = single and steady(ticks, groups)
        return Found(plain, packets, groups, ticks, alone, stream, held if room >= 0 else [])
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"it is not a readable video ({_words(error)})") from error


@contextmanager
def _packets(path: Path, found: Found) -> Iterator[tuple[Iterable[av.Packet], VideoCodecContext]]:
    """The packets of a video, from memory or read again, with their decoders."""
    if found.held:
        yield found.held, found.stream.codec_context
        return
    with _open(path) as container:
        stream = _video(container)
        assert stream is not None, "the file has been probed"
        stream.codec_context.thread_count = 1
        yield container.demux(stream), stream.codec_context


def _intact(path: Path, found: Found, pick: Pick) -> bool:
    """Whether the groups of pictures with the wanted frames decode without errors, and upright.

    decord silently returns the result of damaged data, or another frame.
    """
    needed = {bisect_right(found.groups, number) for number in pick.of(found.packets)}
    with _packets(path, found) as (packets, context):
        context.options = {**context.options, "skip_loop_filter": "all"}  # the filter detects no errors
        sized = enumerate(packet for packet in packets if packet.size)
        for number, group in groupby(sized, lambda pair: bisect_right(found.groups, pair[0])):
            if number in needed and not _decodes([packet for _, packet in group], context):
                return False
    return True


def _decodes(group: list[av.Packet], context: VideoCodecContext) -> bool:
    try:  # one frame after another, because a group can be long
        every = (frame for packet in [*group, None] for frame in context.decode(packet))
        good = sum(not (frame.is_corrupt or frame.rotation) for frame in every)
    except av.FFmpegError:
        return False
    context.flush_buffers()
    return good == len(group)


def _with_decord(path: Path, pick: Pick, size: int) -> tuple[np.ndarray, int]:
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    wanted = pick.of(len(reader))
    # As a batch even of one, for `reader[i]` gives a narrow frame with the padding of its lines. Several at
    # once, for between two calls decord decodes on, only to throw that away at its next seek.
    context = pick.found.stream.codec_context
    room = max(1, 3 * context.width * context.height)
    taken = without_seeking(wanted, pick.found.groups, PASSED // room)
    some = max(1, BATCH // room)
    frames: dict[int, np.ndarray] = {}
    for part in (taken[i : i + some] for i in range(0, len(taken), some)):
        batch = zip(part, reader.get_batch(part).asnumpy(), strict=True)
        frames |= {number: fit(frame, size) for number, frame in batch if number in wanted}
    return np.stack([frames[number] for number in wanted]), len(reader)


def _with_pyav(path: Path, pick: Pick, size: int, found: Found) -> tuple[np.ndarray, int, int]:
    """Decodes in order; a second time if the number of frames differs from that of packets. Of a part of the
    video only as much as needed is decoded, if that gives the same frames."""
    wanted = pick.of(max(1, found.packets))
    if pick.part and found.steady:
        if (alone := _alone(path, wanted, size, found)) is not None:
            return np.stack([alone[number] for number in wanted]), found.packets, 0
        found = found._replace(held=[])
    total, damaged, chosen = _in_order(path, wanted, size, found)
    if total == 0:
        raise DecodeError("it has no frame that can be decoded")
    if total != found.packets:
        wanted = pick.of(total)
        _, _, chosen = _in_order(path, wanted, size, found._replace(held=[]))
    return np.stack([chosen[number] for number in wanted]), total, damaged


def _alone(path: Path, wanted: list[int], size: int, found: Found) -> dict[int, np.ndarray] | None:
    """The wanted frames, decoded from the last key frame before them; None if anything differs from what the
    packets announced, so that decoding in order may give others."""
    part = part_of(found, wanted)
    chosen = {}
    number = part.first
    try:
        with _packets(path, found) as (packets, _):
            for packet in islice(packets, part.begin, None):
                for frame in packet.decode():
                    if frame.pts is None or frame.pts < part.times[0]:
                        continue  # shown before the key frame, and predicted from earlier frames
                    if frame.is_corrupt or frame.pts != part.times[number - part.first]:
                        return None
                    if number in wanted:
                        chosen[number] = fit(_upright(frame), size)
                    number += 1
                    if number == part.first + len(part.times):
                        return chosen
    except (av.FFmpegError, ValueError):
        return None  # decoding in order will report the error
    return None


def _in_order(
    path: Path, wanted: list[int], size: int, found: Found
) -> tuple[int, int, dict[int, np.ndarray]]:
    """Number of frames in order of presentation, number of damaged ones, and the wanted frames."""
    total = damaged = 0
    chosen = {}
    try:
        with _packets(path, found) as (packets, _):
            for packet in packets:
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    damaged, frames = damaged + 1, []
                for frame in frames:
                    damaged += frame.is_corrupt
                    if total in wanted:
                        chosen[total] = fit(_upright(frame), size)
                    total += 1
                if damaged > DAMAGED:
                    raise DecodeError(f"more than {DAMAGED} of its packets or frames are damaged")
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"decoding failed ({_words(error)})") from error
    return total, damaged, chosen


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB pixels [H, W, 3], rotated as the file specifies."""
    pixels = _COLOURS.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.rot90(pixels, round(frame.rotation / 90))


def _words(error: Exception) -> str:
    """The error without the file's path, which depends on the machine."""
    if isinstance(error, av.FFmpegError):
        return error.strerror or type(error).__name__
    return str(error).partition("\n")[0][:160]


_COLOURS, _SCALER = VideoReformatter(), VideoReformatter()  # each caches its preparation for one size


def fit(frame: np.ndarray, size: int) -> np.ndarray:
    """Scales the short side to `size`, then takes the central square."""
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    scale = size / min(height, width)
    height, width = max(size, round(height * scale)), max(size, round(width * scale))
    whole = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    scaled = _SCALER.reformat(whole, width, height, interpolation=Interpolation.AREA, threads=1).to_ndarray()
    top, left = (height - size) // 2, (width - size) // 2
    return scaled[top : top + size, left : left + size]


def encode(path: Path, frames: np.ndarray, *, rate: int, crf: int) -> None:
    """Writes frames uint8 [T, H, W, 3] as H.264 in yuv420p, one closed group of pictures per second."""
    options = {"crf": str(crf), "preset": "ultrafast", "g": str(rate), "threads": "1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
