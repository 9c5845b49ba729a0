"""Frames of training clips that are decoded when a step needs them, with the interface of an array.

The loader determines the clips of a step from seed and step alone. So the number of decoding processes, and
which of them decodes a clip, only affects the speed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.data.shards import locations
from workbench.data.workers import Crew, Done, run_tasks, usable_cores
from workbench.errors import UserError

TASK = "workbench.data.shards.members:decode_task"
DECODERS = "WORKBENCH_DECODERS"
"""Environment variable: number of decoding processes for each training process."""
DEADLINE, PATIENT = 60.0, 240.0
"""Seconds after which the first and the second attempt to decode a clip are stopped, because a machine may
only be busy. Their sum is below the time after which a study assumes a hang."""
LIMIT = 0.05
"""Largest share of bad clips before the run stops."""
FEW = 200
"""Number of clips that must be tried before the share is checked, if there are as many."""


class StreamedFrames:
    """Reads as a uint8 array [N, S, H, W, 3]: rows of training clips from shards, the others from a file.

    A clip that cannot be decoded is black and is in `bad` from then on; the loader replaces it by another.
    Raises `UserError` if more than `LIMIT` of the clips are bad, and if a shard cannot be read. Instances may
    be shared between threads. The decoding processes start with the first clip and end with this object.

    Args: stored: uint8 [n, S, H, W, 3], frames of the clips that are in no shard or were decoded before.
        clips: as in `store.json`; those to be streamed have a `member`: number of the shard, offset, size.
        shards: address and state of each shard, from `locations.state` when it was indexed.
    """

    dtype = np.dtype(np.uint8)
    ndim = 5

    def __init__(
        self, stored: np.ndarray, clips: Sequence[Mapping[str, Any]], shards: Sequence[Sequence[Any]]
    ) -> None:
        streamed = np.array(["member" in clip for clip in clips], bool)
        self.shape = (len(clips), *stored.shape[1:])
        self._stored, self._shards = stored, shards
        self._row = np.where(streamed, -1, np.cumsum(~streamed) - 1)  # row in `stored`
        self._members = np.array([clip.get("member", (0, 0, 0)) for clip in clips], np.int64).reshape(-1, 3)
        self._times = np.array([(c.get("start", 0.0), c.get("end", 0.0)) for c in clips]).reshape(-1, 2)
        self._names = [clip["path"] for clip in clips]
        self._tried = np.zeros(len(clips), bool)
        self._streamed = int(streamed.sum())
        self._lock = threading.Lock()
        self._crew: Crew | None = None
        self._seconds = {"read": 0.0, "decode": 0.0}
        self._decoded = 0
        self.bad: dict[int, str] = {}
        """Row -> why it cannot be decoded."""

    @property
    def addresses(self) -> list[str]:
        """All shards of the data set."""
        return [str(address) for address, _ in self._shards]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = np.arange(len(self))[first]
        each, place = np.unique(rows, return_inverse=True)
        found: np.ndarray = self._read(each)[(place.reshape(np.shape(rows)), *rest)]
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def take(self, indices: np.ndarray, axis: int = 0, out: None = None, mode: str = "raise") -> np.ndarray:
        """The method that `numpy.take` calls; along the first axis only."""
        assert (axis, out, mode) == (0, None, "raise"), "clips are taken whole"
        return self[indices]

    def gone(self, rows: np.ndarray) -> np.ndarray:
        """Which rows are known to be bad, bool [B]."""
        return np.array([row in self.bad for row in rows.tolist()], bool)

    def skipped(self) -> dict[str, str]:
        """Name of each bad clip -> why."""
        return {self._names[row]: reason for row, reason in sorted(self.bad.copy().items())}

    def throughput(self) -> dict[str, float]:
        """Clips per second that all decoding processes could read, and decode, if they only did that."""
        if not self._decoded:
            return {}
        return {
            f"speed/{what}_clips_per_s": decoders() * self._decoded / max(seconds, 1e-9)
            for what, seconds in self._seconds.items()
        }

    def close(self) -> None:
        """Ends the decoding processes; a later read starts new ones."""
        with self._lock:
            if self._crew is not None:
                self._crew.close()
                self._crew = None

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """The frames of ascending rows [U], uint8 [U, S, H, W, 3]."""
        frames = np.zeros((len(rows), *self.shape[1:]), np.uint8)
        stored = self._row[rows] >= 0
        frames[stored] = self._stored[self._row[rows[stored]]]
        places_of = {row: place for place, row in enumerate(rows.tolist()) if not stored[place]}
        if not places_of:
            return frames
        with self._lock:
            for done in self._answers([row for row in places_of if row not in self.bad]):
                self._tried[done.number] = True
                if done.answer.get("unread"):
                    raise UserError(done.answer["reason"])
                if reason := done.failure or done.answer.get("reason"):
                    self._leave_out(done.number, reason)
                    continue
                self._decoded += 1
                for what in self._seconds:
                    self._seconds[what] += done.answer[what]
                shape = frames.shape[1:]
                frames[places_of[done.number]] = np.frombuffer(done.payload, np.uint8).reshape(shape)
        return frames

    def _answers(self, rows: Sequence[int]) -> Iterator[Done]:
        """The results of the decoders. Tasks that failed without an answer are repeated with more time."""
        if self._crew is None:
            check_shards(self._shards)
            self._crew = Crew(TASK, decoders(), DEADLINE)
        silent = []
        for done in self._crew.run((row, self._task(row)) for row in rows):
            if done.failure:
                silent.append(done.number)
            else:
                yield done
        if silent:
            tasks = [(row, self._task(row)) for row in silent]
            yield from run_tasks(TASK, tasks, workers=decoders(), deadline=PATIENT)

    def _task(self, row: int) -> dict[str, Any]:
        number, offset, size = self._members[row].tolist()
        start, end = self._times[row].tolist()
        member = [self._shards[number][0], offset, size]
        return {"member": member, "start": start, "end": end, "count": self.shape[1], "size": self.shape[2]}

    def _leave_out(self, row: int, reason: str) -> None:
        self.bad[row] = reason
        print(f"left out: {self._names[row]}: {reason}", file=sys.stderr, flush=True)
        tried = int(self._tried.sum())
        if len(self.bad) > LIMIT * max(tried, min(FEW, self._streamed)):
            raise UserError(
                f"{len(self.bad)} of {tried} clips cannot be decoded, more than {LIMIT:.0%} of them; "
                f"the last is {self._names[row]} ({reason})"
            )


def decoders() -> int:
    """Number of decoding processes for this process: as requested, or its share of the cores."""
    asked = os.environ.get(DECODERS, "")
    if asked:
        if not (asked.isdecimal() and 0 < int(asked) <= 1024):
            raise UserError(f"{DECODERS} must be the number of decoding processes, 1 to 1024, not {asked!r}")
        return int(asked)
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def check_shards(shards: Sequence[Sequence[Any]]) -> None:
    """Raises `UserError` for files that are gone or changed since indexing; addresses are not checked."""
    for address, known in shards:
        if "://" not in address and locations.state(address) != list(known):
            raise UserError(
                f"{address} was changed since it was indexed: give the study --data shards:PATTERN again"
            )
