"""Builds a frame store from an index: decodes every clip once and never leaves a partial store."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from workbench.data.decode import decoder_names
from workbench.data.index import Index, absent
from workbench.data.progress import Progress
from workbench.data.sampling import repeated_frames
from workbench.data.store import is_ready, write_record
from workbench.data.workers import Done, run_tasks, usable_cores
from workbench.errors import UserError
from workbench.tracking.files import naming

if TYPE_CHECKING:
    from workbench.config import DataConfig

TASK = "workbench.data.shards.members:decode_task"
OVERDUE = "no answer within"
"""Prefix of the failure of a task that exceeded its deadline."""
DEADLINE = 60.0
"""Seconds after which the first attempt to decode a video is stopped."""
PATIENT = 600.0
"""The same for the second attempt, which runs alone, because the machine may only have been busy."""
SHARE = 0.1
"""Share of the training videos that may be missing without a warning."""


@dataclass(frozen=True)
class Job:
    """A store to be built."""

    data: DataConfig
    source: str | None
    root: Path
    progress: bool
    allow_bad_eval: bool


def build(job: Job, module: ModuleType, index: Index, path: Path) -> Path:
    """Builds the store at `path` unless it exists; a second process waits for the first."""
    if is_ready(path):
        return path
    cache = path.parent
    cache.mkdir(parents=True, exist_ok=True)
    with _only_one(cache / "lock", job.data.name):
        if is_ready(path):
            return path
        for leftover in cache.glob("partial-*"):
            shutil.rmtree(leftover)
        videos = module.videos(index, job.source, cache, job.progress)
        partial = cache / f"partial-{path.name}"
        partial.mkdir()
        try:
            _write(job, index, videos, partial)
            shutil.rmtree(path, ignore_errors=True)  # the existing store is damaged or of another version
            os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return path


def refuse_gaps(held_out: Sequence[tuple[str, str]]) -> None:
    """Raises `UserError` if videos of val or test, given with their reasons, cannot be used."""
    if held_out:
        shown = "; ".join(f"{path} ({reason})" for path, reason in held_out[:5])
        more = f" and {len(held_out) - 5} more" if len(held_out) > 5 else ""
        raise UserError(
            f"{len(held_out)} videos of val or test cannot be used: {shown}{more}; mend or remove them, "
            "or go on without them with --allow-bad-eval"
        )


@contextmanager
def _only_one(lock_file: Path, name: str) -> Iterator[None]:
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process prepares {name}; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(job: Job, index: Index, videos: Path, partial: Path) -> None:
    """Writes the store into `partial`, a folder beside its final one, so that relative paths stay valid."""
    shape = (job.data.kept_frames, job.data.kept_size, job.data.kept_size, 3)
    stored = [i for i, clip in enumerate(index.clips) if not clip.streamed]
    _judge(job, index, _gaps(index, videos))  # fail before hours of useless decoding
    staged = _allocate(partial / "frames.npy", (len(stored), *shape))
    decoded = _decode(job, index, stored, videos, staged)
    reasons = decoded.reasons
    staged.flush()
    _judge(job, index, reasons)
    missing = _missing(index, reasons)
    good = [row for row, i in enumerate(stored) if i not in reasons]
    if len(good) < len(stored):
        staged = _compact(partial, staged, good)
    sha, repeated = hashlib.sha256(), 0
    for frames, row in zip(staged, good, strict=True):
        sha.update(frames)
        repeated += repeated_frames(frames, decoded.totals[stored[row]])
    clips = [clip for i, clip in enumerate(index.clips) if i not in reasons]
    numbers = {address: number for number, (address, _) in enumerate(index.shards)}
    write_record(
        partial,
        {
            "name": job.data.name,
            "digest": index.digest,
            "decoder": decoder_names(decoded.ways),
            "clips": [
                {
                    "id": c.id,
                    "split": c.split,
                    "captions": c.captions,
                    "attributes": dict(c.attributes),
                    "path": c.path,
                    **({"label": c.label} if c.label else {}),
                    **({"start": c.start, "end": c.end} if c.start or c.end else {}),
                    **({"member": [numbers[c.member[0]], *c.member[1:]]} if c.member and c.streamed else {}),
                }
                for c in clips
            ],
            "videos": _seen_from(partial, videos),
            "skipped": [
                {"video": index.clips[i].path, "reason": reason, "split": index.clips[i].split}
                for i, reason in sorted(reasons.items())
            ],
            "repeated_frames": repeated,
            "frames_sha256": sha.hexdigest(),
            "notes": [*index.notes, *missing],
            **({"shared_captions": True} if index.shared else {}),
            **({"shards": index.shards} if index.shards else {}),
        },
    )


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """An array in a new file whose space is allocated at once: a full disk would kill the process later."""
    with naming(path):
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _seen_from(store: Path, videos: Path) -> str:
    """The folder of the videos: relative where it moves with the store, absolute for one's own videos."""
    home = store.parent.resolve()
    if videos.resolve().is_relative_to(home):
        return os.path.relpath(videos.resolve(), store.resolve())
    return str(videos.resolve())


