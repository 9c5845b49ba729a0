"""Clips of drawn worlds as they are drawn, put into a store without being encoded: quick, and exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.config import DataConfig
from workbench.data import read_index
from workbench.data.moving_shapes.drawing import draw
from workbench.data.store import FrameStore, write_record

CLIPS = 12
"""Training clips; val and test have two each."""


def write_drawn(path: Path, *, frames: int = 8, shrink: int = 1, name: str = "moving_shapes") -> FrameStore:
    """Store of `frames` of the 16 drawn frames of each clip, every `shrink`-th pixel of them."""
    known = read_index(DataConfig(name=name, clips=CLIPS), None)
    step = 16 // frames
    path.mkdir(parents=True)
    drawn = [draw(clip.attributes, clip.scene)[step // 2 :: step] for clip in known.clips]
    np.save(path / "frames.npy", np.stack(drawn)[:, :, ::shrink, ::shrink])
    clips = [
        {"id": c.id, "split": c.split, "captions": c.captions, "attributes": dict(c.attributes)}
        for c in known.clips
    ]
    record = {"name": name, "digest": known.digest, "decoder": "none", "clips": clips}
    record |= {"skipped": [], "repeated_frames": 0, "frames_sha256": "0" * 64, "notes": []}
    write_record(path, record)
    return FrameStore.open(path)
