"""A small setting for tests: sixteen-pixel clips, one-block encoders, tiny recipes."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench import recipes
from workbench.data.store import FrameStore, write_record
from workbench.masking.video import Grid
from workbench.models.text import TextConfig, Vocabulary
from workbench.models.text import vocabulary as trained
from workbench.recipe.batch import Batch, BatchRng

FRAMES, SIZE = 4, 16
COUNTS = {"train": 24, "val": 6, "test": 7}
WORDS = "red green blue square moon star moves turns grows left right up on a dotted plain wall"


@functools.cache
def small_store() -> FrameStore:
    """A frame store of random clips, 4 frames of 16 x 16, one for the process: read only."""
    folder = tempfile.mkdtemp(prefix="workbench-testing-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_store(Path(folder) / "frames-4x16")


@functools.cache
def small_vocabulary(*names: str) -> Vocabulary:
    """The tokenizer of the random store's captions, with the further words that these recipes ask for."""
    texts = [recipes.load(name).Config().text for name in names]
    words = tuple(dict.fromkeys(word for text in texts for word in text.words))
    return trained(small_store().splits["train"].captions, TextConfig(words=words))


def small_batch(vocabulary: Vocabulary) -> Batch:
    """Eight clips with a caption each."""
    store = small_store()
    part = store.splits["train"]
    first = [int((part.clips == clip).argmax()) for clip in range(8)]
    video = torch.from_numpy(store.frames[:8].copy())
    return Batch.of(video, vocabulary.encode([part.captions[row] for row in first]))


def write_store(
    path: Path, *, frames: int = FRAMES, size: int = SIZE, seed: int = 0, train: int = COUNTS["train"]
) -> FrameStore:
    """A complete frame store of random clips, so many of them for training; every third has two captions."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    counts = COUNTS | {"train": train}
    total = sum(counts.values())
    shape = (total, frames, size, size, 3)
    store = np.lib.format.open_memmap(path / "frames.npy", "w+", np.uint8, shape)
    store[:] = rng.integers(0, 256, shape, dtype=np.uint8)
    store.flush()
    splits = [name for name, count in counts.items() for _ in range(count)]
    clips = [
        {
            "id": f"clip{i:02d}",
            "split": split,
            "captions": [
                " ".join(rng.choice(WORDS.split(), rng.integers(3, 9))) for _ in range(1 + (i % 3 == 0))
            ],
            "attributes": {},
        }
        for i, split in enumerate(splits)
    ]
    record = {"name": "random", "digest": f"{seed:064d}", "decoder": "none", "clips": clips, "skipped": []}
    write_record(path, record | {"repeated_frames": 0, "frames_sha256": "0" * 64, "notes": []})
    return FrameStore.open(path)


def shrink(config: Any, **video: Any) -> Any:
    """The same recipe with tiny parts: anything with a width becomes 32 wide and one block deep."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        if not dataclasses.is_dataclass(getattr(config, field.name)):
            continue
        part: Any = getattr(config, field.name)
        names = {f.name for f in dataclasses.fields(part)}
        tiny: dict[str, Any] = {"width": 32, "heads": 2} if {"width", "heads"} <= names else {}
        if "depth" in names:
            tiny["depth"] = min(1, part.depth)
        if field.name == "video":
            tiny |= {"patch": 8, "tubelet": 2} | video
        if tiny:
            changes[field.name] = replace(part, **tiny)
    if hasattr(config, "embed"):
        changes["embed"] = 16
    masking = getattr(config, "video_masking", None)
    if masking is not None and masking.ratio and not masking.hidden(Grid(2, 2, 2)):  # a share of four is none
        changes["video_masking"] = replace(masking, ratio=0.5)
    return replace(config, **changes)


def build(name: str, vocabulary: Any, *, frames: int = FRAMES, config: Any = None, **video: Any) -> Any:
    """A tiny recipe; its weights are those of seed 0."""
    torch.manual_seed(0)
    module = recipes.load(name)
    config = config or shrink(module.Config(), **video)
    return module.Recipe(config, frames=frames, size=SIZE, vocabulary=vocabulary)


def step(
    recipe: Any, batch: Any, seed: int = 0, *, objective: str = "recipe", masked: bool = True
) -> dict[str, Any]:
    """Terms of one step: drawn from a seed, then computed."""
    draw = recipe.draw(batch, BatchRng.seeded(seed), objective=objective, masked=masked)
    terms: dict[str, Any] = recipe(batch, draw, objective=objective)
    return terms
