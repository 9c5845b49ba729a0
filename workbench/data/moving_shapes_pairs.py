"""moving_shapes_pairs: synthetic clips of two actors, of which the caption names one.

The two differ in colour and shape, each does two actions, and they do not touch. Words and backgrounds are
those of moving_shapes, actors are smaller; no two clips share the named actor's combination and background.
The positions of both actors are known, so that pointing can be tested: the other actor is as large and as
active, and only the caption distinguishes them.

Attributes are prefixed by their actor (`named_colour`, `other_colour`), because questions about *it* would be
ambiguous and tasks for one actor do not apply.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.data.digests import Digests
from workbench.data.index import Clip, Index
from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.drawing import poses, write_videos
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig
    from workbench.data.store import FrameStore

GENERATED = True

VERSION = 1
"""To be raised whenever the drawing changes; part of the digest."""
TRAIN_CLIPS = 4_000
EVAL_CLIPS = 500
"""Clips of val, and of test; for smaller data sets a sixth of the number of training clips."""
ACTOR_RADIUS = (8.0, 10.0)
"""Range of the radius in pixels, uniform."""
APART = 1.15
"""Smallest distance of the two centres, in sums of the two radii, because corners extend beyond a radius."""
TRIES = 16
"""Number of sampled pairs of positions; the first one at which the actors do not touch is used."""
MOST_CLIPS = 12_000
"""Largest number of clips in all splits; not all combinations leave room for a second actor."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    """As in moving_shapes: random numbers only, and a digest of scenes and constants."""
    train = data.clips or TRAIN_CLIPS
    held_out = min(EVAL_CLIPS, max(2, train // 6))
    if train + 2 * held_out > MOST_CLIPS:
        most = MOST_CLIPS - 2 * EVAL_CLIPS
        raise UserError(f"moving_shapes_pairs must have at most {most} training clips, not {train}")
    combinations = world.combinations()
    rng = np.random.Generator(np.random.PCG64(20_221_128))
    rest = iter(np.argsort(rng.random(len(combinations)), kind="stable"))
    clips: list[Clip] = []
    for split, count in {"test": held_out, "val": held_out, "train": train}.items():
        for number in range(count):
            drawn = None
            while drawn is None:  # both actors are given up, not the other one alone, so that they are alike
                drawn = _clip(split, number, combinations[next(rest)], rng)
            clips.append(drawn)
    return Index(digest=_digest(clips), clips=tuple(clips))


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """Draws and encodes all missing clips; returns the folder of the videos."""
    folder = cache / "videos"
    write_videos(index.clips, folder, progress)
    return folder


def boxes(store: FrameStore, rows: np.ndarray) -> np.ndarray:
    """See `truth.Truth.boxes`, for two actors. `UserError` if another version drew the store's clips."""
    from workbench.data.moving_shapes.scenes import boxes_of

    return boxes_of(store, rows, index)


def _clip(split: str, number: int, named: dict[str, str], rng: np.random.Generator) -> Clip | None:
    """A clip of moving_shapes with its caption and background, and two actors instead of its one.

    None if the sampled actors would touch at all sampled positions.
    """
    clip = world.clip(split, number, named, rng)
    draw, places = rng.random(8), rng.random((TRIES, 2, 2))
    pair = _actor(named, *draw[:2]), _actor(_other(named, draw[4:]), *draw[2:4])
    starts = [_starts(one, places[:, i]) for i, one in enumerate(pair)]
    apart = np.flatnonzero(_apart(pair, starts))
    if not len(apart):
        return None
    for one, (x, y) in zip(pair, (start[apart[0]] for start in starts), strict=True):
        one |= {"x": float(x), "y": float(y)}
    parts = {
        f"{who}_{slot}": one[slot]
        for who, one in zip(("named", "other"), pair, strict=True)
        for slot in ("colour", "shape", "first", "second")
    }
    look = {name: value for name, value in clip.scene.items() if name not in pair[0]}
    return dataclasses.replace(
        clip,
        label="",
        attributes={**parts, "background": named["background"]},
        scene={**look, "actors": list(pair)},
    )


def _actor(parts: Mapping[str, str], size: float, tilt: float) -> dict[str, Any]:
    """An actor without its position."""
    low, high = ACTOR_RADIUS
    return {slot: parts[slot] for slot in ("colour", "shape", "first", "second")} | {
        "radius": round(low + (high - low) * float(size), 3),
        "tilt": round(world.TILT * (2 * float(tilt) - 1), 3),
    }


def _other(named: Mapping[str, str], draw: np.ndarray) -> dict[str, str]:
    """Parts of the actor that is not named: another colour, another shape, two different actions."""

    def pick(values: Mapping[str, Any], u: float, not_: str = "") -> str:
        free = [value for value in values if value != not_]
        return free[int(u * len(free))]

    first = pick(world.ACTIONS, draw[2])
    return {
        "colour": pick(world.COLOURS, draw[0], named["colour"]),
        "shape": pick(world.SHAPES, draw[1], named["shape"]),
        "first": first,
        "second": pick(world.ACTIONS, draw[3], first),
    }


def _starts(one: Mapping[str, Any], draws: np.ndarray) -> np.ndarray:
    """Positions [n, 2] from which an actor stays inside the frame, from random numbers [n, 2]."""
    low, high = (np.array(world.start(one, one["radius"], u, u)) for u in (0.0, 1.0))
    return (low + (high - low) * draws).round(3)


def _apart(pair: Sequence[Mapping[str, Any]], starts: Sequence[np.ndarray]) -> np.ndarray:
    """Whether the two actors never touch, for each of n positions [n, 2] of both, Boolean [n]."""
    (x, y, radius), (x2, y2, radius2) = (
        (start[:, :1] + path[0], start[:, 1:] + path[1], one["radius"] * path[2])  # [n, T], [n, T], [T]
        for one, start in zip(pair, starts, strict=True)
        for path in [_path(one["first"], one["second"])]
    )
    found: np.ndarray = (np.hypot(x - x2, y - y2) >= APART * (radius + radius2)).all(1)
    return found


@functools.cache
def _path(first: str, second: str) -> np.ndarray:
    """Offsets x and y in pixels and the scale in every frame, [3, T]."""
    pose, _ = poses({"first": first, "second": second}, {"x": 0.0, "y": 0.0, "radius": 1.0, "tilt": 0.0})
    return pose[:, :3].T.astype(float)


def _digest(clips: Sequence[Clip]) -> str:
    own = {"VERSION": VERSION, "ACTOR_RADIUS": ACTOR_RADIUS, "APART": APART, "TRIES": TRIES}
    rows = [dataclasses.asdict(clip) for clip in clips]
    for row in rows:
        del row["start"], row["end"], row["member"]  # the clips are whole files
    content = {"world": world.constants(), "pairs": own, "clips": rows}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
