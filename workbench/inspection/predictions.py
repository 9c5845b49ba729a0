"""Predictions of a trained model for one clip, computed in the helper process (see `on_demand`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.config import RunConfig
from workbench.data import questions, truth_of
from workbench.data.moving_shapes.grammar import actor, parse
from workbench.data.moving_shapes.questions import Question
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.inspection.loading import frames, model, vocabulary
from workbench.inspection.outputs import objective
from workbench.masking.preview import darken, hide
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipe.reconstruction import hidden_places
from workbench.tasks import grounding, pointing, video_qa
from workbench.tasks.gallery import Gallery, Judged
from workbench.tracking.run_dir import RunDir
from workbench.train.session import untrained

UNASKED = "so it can be asked nothing"


@torch.no_grad()
def reconstruction(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """A clip under a mask as in training, and with the run's predictions at the hidden positions.

    task: `run` (path), `store` (path of the frame store), `row`, `caption`, `seed` of the mask.

    Returns: numbers and words about it, errors in grey levels; and uint8 [2, T, H, W, 3] as bytes: the clip
    with hidden tokens grey, and the reconstruction.
    """
    run = RunDir(task["run"])
    config, words = run.config(), vocabulary(run)
    numbers, clip = frames(config, task["store"], task["row"])
    recipe = model(run, UNASKED)
    since = _since_it_learned(run, config)
    batch = Batch.of(torch.from_numpy(clip)[None], words.encode([task["caption"]]))
    draw = Draw(*recipe.masks(batch, BatchRng.seeded(task["seed"])))
    found = recipe.reconstruct(batch, draw).clamp(0, 255)
    mask = hidden_places(recipe, draw)
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
        "drawn": recipe.reconstruction.drawn,
        "since": since,
    }
    shown = found[0].round().to(torch.uint8).numpy()
    return reply, np.stack([hide(clip, mask[0].numpy(), recipe.grid), shown]).tobytes()


@torch.no_grad()
def caption(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """`written`: what the run writes about a clip, unprompted. `UserError` where it did not learn to, or a
    later stage has moved what it had learned.

    task: `run` (path), `store` (path of the frame store), `row`.
    """
    run = RunDir(task["run"])
    config, recipe = run.config(), model(run, UNASKED)
    _, clip = frames(config, task["store"], task["row"])
    if "generate" in untrained(recipe, config.stages):
        raise UserError(
            "this run writes nothing that would mean anything: its last stage was "
            f"{objective(config.stages[-1].objective)}, and captions are learned by "
            f"{' or '.join(map(objective, recipe.trained_by('generate'))) or 'none of its objectives'}"
        )
    return {"written": recipe.generate(torch.from_numpy(clip)[None])[0]}, b""


def answers(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """`questions` about a clip, each with its `id`, `text` and `right` answer; for each way in which the run
    can be asked (`ways`) by which method (`how`), and of each question what was `given`, and the `options`,
    what they were read as, and their scores, best first. `UserError` where it cannot be asked.

    task: `run` (path), `store` (path of the frame store), `row`.
    """
    run = RunDir(task["run"])
    config, words, recipe = run.config(), vocabulary(run), model(run, UNASKED)
    store = FrameStore.open(task["store"])
    # Of the whole split: whether the answer about the order of two actions is yes depends on its other clips.
    part = next(part for part in store.splits.values() if task["row"] in part.clips)
    every = questions.about(store, np.unique(part.clips))
    clip = store.clip_ids[task["row"]]
    asked = [one for one in every if one.clip == clip]
    if not asked:
        raise UserError(f"nothing is asked about {clip}")
    alone = Gallery(
        store, np.array([task["row"]]), np.zeros(0, np.int64), [clip], [], [], words.encode([]), config.data
    )
    left_out = untrained(recipe, config.stages)
    judged = Judged(recipe, alone, untrained=left_out, encode=words.encode)
    with torch.no_grad():
        found = video_qa.answers(judged, asked)
    if not found:
        raise UserError(
            f"this run cannot be asked: its stages ({_stages(config)}) have trained neither answers nor "
            "captions, nor, in the last one, the judgement of pairs, nor embeddings"
        )
    said = [{"id": one.id, "text": one.text, "right": one.answer} for one in asked]
    ways = {way: _answered(asked, one) for way, one in found.items()}
    return {"questions": said, "ways": ways}, b""


@torch.no_grad()
def places(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Points of a run in each of its frames, and the actors' boxes, in shares of the frame.

    task: `run` (path), `store` (path of the frame store), `row`, `caption`.

    Returns: `frames`, numbers among the stored ones; `asked`, the words that it was asked in; and for each
    frame in `places` x and y, in `regions` the box whose middle that is (empty where it points at patches),
    in `actors` the true boxes, the named one first, None for one that is not seen (empty where they are not
    known), and in `hits` in which of these the place lies.
    """
    run = RunDir(task["run"])
    config, words, recipe = run.config(), vocabulary(run), model(run, UNASKED)
    store, row = FrameStore.open(task["store"]), np.array([task["row"]])
    alone = Gallery(store, row, np.zeros(0, np.int64), [], [], [], words.encode([]), config.data)
    judged = Judged(recipe, alone, untrained=untrained(recipe, config.stages))
    if not (judged.can("regions") or judged.can("attended")):
        raise UserError(
            "this run points at nothing that would mean anything: its last stage, "
            f"{objective(config.stages[-1].objective)}, has not trained where it looks"
        )
    said = parse(task["caption"])
    asked = task["caption"] if said is None else actor(said)
    found = pointing.point(judged, judged.video(np.zeros(1, np.int64)), words.encode([asked]))
    step = np.arange(alone.length) * found.places.shape[1] // alone.length  # of each frame
    truth = truth_of(store).boxes
    known = np.zeros((alone.length, 0, 4)) if truth is None else truth(row)[0, alone.taken]
    seen = np.asarray(np.isfinite(known).all(-1))  # [T, actors]
    here = found.places[0, step]
    return {
        "frames": alone.taken,
        "asked": asked,
        "places": here.tolist(),
        "regions": [] if found.boxes is None else found.boxes[0, step].tolist(),
        "actors": [
            [box.tolist() if there else None for box, there in zip(*frame, strict=True)]
            for frame in zip(known, seen, strict=True)
        ],
        "hits": pointing.inside(here[:, None], known).tolist(),
    }, b""


