"""Records of a run besides its metrics: environment, tokenizer, mask preview, ranks, embeddings."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image

from workbench import tasks
from workbench.data.shards.streamed import StreamedFrames
from workbench.data.texts import with_training_texts
from workbench.masking.preview import preview
from workbench.metrics import CORE_WAIT, full_name, score
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, BatchRng, Masks
from workbench.tasks.gallery import Gallery
from workbench.tracking.files import replacing, write_atomic
from workbench.tracking.run_dir import RunDir
from workbench.train import cost
from workbench.train.loop import clock
from workbench.train.session import Session

SKIPPED = "skipped.json"
"""File of the clips of shards that could not be decoded -> reason."""


def describe(
    run: RunDir, session: Session, facts: Mapping[str, object], earlier: list[dict[str, str]]
) -> None:
    """Writes what only this process knows: environment, data, tokenizer, and an image of the mask."""
    store = session.store
    read = _read(session)
    cut = {name: session.vocabulary.cut(texts) for name, texts in read.items()}
    shares = ", ".join(f"{name} {100 * n / len(read[name]):.3g} %" for name, n in cut.items() if n)
    if shares:
        print(f"captions cut for having more than {session.vocabulary.length} tokens: {shares}", flush=True)
    run.write_json(
        "environment.json",
        dict(facts)
        | ({"earlier": earlier} if earlier else {})
        | {
            "data": store.name,
            "data_digest": store.digest,
            "data_skipped": len(store.skipped),
            "data_repeated_frames": store.repeated_frames,
            "frames_sha256": store.frames_sha256,
            "decoder": store.decoder,
            "parameters": sum(p.numel() for p in session.recipe.parameters()),
            "val_captions": _captions_of_clips(session.galleries[""]["val"]),
            "tokens_per_caption": session.vocabulary.length,
            "captions_cut": cut,
            "start": start_of(session.recipe, session.started_from),
        }
        | ({"init_from": session.started_from} if session.started_from else {})
        | ({"captions_cut_shares": shares} if shares else {})
        | ({"data_notes": "; ".join(store.notes)} if store.notes else {})
        | {
            "tasks": list(session.config.tasks),
        },
    )
    # By way of memory: neither library tells a full disk from any other error.
    write_atomic(run.file("tokenizer.json"), session.vocabulary.tokenizer.to_str(pretty=True))
    picture = io.BytesIO()
    mask_preview(session).save(picture, format="PNG")
    write_atomic(run.file("mask_preview.png"), picture.getvalue())


def _captions_of_clips(part: Gallery) -> str:
    """As in `1:480,3:20`: 480 clips with one caption and 20 with three, from which chance level follows.

    Of clips with one caption one counts: with k of V clips right for it, random ranks hit a query with k /
    V, on the average over Q queries with 1 / Q.
    """
    counts, clips = np.unique(np.unique(part.owner, return_counts=True)[1], return_counts=True)
    return ",".join(f"{count}:{number}" for count, number in zip(counts, clips, strict=True))


def _read(session: Session) -> dict[str, list[str]]:
    """All texts that the run reads, by what they are: `train`, `didemo val`, `test questions`.

    Questions stand with their answers: those that a stage trains on, and those that a task asks.
    """
    config = session.config
    found = {name: split.captions for name, split in session.store.splits.items()}
    for data in config.training_data:
        name = f"{data.name} train" if data.name != config.data.name else "train"
        kind = name if data.text == "captions" else f"{name} {data.text}"
        found.setdefault(kind, with_training_texts(session.stores[data], data).splits["train"].captions)
    for data_name, parts in session.galleries.items():
        for split, part in parts.items():
            name = f"{data_name} {split}" if data_name else split
            found[name] = part.captions
            if asked := tasks.texts(config.tasks, part.store, split):
                found[f"{name} questions"] = asked
    return found


def measure(
    run: RunDir, session: Session, stop: Callable[[], bool], check_owner: Callable[[], None]
) -> dict[str, float]:
    """Metrics of the test split by every task; what its queries contributed goes to files of its own.

    stop: as of `Session.judge`; check_owner: called before anything is written, what it raises ends this.
    """
    summary: dict[str, float] = {}
    for data, results in session.judge("test", stop).items():
        for found in results.values():
            check_owner()
            for name, arrays in found.files.items():
                savez(run, f"{data}-{name}" if data else name, **arrays)
            summary |= {full_name("test", data, name): v for name, v in found.values.items()}
            summary |= found.costs if not data else {}
    return summary


def recorded(run: RunDir, session: Session, stop: Callable[[], bool]) -> dict[str, float]:
    """The last validation and the tests between stages, as they are on record.

    A record that lost its last rows (a restored copy, a disk that forgot) must not pass an earlier
    validation for the last one: that is measured again, since the weights are there. A test between two
    stages cannot be: its weights are gone, so the summary does without it.
    """
    at, rows, stages = session.progress, run.read_metrics().rows, session.config.stages
    last = [row for row in rows if _validated(row) and row.get("step") == at.step]
    if not last:
        print(f"warning: the validation of step {at.step} is not on record, measured again", file=sys.stderr)
        seconds_and_flops = clock(at) | {"stage": len(stages) - 1}
        last = [session.evaluate("val", stop) | seconds_and_flops]
        run.append_metrics({"step": at.step, **last[0]})
        run.flush()
    found = {name: value for name, value in last[-1].items() if name.startswith("val/")}
    for row in rows:
        found |= {name: value for name, value in row.items() if _stage_of(name) is not None}
    tested = set(map(_stage_of, found))
    for stage in range(len(stages) - 1):
        if stage not in tested:
            print(f"warning: the test after stage {stage} is not on record and left out", file=sys.stderr)
    return found


def _validated(row: Mapping[str, object]) -> bool:
    return any(name.startswith("val/") for name in row)


def _stage_of(name: str) -> int | None:
    """The stage after which a metric of the test split was measured; None for any other metric."""
    parts = score(name)
    return parts.stage if parts is not None and parts.split == "test" else None


def figures(
    session: Session, rows: Sequence[Mapping[str, float]], spent: float, processes: int
) -> dict[str, float]:
    """Costs and speed of training.

    Args:
        rows: of `metrics.jsonl`.
        spent: seconds of all attempts.
        processes: how many have shared the batches; only the memory is that of the first.
    """
    at, (clips, epochs) = session.progress, _clips_and_epochs(session)
    step_seconds = cost.typical_step_seconds(row for row in rows if "train/loss" in row)
    speed = (at.flops - at.prepare_flops) / (at.step * step_seconds)
    found = {}
    if math.isfinite(at.core_wait_seconds):
        found[CORE_WAIT] = at.core_wait_seconds / at.seconds
    if at.prepare_flops:
        found["cost/prepare_pflops"] = at.prepare_flops / 1e15
        found["speed/prepare_seconds"] = at.prepare_seconds
    if frames := _streamed(session):
        found |= frames[0].throughput()
        computing = max(at.seconds - at.wait_seconds, 1e-9)
        found["speed/train_clips_per_s"] = clips * at.step / computing
        found["train/skipped_clips"] = sum(len(one.bad) for one in frames)
    trained = (p.numel() for name, p in session.recipe.named_parameters() if name in session.trained)
    return (
        found
        | session.costs
        | {
            "cost/train_pflops": at.flops / 1e15,
            "cost/peak_memory_gb": max(at.peak_memory_gb, cost.peak_memory_gb(session.device)),
            "cost/parameters_m": sum(trained) / 1e6,
            "speed/clips_per_s": clips / step_seconds,
            "speed/step_ms": 1000 * step_seconds,
            "speed/data_wait_share": at.wait_seconds / at.seconds,
            "speed/cores_used": at.core_seconds / at.seconds,
            "speed/train_seconds": at.seconds,
            "speed/eval_seconds": at.eval_seconds,
            "speed/startup_seconds": at.startup_seconds,
            "speed/total_seconds": spent,
            "speed/mfu": speed / cost.matmul_flops_per_s(session.device, session.precision) / processes,
            "train/steps": at.step,
            "train/batch_size": clips,
            "train/epochs": epochs,
        }
    )


def _clips_and_epochs(session: Session) -> tuple[float, float]:
    """Clips of a step, the mean over all steps so far, and epochs, added up over the data sets.

    Each data set has a batch size and an epoch of its own length, and its share of the steps.
    """
    at, loaders = session.progress, list(session.loaders.values())
    if len(loaders) == 1:
        return loaders[0].batch_size, at.step / loaders[0].per_epoch
    steps = [at.steps_on.get(str(loader.source), 0) for loader in loaders]
    epochs = sum(count / loader.per_epoch for count, loader in zip(steps, loaders, strict=True))
    if len(sizes := {loader.batch_size for loader in loaders}) == 1:
        return sizes.pop(), epochs
    clips = sum(count * loader.batch_size for count, loader in zip(steps, loaders, strict=True))
    return clips / at.step, epochs


def keep(run: RunDir, session: Session) -> None:
    """Makes durable what is on record, with the clips of shards that turned out bad: `skipped.json`.

    Of several processes the names are those of the first; the others name theirs in the log.
    """
    run.flush()
    skipped = {name: why for frames in _streamed(session) for name, why in frames.skipped().items()}
    if skipped:
        before = run.read_json(SKIPPED) if run.file(SKIPPED).exists() else {}
        if not skipped.items() <= before.items():
            run.write_json(SKIPPED, before | skipped)


def _streamed(session: Session) -> list[StreamedFrames]:
    """The frames that this run decodes from shards, of the last stage first."""
    stages = reversed(session.config.stages)
    loaders = [part for stage in stages for part in session.loader(stage).parts]
    return list({id(one.streamed): one.streamed for one in loaders if one.streamed is not None}.values())


def savez(run: RunDir, name: str, **arrays: np.ndarray) -> None:
    """Writes an `.npz` file of a run directory at once, pickling nothing."""
    with replacing(run.file(name)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def mask_preview(session: Session, clips: int = 3) -> Image.Image:
    """The first clips of the validation split under the run's masking."""
    part = session.galleries[""]["val"]
    captions, owners = part.pairs
    rows = [int(captions[np.flatnonzero(owners == i)[0]]) for i in range(min(clips, len(part.clips)))]
    video = torch.from_numpy(part.frames(np.arange(len(rows))))
    batch = Batch.of(video, part.text.select(torch.tensor(rows))).to(session.device)
    masks = Masks()
    if any(stage.masked for stage in session.config.stages):
        rng = BatchRng.seeded(session.config.seed, session.device)
        with torch.no_grad():
            masks = session.recipe.masks(batch, rng)
    batch = batch.to(torch.device("cpu"))
    video_mask, text_mask = (m.cpu() if m is not None else None for m in masks)
    words = [_caption(session, batch, text_mask, i) for i in range(len(rows))]
    return preview(video, video_mask, session.recipe.grid, words)


def _caption(session: Session, batch: Batch, mask: torch.Tensor | None, row: int) -> str:
    """The caption of a row, with a line for each hidden word."""
    tokens, valid = batch.text.tokens[row], batch.text.layout.valid[row]
    names = [session.vocabulary.tokenizer.id_to_token(int(t)) or "?" for t in tokens[valid]]
    hidden = [False] * len(names) if mask is None else mask[row][valid].tolist()
    return " ".join("_" * len(name) if gone else name for name, gone in zip(names, hidden, strict=True))


def start_of(recipe: BaseRecipe, runs: Sequence[Mapping[str, str]]) -> str:
    """Where the weights of each encoder come from, in words.

    runs: parts that start from other runs, see `Session.started_from`; an empty name is the whole recipe.
    """
    found = {name: encoder.start for name, encoder in recipe.encoders().items()}
    starts = {name: start or "random init" for name, start in found.items() if start is not None}
    for one in runs:
        said = f"run {one['run']} (sha256 {one['sha256'][:12]})"
        starts |= {one["part"]: said} if one["part"] else dict.fromkeys(starts, said)
    return ", ".join(f"{name}: {start}" for name, start in starts.items())
