"""What a run leaves behind besides its metrics: environment, tokenizer, mask preview, ranks, embeddings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image

from workbench import tasks
from workbench.data.texts import told
from workbench.masking.preview import preview
from workbench.metrics import full_name
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, BatchRng, Masks
from workbench.tasks.gallery import Gallery
from workbench.tracking.files import replacing, write_atomic
from workbench.tracking.run_dir import RunDir
from workbench.train.session import Session


def describe(
    run: RunDir, session: Session, facts: Mapping[str, object], earlier: list[dict[str, str]]
) -> None:
    """What only this process knows: environment, data, tokenizer, and a picture of the mask."""
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
            "start": _start(session.recipe),
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
        found.setdefault(kind, told(session.stores[data], data).splits["train"].captions)
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
                _savez(run, f"{data}-{name}" if data else name, **arrays)
            summary |= {full_name("test", data, name): v for name, v in found.values.items()}
            summary |= found.costs if not data else {}
    return summary


def _savez(run: RunDir, name: str, **arrays: np.ndarray) -> None:
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


def _start(recipe: BaseRecipe) -> str:
    """Where the weights of each encoder come from, in words."""
    starts = {name: encoder.start for name, encoder in recipe.encoders().items()}
    return ", ".join(
        f"{name}: {start or 'random init'}" for name, start in starts.items() if start is not None
    )
