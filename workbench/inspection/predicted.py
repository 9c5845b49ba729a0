"""What a trained model predicts about one clip, answered in the helper process (see `on_demand`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.inspection.opened import frames, model, vocabulary
from workbench.masking.preview import hide
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.tracking.run_dir import RunDir


@torch.no_grad()
def reconstruction(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """A clip under a mask as in training, and with what the run predicts in the hidden places.

    task: `run` (path), `store` (path of the frame store), `row`, `caption`, `seed` of the mask.

    Returns: numbers and words about it, errors in grey levels; and uint8 [2, T, H, W, 3] as bytes: the clip
    with hidden tokens grey, and the reconstruction.
    """
    run = RunDir(task["run"])
    config, words = run.config(), vocabulary(run)
    numbers, clip = frames(config, task["store"], task["row"])
    recipe = model(run, "so it can be asked nothing")
    since = _since_it_learned(run, config)
    batch = Batch.of(torch.from_numpy(clip)[None], words.encode([task["caption"]]))
    draw = Draw(*recipe.masks(batch, BatchRng.seeded(task["seed"])))
    found = recipe.reconstruct(batch, draw).clamp(0, 255)
    mask = draw.video_mask
    encoder = recipe.encoders()["video"]
    truth, drawn = (encoder.patches(x)[mask].float().unflatten(-1, (-1, 3)) for x in (batch.video, found))
    pieces = words.tokenizer.encode(task["caption"], add_special_tokens=False).tokens[: words.length]
    hidden = draw.text_mask if draw.text_mask is not None else torch.zeros_like(batch.text.layout.valid)
    reply = {
        "frames": numbers,
        "grid": list(recipe.grid),
        "hidden": int(mask.sum()),
        "tokens": recipe.grid.tokens,
        "error": _distance(drawn, truth),
        "error_of_mean": _distance(truth.mean(-2, keepdim=True), truth),
        "words_read": recipe.reconstruction.words,
        "words": pieces,
        "words_hidden": hidden[0, : len(pieces)].tolist(),
        "truth": recipe.reconstruction.truth,
        "since": since,
    }
    shown = found[0].round().to(torch.uint8).numpy()
    return reply, np.stack([hide(clip, mask[0].numpy(), recipe.grid), shown]).tobytes()


def _since_it_learned(run: RunDir, config: RunConfig) -> list[str]:
    """Objectives of the stages after the last one that trained what is predicted of hidden places.

    `UserError` where none did.
    """
    learned = [stage.objective == "recipe" and stage.masked for stage in config.stages]
    if not any(learned):
        names = ", ".join(dict.fromkeys(stage.objective for stage in config.stages))
        raise UserError(
            f"the run {run.path.name} was never trained to predict what is hidden: its stages are {names}, "
            "and a masked stage of its own objective is needed"
        )
    last = max(i for i, one in enumerate(learned) if one)
    return [stage.objective for stage in config.stages[last + 1 :]]


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())
