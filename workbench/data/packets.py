"""What the packets of a video tell before one of them is decoded, and which of its frames are wanted."""

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
    """Numbers of the packets with which groups of pictures begin."""
    ticks: list[int | None]
    """When frames are shown, in the order of their packets."""
    steady: bool
    """Whether, as far as packets tell, each is one frame that is shown at a time of its own, see `steady`:
    frames are known by their times then, and a part can be decoded alone."""
    stream: Any
    """Of the container, for `decode` alone."""
    held: list[Any]
    """The packets themselves; none of a large file."""

    @property
    def times(self) -> list[float]:
        """Seconds from the first frame on, ascending; by the rate where there are no times, else none."""
        known = sorted(tick for tick in self.ticks if tick is not None)
        if len(known) == len(self.ticks) and self.stream.time_base is not None:
            return [float((tick - known[0]) * self.stream.time_base) for tick in known]
        rate = self.stream.average_rate
        return [float(number / rate) for number in range(len(self.ticks))] if rate else []


@dataclass(frozen=True)
class Pick:
    """Which frames are wanted: the centres of `count` equal intervals of a segment."""

    count: int
    start: float
    end: float
    """Seconds; 0 stands for the end of the video."""
    found: Found

    @property
    def part(self) -> bool:
        """Whether it is a part of the video that is wanted."""
        return bool(self.start or self.end)

    def of(self, total: int) -> list[int]:
        """Numbers of the frames, of a video with `total` of them; `DecodeError` where it ends before."""
        if not self.part:
            return centre_frames(total, self.count)
        try:
            first, stop = frames_within(self.found.times[:total], self.start, self.end)
        except ValueError as error:
            raise DecodeError(str(error)) from error
        return [first + number for number in centre_frames(stop - first, self.count)]


class Part(NamedTuple):
    """Packets from a key frame on, whose frames are known by their times."""

    begin: int
    """Number of the packet with which to begin."""
    first: int
    """Number of the frame that it holds, in the order in which frames are shown."""
    times: list[int]
    """When that frame and those behind it are shown, up to the last wanted one, in ticks of the stream."""


def part_of(found: Found, wanted: list[int]) -> Part:
    """The least that has to be decoded for some frames of a steady video.

    wanted: numbers of frames in the order in which they are shown.
    """
    order = sorted(tick for tick in found.ticks if tick is not None)
    keys = [number for number in found.groups if number < found.packets]
    begin = max(number for number in keys if _tick(found, number) <= order[min(wanted)])
    first = bisect_left(order, _tick(found, begin))
    return Part(begin, first, order[first : max(wanted) + 1])


def steady(ticks: Sequence[int | None], groups: Sequence[int]) -> bool:
    """Whether each packet has a time of its own, and no frame is shown before the first key frame.

    ticks, groups: as of `Found`.
    """
    known = {tick for tick in ticks if tick is not None}
    return len(known) == len(ticks) > 0 and groups[0:1] == [0] and min(known) == ticks[0]


def _tick(found: Found, number: int) -> int:
    tick = found.ticks[number]
    assert tick is not None, "the video is steady"
    return tick
