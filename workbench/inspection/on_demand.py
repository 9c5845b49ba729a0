"""Computations of the dashboard with torch, in a separate process (`workbench.data.workers.Helper`).

    Helper("workbench.inspection.on_demand:answer", deadline).ask({"want": "text", ...})

`text`: the vector of a sentence by a run's text encoder. `mask`: the visible part of a clip and its caption
under a masking, with the remaining tokens and FLOPs; `masked_clip`: the same as a video. `reconstruction`,
`caption`, `answers`, `places`, `kept`, `moments`: see `predictions`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.data.decode import encode
from workbench.errors import UserError
from workbench.inspection.loading import frames, model, vocabulary
from workbench.inspection.predictions import answers, caption, kept, moments, places, reconstruction
from workbench.masking import names
from workbench.masking.preview import hide
from workbench.models.pretrained.source import without_reading
from workbench.models.video import VideoEncoder
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import BatchRng
from workbench.tracking.run_dir import RunDir
from workbench.train import cost
from workbench.train.session import recipe_class

Reply = tuple[dict[str, Any], bytes]
SIDE = 192
"""Smallest side of a masked video in pixels, so that each pixel of the model's frames is visible."""
SECONDS = 2.0
"""Duration of a masked video, that of a synthetic clip, independent of the clip's own duration."""


def answer(task: dict[str, Any]) -> Reply:
    """One task for `workers`: `want` says which."""
    known = {"text": text, "mask": mask, "masked_clip": masked_clip, "reconstruction": reconstruction,
             "caption": caption, "answers": answers, "places": places, "kept": kept,
             "moments": moments}  # fmt: skip
    return known[task["want"]](task)


@torch.no_grad()
def text(task: dict[str, Any]) -> Reply:
    """The unit vector of a sentence, float32 [E] as bytes, and the tokens it was read as.

    task: `run` (path of the run directory), `sentence`.
    """
    run = RunDir(task["run"])
    so = "so it cannot read new sentences; the queries of its test split can still be chosen"
    recipe, words = model(run, so), vocabulary(run)
    vector = recipe.embed_text(words.encode([task["sentence"]]))[0]
    pieces = words.tokenizer.encode(task["sentence"], add_special_tokens=False).tokens
    return {"tokens": pieces[: words.length], "cut": pieces[words.length :]}, vector.numpy().tobytes()


@torch.no_grad()
def mask(task: dict[str, Any]) -> Reply:
    """A clip under any masking, in the geometry of a run's model: uint8 frames [T, H, W, 3] as bytes, hidden
    tokens grey, which of the stored frames these are, and what is left.

    Of the reply, `video_hidden` is the recipe's `video.hidden`; `flops` and `flops_of_all` are those of the
    video encoder with and without the mask, None where they are not known, see `_flops`.

    task: `run` (path), `store` (path of the frame store), `row`, `caption`, `seed` of the draw, and `video`,
    `text` as [class name, ratio].
    """
    run = RunDir(task["run"])
    config = run.config()
    numbers, clip = frames(config, task["store"], task["row"])
    grid = _recipe(str(run.path)).grid
    hidden = _masking(names.video(), task["video"])(grid, 1, _rng(task))
    seen = hide(clip, hidden[0].numpy(), grid)
    reply = {
        "frames": numbers,
        "grid": list(grid),
        "hidden": int(hidden.sum()),
        "tokens": grid.tokens,
        "video_hidden": config.recipe.video.hidden,
        "flops": _flops(str(run.path), hidden[0]),
        "flops_of_all": _flops(str(run.path), torch.zeros_like(hidden[0])),
    }
    return reply | _words(run, task), seen.tobytes()


