"""moving_shapes_timed: synthetic clips with rests, in which the time of each action is known.

Actor, actions, backgrounds and captions are those of moving_shapes, but the two actions take 3 to 7 of the
16 frames each, and before, between and after them the actor rests for any number of frames, possibly none.
All layouts (two lengths, three rests) are equally likely. An action is visible in its first and in its last
frame: a blink hides the actor in its first two and its last two frames.

The attribute `timeline` of a clip contains for each action a query ("a red box rises") in the words of
captions, and its start and end as shares of the clip. Clips are sampled with a separate seed, so a training
combination of one data set may be a test combination of the other.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.data import moving_shapes
from workbench.data.digests import Digests
from workbench.data.index import Clip, Index
from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS

if TYPE_CHECKING:
    from workbench.config import DataConfig

GENERATED = True

TRAIN_CLIPS = 4_000
SEED = 20_220_721
SHORTEST, LONGEST = 3, 7
"""Smallest and largest number of frames of an action."""
QUERY = "{a} {colour} {shape} {action}"
"""Template of a query, in the words of captions."""
VERSION = 1
"""To be raised whenever the drawing changes; part of the digest."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    """As in moving_shapes, with the times of the actions in each scene."""
    rng = np.random.Generator(np.random.PCG64(SEED + 1))
    every = layouts()
    clips = [_timed(clip, every, rng.random(4)) for clip in moving_shapes.combined(data, TRAIN_CLIPS, SEED)]
    own = {"timed": VERSION, "lengths": [SHORTEST, LONGEST], "query": QUERY}
    return Index(digest=moving_shapes.digest_of(clips, own), clips=tuple(clips))


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """As in moving_shapes."""
    return moving_shapes.videos(index, source, cache, progress)


def layouts() -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Every pair of times, each the first frame of an action and the frame after its last."""
    lengths, frames = range(SHORTEST, LONGEST + 1), world.VIDEO_FRAMES
    return [
        ((start, start + one), (later, later + other))
        for one in lengths
        for other in lengths
        for start in range(frames - one - other + 1)
        for later in range(start + one, frames - other + 1)
    ]


def _timed(clip: Clip, every: list[tuple[tuple[int, int], tuple[int, int]]], draw: np.ndarray) -> Clip:
    """A clip of moving_shapes with a layout and with queries; draw [4]."""
    times, parts = every[int(draw[0] * len(every))], clip.attributes
    shapes = WORDS["shape"][parts["shape"]]
    timeline = []
    for slot, (start, end), u in zip(("first", "second"), times, draw[2:], strict=True):
        words = WORDS[slot][parts[slot]]
        said = QUERY.format(
            a="an" if parts["colour"][0] in "aeiou" else "a",
            colour=parts["colour"],
            shape=shapes[int(draw[1] * len(shapes))],
            action=words[int(u * len(words))],
        )
        timeline.append([said, start / world.VIDEO_FRAMES, end / world.VIDEO_FRAMES])
    return dataclasses.replace(
        clip,
        attributes={**parts, "timeline": timeline},
        scene={**clip.scene, "times": [list(span) for span in times]},
    )
