"""Loads the model, the tokenizer and the clips of a finished run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from workbench.config import RunConfig
from workbench.data.augment.crop import scaled
from workbench.data.sampling import frames_of
from workbench.errors import UserError
from workbench.models.pretrained.source import without_reading
from workbench.models.text import Vocabulary
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train.session import recipe_class


def model(run: RunDir, so: str) -> Any:
    """The recipe of a run with its weights, in evaluation mode. Raises `UserError` if it has none.

    so: the consequence, for the error text.
    """
    weights = run.file("checkpoints/model.safetensors")
    if not weights.is_file():
        raise UserError(f"the run {run.path.name} kept no weights ({weights.name} is not there), {so}")
    return _trained(str(run.path), weights.stat().st_mtime_ns)


def vocabulary(run: RunDir) -> Vocabulary:
    """The tokenizer that a run read captions with."""
    path = run.file("tokenizer.json")
    length = run.read_json("environment.json").get("tokens_per_caption")
    if not (path.is_file() and isinstance(length, int)):
        raise UserError(f"the run {run.path.name} left no tokenizer, so no text can be read as it reads it")
    return Vocabulary.load(Path(path), length)


def frames(config: RunConfig, store: str, row: int) -> tuple[list[int], np.ndarray]:
    """The frames of a clip that a run reads: indices among the stored ones, and frames uint8 [T, H, W, 3].

    store: path of the frame store.
    """
    stored = np.load(Path(store, "frames.npy"), mmap_mode="r", allow_pickle=False)
    every = np.arange(stored.shape[1]).reshape(1, -1, 1, 1, 1)
    numbers = frames_of(every, np.zeros(1, np.int64), config.data).ravel()
    return numbers.tolist(), scaled(stored[row][numbers][None], config.data.size)[0]


@lru_cache(maxsize=2)
def _trained(path: str, changed: int) -> Any:
    run = RunDir(path)
    config = run.config()
    # Every weight comes from the checkpoint; those that the run started from need not be there any more.
    with without_reading():
        recipe = recipe_class(config)(
            config.recipe, frames=config.data.frames, size=config.data.size, vocabulary=vocabulary(run)
        )
    try:
        checkpoint.load_model(run.file("checkpoints"), recipe)
    except RuntimeError as error:
        raise UserError(f"the weights of {run.path.name} are of another version of its model") from error
    return recipe.eval()