def masked_clip(task: dict[str, Any]) -> Reply:
    """As `mask`, but the frames are a video file of `SECONDS`, H.264, enlarged by whole pixels."""
    reply, payload = mask(task)
    size = RunDir(task["run"]).config().data.size
    seen = np.frombuffer(payload, np.uint8).reshape(-1, size, size, 3)
    times = max(1, SIDE // size)
    large = seen.repeat(times, 1).repeat(times, 2)
    large = large[:, : large.shape[1] // 2 * 2, : large.shape[2] // 2 * 2]  # sides of the codec are even
    with TemporaryDirectory() as folder:
        path = Path(folder, "masked.mp4")
        encode(path, large, rate=max(1, round(len(large) / SECONDS)), crf=12)
        return reply, path.read_bytes()


def _words(run: RunDir, task: dict[str, Any]) -> dict[str, Any]:
    """The caption's tokens and which of them are hidden."""
    words = vocabulary(run)
    dropped = run.config().recipe.text.hidden == "drop"
    layout = words.encode([task["caption"]]).layout
    masking = _masking(names.text(), task["text"])
    hidden = (masking(layout, _rng(task), equal=dropped) & layout.valid)[0]
    pieces = words.tokenizer.encode(task["caption"], add_special_tokens=False).tokens[: words.length]
    return {"words": pieces, "words_hidden": hidden[: len(pieces)].tolist(), "words_dropped": dropped}


def _masking(known: Collection[str], wanted: tuple[str, float]) -> Any:
    name, ratio = wanted
    if name not in known:
        raise UserError(f"there is no masking {name!r}; there are {', '.join(known)}")
    return names.load(name)(ratio=ratio)


def _rng(task: dict[str, Any]) -> BatchRng:
    return BatchRng.seeded(task["seed"])


@lru_cache(maxsize=2)
def _recipe(path: str) -> BaseRecipe:
    """The recipe of a run, untrained: what it computes does not depend on its weights."""
    run = RunDir(path)
    config = run.config()
    torch.manual_seed(0)
    with without_reading():
        recipe = recipe_class(config)(
            config.recipe, frames=config.data.frames, size=config.data.size, vocabulary=vocabulary(run)
        )
    return recipe.eval()


def _flops(path: str, hidden: Tensor) -> int | None:
    """Forward FLOPs of the video encoder for one clip; None where it is not known how the recipe reads clips.

    A recipe reads all slots of a clip together, or each slot by itself, in which case the FLOPs of the slots
    are added up; a slot of which nothing is left is not read. What a recipe leaves out within its encoder
    besides what is hidden, such as the patches that SMAUG's sparsifier drops, is counted as read.

    hidden: Boolean [N], in the order of the grid.
    """
    grid = _recipe(path).grid
    sequences = _sequences(path)
    if sequences not in (1, grid.time):
        return None
    counts = hidden.view(sequences, -1).sum(1).tolist()
    return sum(_flops_of(path, sequences, count) for count in counts)


@lru_cache(maxsize=16)
def _sequences(path: str) -> int:
    """Into how many sequences the recipe of a run cuts a clip for its video encoder when it embeds the clip;
    0 where it embeds none."""
    recipe: Any = _recipe(path)
    if not hasattr(recipe, "embed_video"):
        return 0
    data = RunDir(path).config().data
    counter = cost.StepCounter(recipe, 1)
    with torch.no_grad(), counter:
        recipe.embed_video(torch.zeros(1, data.frames, data.size, data.size, 3, dtype=torch.uint8))
    return counter.cost.encoders["video"].rows


@lru_cache(maxsize=256)
def _flops_of(path: str, sequences: int, hidden: int) -> int:
    """Forward FLOPs for one of the sequences of a clip; it is the number of its hidden tokens that counts."""
    config = RunDir(path).config()
    video, frames, size = config.recipe.video, config.data.frames // sequences, config.data.size
    encoder = _recipe(path).encoders()["video"]
    assert isinstance(encoder, VideoEncoder), "clips are read by a VideoEncoder"
    if encoder.grid.time * video.tubelet != frames:  # it knows the times of all slots and reads one at a time
        encoder = VideoEncoder(replace(video, pretrained=""), frames=frames, size=size).eval()
    if hidden == encoder.grid.tokens and video.hidden == "drop":
        return 0
    where = (torch.arange(encoder.grid.tokens) < hidden)[None] if hidden else None
    return cost.encoder_flops(encoder, torch.zeros(1, frames, size, size, 3, dtype=torch.uint8), where)
