"""What a run leaves behind besides its metrics: environment, tokenizer, mask preview, ranks, embeddings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image

from workbench.config import RunConfig
from workbench.masking.preview import preview
from workbench.recipe.batch import Batch
from workbench.tasks.gallery import metrics, ranks
from workbench.tracking.files import replacing, write_atomic
from workbench.tracking.run_dir import RunDir
from workbench.train.session import Session


def describe(
    run: RunDir, session: Session, facts: Mapping[str, object], earlier: list[dict[str, str]]
) -> None:
    """What only this process knows: environment, data, tokenizer, and a picture of the mask."""
    store = session.store
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
            "tokens_per_caption": session.vocabulary.length,
            "captions_cut": {name: session.vocabulary.cut(s.captions) for name, s in store.splits.items()},
            "start": _start(session.config),
        },
    )
    # By way of memory: neither library tells a full disk from any other error.
    write_atomic(run.file("tokenizer.json"), session.vocabulary.tokenizer.to_str(pretty=True))
    picture = io.BytesIO()
    mask_preview(session).save(picture, format="PNG")
    write_atomic(run.file("mask_preview.png"), picture.getvalue())


def measure(
    run: RunDir, session: Session, stop: Callable[[], bool], stay: Callable[[], None]
) -> dict[str, float]:
    """Metrics of the test split; ranks and embeddings go to files of their own.

    stop: as of `Session.embed`; stay: called before anything is written, what it raises ends this.
    """
    part = session.galleries["test"]
    video, text = session.embed("test", stop)
    found = ranks(video, text, part.owner)
    stay()
    owners = [part.clip_ids[i] for i in part.owner]
    _savez(run, "ranks.npz", t2v_rank=found.t2v, t2v_id=np.array(part.caption_ids),
           t2v_group=np.array(owners), v2t_rank=found.v2t, v2t_id=np.array(part.clip_ids))  # fmt: skip
    _savez(run, "embeddings.npz", video=video.half().numpy(), text=text.half().numpy(),
           video_id=np.array(part.clip_ids), text_id=np.array(part.caption_ids),
           text_group=np.array(owners), caption=np.array(part.captions))  # fmt: skip
    return {f"test/{name}": value for name, value in metrics(found).items()}


def _savez(run: RunDir, name: str, **arrays: np.ndarray) -> None:
    with replacing(run.file(name)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def mask_preview(session: Session, clips: int = 3) -> Image.Image:
    """The first clips of the validation split under the run's masking."""
    part = session.galleries["val"]
    rows = [int(np.flatnonzero(part.owner == i)[0]) for i in range(min(clips, len(part.clips)))]
    video = torch.from_numpy(session.store.frames[part.clips[: len(rows)]])
    batch = Batch(video, part.text.select(torch.tensor(rows)))
    rng = torch.Generator().manual_seed(session.config.seed)
    masked = any(stage.masked for stage in session.config.stages)
    video_mask = session.recipe.video_mask(batch, rng) if masked else None
    text_mask = session.recipe.text_mask(batch, rng) if masked else None
    words = [_words(session, batch, text_mask, i) for i in range(len(rows))]
    return preview(video, video_mask, session.recipe.video.grid, words)


def _words(session: Session, batch: Batch, mask: torch.Tensor | None, row: int) -> str:
    tokens, valid = batch.text.tokens[row], batch.text.layout.valid[row]
    names = [session.vocabulary.tokenizer.id_to_token(int(t)) or "?" for t in tokens[valid]]
    hidden = [False] * len(names) if mask is None else mask[row][valid].tolist()
    return " ".join("_" * len(name) if gone else name for name, gone in zip(names, hidden, strict=True))


def _start(config: RunConfig) -> str:
    """Where the weights come from, in words."""
    sides = {"video": config.recipe.video.pretrained, "text": config.recipe.text.pretrained}
    return ", ".join(f"{side}: {name or 'random init'}" for side, name in sides.items())
