"""What the dashboard asks of torch, answered in a process of its own (`workbench.data.workers.Helper`).

    Helper("workbench.inspection.on_demand:answer", deadline).ask({"want": "text", ...})

`text`: the vector of a sentence by a run's text encoder. `mask`: what a masking leaves of a clip and its
caption, with the tokens and FLOPs that remain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from workbench.data.sampling import frames_of
from workbench.errors import UserError
from workbench.masking import names
from workbench.masking import text as text_maskings
from workbench.masking import video as video_maskings
from workbench.masking.preview import hide
from workbench.models.text import Vocabulary
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import BatchRng
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint, cost
from workbench.train.session import recipe_class

Reply = tuple[dict[str, Any], bytes]


def answer(task: dict[str, Any]) -> Reply:
    """One task for `workers`: `want` says which."""
    return {"text": text, "mask": mask}[task["want"]](task)


@torch.no_grad()
def text(task: dict[str, Any]) -> Reply:
    """The unit vector of a sentence, float32 [E] as bytes, and the tokens it was read as.

    task: `run` (path of the run directory), `sentence`.
    """
    run = RunDir(task["run"])
    weights = run.file("checkpoints/model.safetensors")
    if not weights.is_file():
        raise UserError(
            f"the run {run.path.name} kept no weights ({weights.name} is not there), so it cannot read new "
            "sentences; the queries of its test split can still be chosen"
        )
    words = _vocabulary(run)
    recipe = _trained(str(run.path), weights.stat().st_mtime_ns)
    vector = recipe.embed_text(words.encode([task["sentence"]]))[0]
    pieces = words.tokenizer.encode(task["sentence"], add_special_tokens=False).tokens
    return {"tokens": pieces[: words.length], "cut": pieces[words.length :]}, vector.numpy().tobytes()


@torch.no_grad()
def mask(task: dict[str, Any]) -> Reply:
    """A clip under any masking, in the geometry of a run's model: uint8 frames [T, H, W, 3] as bytes, hidden
    tokens grey, which of the stored frames these are, and what is left.

    task: `run` (path), `store` (path of the frame store), `row`, `caption`, `seed` of the draw, and `video`,
    `text` as [class name, ratio].
    """
    run = RunDir(task["run"])
    config = run.config()
    stored = np.load(Path(task["store"], "frames.npy"), mmap_mode="r", allow_pickle=False)
    every = np.arange(stored.shape[1]).reshape(1, -1, 1, 1, 1)
    numbers = frames_of(every, np.zeros(1, np.int64), config.data).ravel()
    frames = stored[task["row"]][numbers]
    encoder = _encoder(str(run.path))
    hidden = _masking(video_maskings, names.video(), task["video"])(encoder.grid, 1, _rng(task))
    count = int(hidden.sum())
    seen = hide(frames, hidden[0].numpy(), encoder.grid)
    reply = {
        "frames": numbers.tolist(),
        "grid": list(encoder.grid),
        "hidden": count,
        "tokens": encoder.grid.tokens,
        "dropped": config.recipe.video.hidden == "drop",
        "flops": _flops(str(run.path), count),
        "flops_of_all": _flops(str(run.path), 0),
    }
    return reply | _words(run, task), seen.tobytes()


def _words(run: RunDir, task: dict[str, Any]) -> dict[str, Any]:
    """The caption's tokens and which of them are hidden."""
    words = _vocabulary(run)
    dropped = run.config().recipe.text.hidden == "drop"
    layout = words.encode([task["caption"]]).layout
    masking = _masking(text_maskings, names.text(), task["text"])
    hidden = (masking(layout, _rng(task), equal=dropped) & layout.valid)[0]
    pieces = words.tokenizer.encode(task["caption"], add_special_tokens=False).tokens[: words.length]
    return {"words": pieces, "words_hidden": hidden[: len(pieces)].tolist(), "words_dropped": dropped}


def _masking(module: ModuleType, known: Collection[str], wanted: tuple[str, float]) -> Any:
    name, ratio = wanted
    if name not in known:
        raise UserError(f"there is no masking {name!r}; there are {', '.join(known)}")
    return getattr(module, name)(ratio=ratio)


def _rng(task: dict[str, Any]) -> BatchRng:
    return BatchRng.seeded(task["seed"])


@lru_cache(maxsize=4)
def _encoder(path: str) -> VideoEncoder:
    """The video encoder of a run, untrained: what it computes does not depend on its weights."""
    config = RunDir(path).config()
    torch.manual_seed(0)
    video = replace(config.recipe.video, pretrained="")
    return VideoEncoder(video, frames=config.data.frames, size=config.data.size).eval()


@lru_cache(maxsize=256)
def _flops(path: str, hidden: int) -> int:
    """Forward FLOPs of the video encoder for one clip; it is the number of hidden tokens that counts."""
    encoder = _encoder(path)
    data = RunDir(path).config().data
    clip = torch.zeros(1, data.frames, data.size, data.size, 3, dtype=torch.uint8)
    where = (torch.arange(encoder.grid.tokens) < hidden)[None] if hidden else None
    return cost.encoder_flops(encoder, clip, where)


@lru_cache(maxsize=2)
def _trained(path: str, changed: int) -> Any:
    """The recipe of a run with its weights."""
    run = RunDir(path)
    config = run.config()
    # Every weight comes from the checkpoint; those that the run started from need not be there any more.
    parts = replace(config.recipe, video=replace(config.recipe.video, pretrained=""))
    recipe = recipe_class(config)(
        parts, frames=config.data.frames, size=config.data.size, vocabulary=_vocabulary(run)
    )
    try:
        checkpoint.load_model(run.file("checkpoints"), recipe)
    except RuntimeError as error:
        raise UserError(f"the weights of {run.path.name} are of another version of its model") from error
    return recipe.eval()


def _vocabulary(run: RunDir) -> Vocabulary:
    path = run.file("tokenizer.json")
    length = run.read_json("environment.json").get("tokens_per_caption")
    if not (path.is_file() and isinstance(length, int)):
        raise UserError(f"the run {run.path.name} left no tokenizer, so no text can be read as it reads it")
    return Vocabulary.load(Path(path), length)
