"""From an index to a frame store: decode every clip once, with nothing half-written."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from workbench.data.clips import decoder_name
from workbench.data.index import Index
from workbench.data.store import is_ready, write_record
from workbench.data.workers import run_tasks, usable_cores
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

DEADLINE = 60.0
"""Seconds after which a video that is still being decoded is given up."""


@dataclass(frozen=True)
class Job:
    """One store to be made."""

    data: DataConfig
    source: str | None
    root: Path
    progress: bool
    allow_bad_eval: bool


def store_path(data: DataConfig, root: Path) -> Path:
    """Where the frame store of described data lies."""
    return root / f"{data.name}-{data.digest[:12]}" / f"frames-{data.frames}x{data.size}"


def build(job: Job, module: ModuleType, index: Index, path: Path) -> Path:
    """Makes the store at `path` unless it is there; a second process waits for the first."""
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
            os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return path


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
    shape = (job.data.frames, job.data.size, job.data.size, 3)
    staged = np.lib.format.open_memmap(partial / "frames.npy", "w+", np.uint8, (len(index.clips), *shape))
    totals, reasons = _decode(job, index, videos, staged)
    staged.flush()
    _judge(job, index, reasons)
    good = [i for i in range(len(index.clips)) if i not in reasons]
    if len(good) < len(index.clips):
        staged = _compact(partial, staged, good)
    sha, repeated = hashlib.sha256(), 0
    for row, i in zip(staged, good, strict=True):
        sha.update(row)
        # Frames of a video that is shorter than the sample repeat by design and are not counted.
        if totals[i] >= len(row):
            repeated += int((row[1:] == row[:-1]).reshape(len(row) - 1, -1).all(-1).sum())
    clips = [index.clips[i] for i in good]
    write_record(
        partial,
        {
            "name": job.data.name,
            "digest": index.digest,
            "decoder": decoder_name(),
            "clips": [
                {"id": c.id, "split": c.split, "captions": c.captions, "attributes": dict(c.attributes)}
                for c in clips
            ],
            "skipped": [
                {"video": index.clips[i].path, "reason": reason, "split": index.clips[i].split}
                for i, reason in sorted(reasons.items())
            ],
            "repeated_frames": repeated,
            "frames_sha256": sha.hexdigest(),
            "notes": list(index.notes),
        },
    )


def _decode(job: Job, index: Index, videos: Path, into: np.ndarray) -> tuple[dict[int, int], dict[int, str]]:
    """Frames of every clip into `into`; returns frame counts, and the reason for each that failed."""
    size = {"count": job.data.frames, "size": job.data.size}
    tasks = [(i, {"path": str(videos / clip.path), **size}) for i, clip in enumerate(index.clips)]
    totals: dict[int, int] = {}
    reasons: dict[int, str] = {}
    answers = run_tasks("workbench.data.clips:decode_task", tasks, workers=usable_cores(), deadline=DEADLINE)
    with tqdm(total=len(tasks), desc="decoding clips", unit="clip", disable=not job.progress) as bar:
        for done in answers:
            reason = done.failure or done.answer.get("reason")
            if reason:
                reasons[done.number] = reason
                tqdm.write(f"left out: {index.clips[done.number].path}: {reason}", file=sys.stderr)
            else:
                totals[done.number] = done.answer["total"]
                into[done.number] = np.frombuffer(done.payload, np.uint8).reshape(into.shape[1:])
            bar.update()
    return totals, reasons


def _judge(job: Job, index: Index, reasons: dict[int, str]) -> None:
    """An evaluation with videos missing is another benchmark, so it needs the user's word."""
    bad = [(index.clips[i], reason) for i, reason in sorted(reasons.items())]
    held_out = [(clip, reason) for clip, reason in bad if clip.split != "train"]
    if held_out and not job.allow_bad_eval:
        shown = "; ".join(f"{clip.path} ({reason})" for clip, reason in held_out[:5])
        more = f" and {len(held_out) - 5} more" if len(held_out) > 5 else ""
        raise UserError(
            f"{len(held_out)} videos of val or test cannot be used: {shown}{more}; mend or remove them, "
            "or go on without them with --allow-bad-eval"
        )
    for split, least in (("train", 2), ("val", 1), ("test", 1)):
        left = sum(clip.split == split and i not in reasons for i, clip in enumerate(index.clips))
        if left < least:
            raise UserError(f"{split} has {left} usable videos; at least {least} are needed")


def _compact(partial: Path, staged: np.memmap, good: list[int]) -> np.memmap:
    """The same file without the clips that were left out."""
    path = partial / "compact.npy"
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (len(good), *staged.shape[1:]))
    for position, i in enumerate(good):
        out[position] = staged[i]
    out.flush()
    os.replace(path, partial / "frames.npy")
    return out
