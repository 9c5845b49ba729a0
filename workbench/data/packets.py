"""Information from the packets of a video before decoding, and the choice of frames."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from workbench.data.sampling import centre_frames, frames_within


class DecodeError(Exception):
    """A video that cannot be decoded; the message is the reason."""


class Found(NamedTuple):
    """What the packets of a video tell before one of them is decoded."""

    plain: bool
    """Whether decord can be trusted with the format."""
    packets: int
    groups: list[int]
    """Indices of the packets with which groups of pictures begin."""
    ticks: list[int | None]
    """Presentation times of frames, in the order of their packets."""
    steady: bool
    """Whether each packet is one frame with a distinct presentation time, see `steady`: then times identify
    frames, and a part can be decoded separately."""
    stream: Any
    """The stream of the container, used only by `decode`."""
    held: list[Any]
    """The packets; empty for a large file."""

    @property
    def times(self) -> list[float]:
        """Seconds from the first frame, ascending; from the frame rate if there are no times, else empty."""
        known = sorted(tick for tick in self.ticks if tick is not None)
        if len(known) == len(self.ticks) and self.stream.time_base is not None:
            return [float((tick - known[0]) * self.stream.time_base) for tick in known]
        rate = self.stream.average_rate
        return [float(number / rate) for number in range(len(self.ticks))] if rate else []


@dataclass(frozen=True)
class Pick:
    """The choice of frames: the centres of `count` equal intervals of a segment."""

    count: int
    start: float
    end: float
    """End in seconds; 0 stands for the end of the video."""
    found: Found

    @property
    def part(self) -> bool:
        """Whether only a part of the video is wanted."""
        return bool(self.start or self.end)

    def of(self, total: int) -> list[int]:
        """Indices of the frames, of `total`. Raises `DecodeError` if the video ends before the segment."""
        if not self.part:
            return centre_frames(total, self.count)
        try:
            first, stop = frames_within(self.found.times[:total], self.start, self.end)
        except ValueError as error:
            raise DecodeError(str(error)) from error
        return [first + number for number in centre_frames(stop - first, self.count)]


class Part(NamedTuple):
    """Packets from a key frame, whose frames are identified by their times."""

    begin: int
    """Index of the first packet."""
    first: int
    """Index of its frame in order of presentation."""
    times: list[int]
    """Presentation times of this frame and the following ones, up to the last wanted one, in ticks of the
    stream."""


def part_of(found: Found, wanted: list[int]) -> Part:
    """The smallest part of a steady video that contains some frames.

    wanted: indices of frames in order of presentation.
    """
    order = sorted(tick for tick in found.ticks if tick is not None)
    keys = [number for number in found.groups if number < found.packets]
    begin = max(number for number in keys if _tick(found, number) <= order[min(wanted)])
    first = bisect_left(order, _tick(found, begin))
    return Part(begin, first, order[first : max(wanted) + 1])


def steady(ticks: Sequence[int | None], groups: Sequence[int]) -> bool:
    """Whether each packet has a distinct time, and no frame is shown before the first key frame.

    ticks, groups: as in `Found`.
    """
    known = {tick for tick in ticks if tick is not None}
    return len(known) == len(ticks) > 0 and groups[0:1] == [0] and min(known) == ticks[0]


def _tick(found: Found, number: int) -> int:
    tick = found.ticks[number]
    assert tick is not None, "the video is steady"
    return tick
