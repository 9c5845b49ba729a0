"""What is known of the clips of a drawn store: their scenes are made anew from their random numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import workbench.data.moving_shapes.world as world
from workbench.config import DataConfig
from workbench.data.digests import Digests
from workbench.data.index import Clip, Index
from workbench.data.moving_shapes.drawing import actor, actors
from workbench.data.sampling import centre_frames
from workbench.data.store import FrameStore
from workbench.errors import UserError

Indexing = Callable[[DataConfig, str | None, Digests], Index]
"""The function `index` of a drawn data set."""


def scenes(store: FrameStore, index: Indexing) -> dict[str, Clip]:
    """The clips of a store by their ids, as `index` draws them.

    They are the store's where their digest is the store's; `UserError` where it is not.
    """
    train = len(set(store.splits["train"].groups)) + sum(one["split"] == "train" for one in store.skipped)
    known = index(DataConfig(clips=train), None, Digests())
    if known.digest != store.digest:
        raise UserError(f"the clips in {store.path} were made by another version: nothing is known of them")
    return {clip.id: clip for clip in known.clips}


def boxes_of(store: FrameStore, rows: np.ndarray, index: Indexing) -> np.ndarray:
    """See `truth.Truth.boxes`; `UserError` as of `scenes`."""
    clips = scenes(store, index)
    taken = centre_frames(world.VIDEO_FRAMES, store.frames.shape[1])
    found = []
    for row in rows:
        clip = clips[store.clip_ids[row]]
        covers = [actor(one, one, taken)[1] for one in actors(clip.attributes, clip.scene)]
        found.append(bounds(np.stack(covers, 1)))
    return np.stack(found)


def bounds(cover: np.ndarray) -> np.ndarray:
    """Boxes float32 [..., 4] around the places of which more than half is covered, of covers [..., H, W].

    Left, top, right and bottom in shares of the sides; not a number where no place is so.
    """
    inside = cover > 0.5
    sides = []
    for axis in (-2, -1):  # the columns that are covered anywhere, then the rows
        seen = np.asarray(inside.any(axis))
        length = seen.shape[-1]
        first, last = seen.argmax(-1), length - seen[..., ::-1].argmax(-1)
        sides.append(np.where(seen.any(-1), [first / length, last / length], np.nan))
    (left, right), (top, bottom) = sides
    return np.stack([left, top, right, bottom], -1).astype(np.float32)
