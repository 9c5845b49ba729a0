"""What the dashboard asks of torch, answered in a process of its own (`workbench.data.workers.Helper`).

    Helper("workbench.inspection.on_demand:answer", deadline).ask({"want": "text", ...})

`text`: the vector of a sentence by a run's text encoder. `mask`: what a masking leaves of a clip and its
caption, with the tokens and FLOPs that remain. `reconstruction`, `caption`, `answers`, `places`: see
`predicted`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from workbench.errors import UserError
from workbench.inspection.opened import frames, model, vocabulary
from workbench.inspection.predicted import answers, caption, places, reconstruction
from workbench.masking import names
from workbench.masking.preview import hide
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import BatchRng
from workbench.tracking.run_dir import RunDir
from workbench.train import cost

Reply = tuple[dict[str, Any], bytes]


def answer(task: dict[str, Any]) -> Reply:
    """One task for `workers`: `want` says which."""
    known = {"text": text, "mask": mask, "reconstruction": reconstruction, "caption": caption,
             "answers": answers, "places": places}  # fmt: skip
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

    task: `run` (path), `store` (path of the frame store), `row`, `caption`, `seed` of the draw, and `video`,
    `text` as [class name, ratio].
    """
    run = RunDir(task["run"])
    config = run.config()
    numbers, clip = frames(config, task["store"], task["row"])
    encoder = _encoder(str(run.path))
    hidden = _masking(names.video(), task["video"])(encoder.grid, 1, _rng(task))
    count = int(hidden.sum())
    seen = hide(clip, hidden[0].numpy(), encoder.grid)
    reply = {
        "frames": numbers,
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