@torch.no_grad()
def kept(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The parts of a clip that a run reads with a caption: the frames that it selects, and their patches.

    task: `run` (path), `store` (path of the frame store), `row`, `caption`, `seed` of the mask.

    Returns: `frames`, numbers among the stored ones; `grid`; for each temporal slot in `selected` whether its
    frames are read with the caption, and in `share` how well they fit, adding up to 1; how many `tokens`
    there are, are `hidden` by the mask and are `read` to the end; and uint8 [T, H, W, 3] as bytes: the clip
    with hidden patches hatched and the others that are dropped darkened.
    """
    run = RunDir(task["run"])
    config, words, recipe = run.config(), vocabulary(run), model(run, UNASKED)
    numbers, clip = frames(config, task["store"], task["row"])
    batch = Batch.of(torch.from_numpy(clip)[None], words.encode([task["caption"]]))
    draw = Draw(*recipe.masks(batch, BatchRng.seeded(task["seed"])))
    found = recipe.kept(batch, draw)
    grid, left = recipe.grid, found.patches[0].numpy()
    none = np.zeros(grid.tokens, bool)
    hidden = none if draw.video_mask is None else draw.video_mask[0].numpy()
    reply = {
        "frames": numbers,
        "grid": list(grid),
        "selected": found.frames[0].tolist(),
        "share": found.share[0].tolist(),
        "tokens": grid.tokens,
        "hidden": int(hidden.sum()),
        "read": int(left.sum()),
    }
    return reply, hide(darken(clip, ~left & ~hidden, grid), hidden, grid).tobytes()


@torch.no_grad()
def moments(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """When a run finds what happens in a clip: `queries`, each with its `words`, its true `start` and `end`,
    `found_start`, `found_end`, all as shares of the clip, and `overlap`, the intersection over the union of
    the two. `UserError` where its embeddings mean nothing, or nobody knows when things happen.

    task: `run` (path), `store` (path of the frame store), `row`.
    """
    run = RunDir(task["run"])
    config, words, recipe = run.config(), vocabulary(run), model(run, UNASKED)
    store, row = FrameStore.open(task["store"]), np.array([task["row"]])
    if "timeline" not in store.attributes:
        raise UserError("when things happen is not known of these clips")
    alone = Gallery(store, row, np.zeros(0, np.int64), [], [], [], words.encode([]), config.data)
    judged = Judged(recipe, alone, untrained=untrained(recipe, config.stages), encode=words.encode)
    asked = grounding.moments(store, row)
    if not (judged.embeds and asked):
        raise UserError("this run has no embeddings that mean anything, so it finds no times")
    segments, best = grounding.answers(judged, asked)
    first = segments[best.argmax(1)]
    overlaps = grounding.overlap(segments, np.array([(one.start, one.end) for one in asked]))
    return {
        "queries": [
            {"words": one.words, "start": one.start, "end": one.end, "found_start": float(found[0]),
             "found_end": float(found[1]), "overlap": float(fit)}
            for one, found, fit in zip(
                asked, first, overlaps[np.arange(len(asked)), best.argmax(1)], strict=True
            )
        ]
    }, b""  # fmt: skip


def _answered(asked: Sequence[Question], found: video_qa.Answered) -> dict[str, Any]:
    """One way of asking, as JSON: `options` of each question as [option, as it was read, score]."""
    options: list[list[tuple[str, str, float]]] = [[] for _ in asked]
    for i, (own, scores) in enumerate(zip(found.options, found.scores, strict=True)):
        read = asked[i].statements if found.how in ("match", "embed") else own
        options[i] = sorted(zip(own, read, scores.tolist(), strict=True), key=lambda option: -option[2])
    return {"how": found.how, "given": found.given, "options": options}


def _since_it_learned(run: RunDir, config: RunConfig) -> list[str]:
    """Objectives of the stages after the last one that trained what is predicted of hidden places.

    `UserError` where none did.
    """
    learned = [stage.objective == "recipe" and stage.masked for stage in config.stages]
    if not any(learned):
        raise UserError(
            f"this run was never trained to predict what is hidden: its stages are {_stages(config)}, and "
            "a masked stage of its own losses is needed"
        )
    last = max(i for i, one in enumerate(learned) if one)
    return [stage.objective for stage in config.stages[last + 1 :]]


def _stages(config: RunConfig) -> str:
    """The objectives of the run's stages, in words."""
    return ", ".join(dict.fromkeys(objective(stage.objective) for stage in config.stages))


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())
