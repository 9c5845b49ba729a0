"""From an index to a frame store: decode every clip once, with nothing half-written."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from workbench.data.index import Index
from workbench.data.store import is_ready, write_record
from workbench.data.workers import run_tasks, usable_cores

if TYPE_CHECKING:
    from workbench.config import DataConfig


def build(data: DataConfig, source: str | None, root: Path, progress: bool, allow_bad_eval: bool) -> Path:
    from workbench.data import _module
    from workbench.data.clips import decoder_name

    module = _module(data.name)
    index = module.index(data, source)
    cache = root / f"{data.name}-{index.digest[:12]}"
    path = cache / f"frames-{data.frames}x{data.size}"
    if is_ready(path):
        return path
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process prepares {data.name}; waiting for it", file=sys.stderr)
        lock.acquire()
    with lock:
        if is_ready(path):
            return path
        for leftover in cache.glob("partial-*"):
            shutil.rmtree(leftover)
        videos = module.videos(index, source, cache, progress)
        partial = cache / f"partial-{path.name}"
        partial.mkdir()
        n = len(index.clips)
        frames = np.lib.format.open_memmap(
            partial / "frames.npy", "w+", np.uint8, (n, data.frames, data.size, data.size, 3)
        )
        tasks = [(i, {"path": str(videos / c.path), "count": data.frames, "size": data.size}) for i, c in enumerate(index.clips)]
        with tqdm(total=n, desc="decoding clips", unit="clip", disable=not progress) as bar:
            for done in run_tasks("workbench.data.clips:decode_task", tasks, workers=usable_cores(), deadline=60):
                if done.failure:
                    raise RuntimeError(done.failure)
                frames[done.number] = np.frombuffer(done.payload, np.uint8).reshape(frames.shape[1:])
                bar.update()
        frames.flush()
        sha = hashlib.sha256()
        for row in frames:
            sha.update(row)
        repeated = int((frames[:, 1:] == frames[:, :-1]).reshape(n, data.frames - 1, -1).all(-1).sum())
        write_record(partial, {
            "name": data.name, "digest": index.digest, "decoder": decoder_name(),
            "clips": [{"id": c.id, "split": c.split, "captions": c.captions, "attributes": c.attributes} for c in index.clips],
            "skipped": [], "repeated_frames": repeated, "frames_sha256": sha.hexdigest(), "notes": list(index.notes),
        })
        os.replace(partial, path)
    return path
