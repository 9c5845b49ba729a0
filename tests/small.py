"""A world small enough for tests: sixteen-pixel clips, one-block encoders, every recipe made tiny."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import workbench.recipes
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data.store import FrameStore, write_record
from workbench.masking.video import Grid
from workbench.recipe.batch import BatchRng

FRAMES, SIZE = 4, 16
COUNTS = {"train": 24, "val": 6, "test": 7}
WORDS = "red green blue square moon star moves turns grows left right up on a dotted plain wall"


def write_store(path: Path, *, frames: int = FRAMES, size: int = SIZE, seed: int = 0) -> FrameStore:
    """A complete frame store of random clips; every third clip has two captions."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    total = sum(COUNTS.values())
    shape = (total, frames, size, size, 3)
    store = np.lib.format.open_memmap(path / "frames.npy", "w+", np.uint8, shape)
    store[:] = rng.integers(0, 256, shape, dtype=np.uint8)
    store.flush()
    splits = [name for name, count in COUNTS.items() for _ in range(count)]
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


def recipe_names() -> list[str]:
    """Every recipe: a module of `workbench.recipes`."""
    return workbench.recipes.names()


def recipe_module(name: str) -> Any:
    return workbench.recipes.load(name)


def shrink(config: Any, **video: Any) -> Any:
    """The same recipe with tiny parts: anything with a width becomes 32 wide and one block deep."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        part = getattr(config, field.name)
        if not dataclasses.is_dataclass(part):
            continue
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


def recipes_with(*methods: str) -> list[str]:
    """Recipes that define all of these, such as `embed_video`."""
    return [name for name in recipe_names() if all(hasattr(recipe_module(name).Recipe, m) for m in methods)]


def recipes_that_align() -> list[str]:
    return [name for name in recipe_names() if "align" in recipe_module(name).Recipe.objectives()]


def build(name: str, vocabulary: Any, *, frames: int = FRAMES, config: Any = None, **video: Any) -> Any:
    """A tiny recipe; its weights are those of seed 0."""
    torch.manual_seed(0)
    module = recipe_module(name)
    config = config or shrink(module.Config(), **video)
    return module.Recipe(config, frames=frames, size=SIZE, vocabulary=vocabulary)


def step(recipe: Any, batch: Any, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Terms of one step: drawn from a seed, then computed; `options` are `objective` and `masked`."""
    terms: dict[str, Any] = recipe(batch, recipe.draw(batch, BatchRng.seeded(seed), **options), **options)
    return terms


def run_config(recipe: str | Any = "mac", *, steps: int = 6, **changes: Any) -> RunConfig:
    """A run over the random store; `recipe` is a name or a config."""
    if isinstance(recipe, str):
        recipe = shrink(recipe_module(recipe).Config())
    defaults: dict[str, Any] = {
        "data": DataConfig(name="random", frames=FRAMES, size=SIZE),
        "stages": (Stage(budget=Budget(unit="steps", amount=steps)),),
        "optim": OptimConfig(batch_size=8),
        "evaluations": 2,
    }
    return RunConfig(recipe=recipe, **(defaults | changes))