@dataclass(frozen=True)
class _Decoded:
    """Results of decoding, by the clips' numbers in the index."""

    totals: dict[int, int] = field(default_factory=dict)
    """Number of frames of the video."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Why it could not be used."""
    ways: Counter[str] = field(default_factory=Counter)
    """Number of videos that each decoder has decoded."""


def _decode(job: Job, index: Index, stored: Sequence[int], videos: Path, into: np.ndarray) -> _Decoded:
    """Decodes the clips in `stored` and writes their frames into `into`."""
    size = {"count": into.shape[1], "size": job.data.kept_size}
    tasks = [(i, index.clips[i].task(videos) | size) for i in stored]
    row = {i: row for row, i in enumerate(stored)}
    found = _Decoded()
    with Progress(len(tasks), "decoding clips", "clip", shown=job.progress) as bar:
        for done in _answers(tasks):
            reason = done.failure or done.answer.get("reason")
            if reason:
                found.reasons[done.number] = reason
                bar.say(f"left out: {index.clips[done.number].path}: {reason}")
            else:
                found.totals[done.number] = done.answer["total"]
                found.ways[done.answer["decoder"]] += 1
                into[row[done.number]] = np.frombuffer(done.payload, np.uint8).reshape(into.shape[1:])
            bar.update()
    return found


def _answers(tasks: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[Done]:
    """What the decoders say. Those that were too slow are asked once more at the end, one after another:
    what is left out stays out of the store, and a disk or a machine may be slow for a while only.
    """
    slow = []
    for done in run_tasks(TASK, tasks, workers=usable_cores(), deadline=DEADLINE):
        if done.failure.startswith(OVERDUE):
            slow.append(done.number)
        else:
            yield done
    again = [(number, task) for number, task in tasks if number in slow]
    yield from run_tasks(TASK, again, workers=1, deadline=PATIENT)


def _missing(index: Index, reasons: Mapping[int, str]) -> list[str]:
    """A note, printed at once as well, if many training videos cannot be used."""
    train = [i for i, clip in enumerate(index.clips) if clip.split == "train"]
    gone = sum(i in reasons for i in train)
    if gone <= SHARE * len(train):
        return []
    note = f"{gone} of {len(train)} training videos ({gone / len(train):.0%}) cannot be used"
    print(f"warning: {note}", file=sys.stderr)
    return [note]


def _gaps(index: Index, videos: Path) -> dict[int, str]:
    """Clips whose file is missing or empty, by their number in the index, with the reason."""
    own = [(i, videos / clip.path) for i, clip in enumerate(index.clips) if clip.member is None]
    return {i: why for i, path in own if (why := absent(path))}


def _judge(job: Job, index: Index, reasons: dict[int, str]) -> None:
    """Raises `UserError` if an evaluation would miss videos without the user's permission."""
    bad = [(index.clips[i], reason) for i, reason in sorted(reasons.items())]
    if not job.allow_bad_eval:
        refuse_gaps([(clip.path, reason) for clip, reason in bad if clip.split != "train"])
    for split, least in (("train", 2), ("val", 1), ("test", 1)):
        left = sum(clip.split == split and i not in reasons for i, clip in enumerate(index.clips))
        if left < least:
            raise UserError(f"{split} has {left} usable videos; at least {least} are needed")


def _compact(partial: Path, staged: np.memmap, good: list[int]) -> np.memmap:
    """The file without the clips that were left out."""
    path = partial / "compact.npy"
    out = _allocate(path, (len(good), *staged.shape[1:]))
    for position, i in enumerate(good):
        out[position] = staged[i]
    out.flush()
    os.replace(path, partial / "frames.npy")
    return out
