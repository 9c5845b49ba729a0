"""moving_shapes: a small compositional synthetic data set, stored as real H.264 video.

A clip shows one actor (colour, shape) doing two different actions, one after the other, before a
background. No two clips of the data set share a combination of colour, shape, first action, second
action and background, so a test clip is always a new combination of parts seen in training. Its
caption comes from a small grammar with synonyms; its label is the ordered pair of actions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.data.digests import Digests
from workbench.data.index import Clip, Index
from workbench.data.moving_shapes import world
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig
    from workbench.data.store import FrameStore

GENERATED = True

TRAIN_CLIPS = 8_000
EVAL_CLIPS = 500
"""Clips of val, and of test; for smaller data sets a sixth of the number of training clips."""
SEED = 20_221_202
MOTION_CLIPS = 200
"""Number of clips whose motion is returned together."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    """Clips, captions, splits and scenes. It draws random numbers only, not images.

    The digest covers this index (with every scene) and the constants of the drawing, not pixels, because x264
    and decoders differ between machines in the last bits. Each frame store records the hash of its own
    pixels.
    """
    clips = combined(data, TRAIN_CLIPS, SEED)
    return Index(digest=digest_of(clips), clips=tuple(clips))


def combined(data: DataConfig, full: int, seed: int) -> list[Clip]:
    """Clips of all splits, each with a different combination; `full`: training clips of the full size."""
    train = data.clips or full
    held_out = min(EVAL_CLIPS, max(2, train // 6))
    combinations = world.combinations()
    if train + 2 * held_out > len(combinations):
        raise UserError(
            f"{data.name} has {len(combinations)} combinations, enough for "
            f"{len(combinations) - 2 * EVAL_CLIPS} training clips, not {train}"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    order = np.argsort(rng.random(len(combinations)), kind="stable")
    sizes = {"test": held_out, "val": held_out, "train": train}
    clips: list[Clip] = []
    for split, count in sizes.items():
        for number in range(count):
            clips.append(world.clip(split, number, combinations[order[len(clips)]], rng))
    return clips


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """Draws and encodes all missing clips; returns the folder of the videos."""
    from workbench.data.moving_shapes.drawing import write_videos

    folder = cache / "videos"
    write_videos(index.clips, folder, progress)
    return folder


def motion(store: FrameStore, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """See `truth.Truth.motion`. Raises `UserError` if another version drew the clips of the store."""
    from workbench.data.moving_shapes.drawing import actor
    from workbench.data.moving_shapes.scenes import scenes
    from workbench.data.sampling import centre_frames

    clips = scenes(store, index)
    _, stored, _, size, _ = store.frames.shape
    taken = centre_frames(world.VIDEO_FRAMES, stored)
    scale = np.array([size / world.VIDEO_SIZE] * 3 + [1.0], np.float32)
    for first in range(0, len(rows), MOTION_CLIPS):
        chunk = [clips[store.clip_ids[row]] for row in rows[first : first + MOTION_CLIPS]]
        poses, covers = zip(*(actor(clip.attributes, clip.scene, taken) for clip in chunk), strict=True)
        yield np.stack(poses) * scale, np.stack(covers)


def boxes(store: FrameStore, rows: np.ndarray) -> np.ndarray:
    """See `truth.Truth.boxes`, for one actor. Raises `UserError` as `motion` does."""
    from workbench.data.moving_shapes.scenes import boxes_of

    return boxes_of(store, rows, index)


def digest_of(clips: Sequence[Clip], more: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Digest of an index and of the constants that its frames depend on: those of `world`, and `more`."""
    rows = [dataclasses.asdict(clip) for clip in clips]
    for row in rows:
        for late in ("label", "start", "end", "member"):  # came after the first digests, tell nothing new
            del row[late]
    content = {"constants": {**world.constants(), **more}, "clips": rows}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
