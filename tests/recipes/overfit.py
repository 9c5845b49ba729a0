"""Distinct pairs that any recipe must learn by heart, and how well it did."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small import recipe_module, shrink

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data.store import FrameStore, write_record
from workbench.train import checkpoint
from workbench.train.loop import Interrupted, train
from workbench.train.session import Session, open_session

PAIRS, FRAMES, SIZE = 32, 4, 16
SOUNDS = "red green blue white early late big small round square near far".split()
CPU = torch.device("cpu")


def write_pairs(path: Path) -> FrameStore:
    """Store of 32 clips of coloured cubes, drawn from one seed, each with a caption of words of its own; val
    and test have some of them again, which nobody asks for."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (PAIRS, FRAMES // 2, SIZE // 8, SIZE // 8, 3), np.uint8)
    frames = colours.repeat(2, 1).repeat(8, 2).repeat(8, 3)
    frames = np.concatenate([frames, frames[:4]])
    clips: list[dict[str, Any]] = []
    for i in range(PAIRS + 4):
        split = "train" if i < PAIRS else "val" if i < PAIRS + 2 else "test"
        caption = f"{SOUNDS[i % PAIRS // 8]} {SOUNDS[4 + i % 8]} things move"
        clips.append({"id": f"clip{i:02d}", "split": split, "captions": [caption], "attributes": {}})
    path.mkdir(parents=True)
    np.save(path / "frames.npy", frames)
    record = {"name": "pairs", "digest": f"{0:064d}", "decoder": "none", "clips": clips, "skipped": []}
    write_record(path, record | {"repeated_frames": 0, "frames_sha256": "0" * 64, "notes": []})
    return FrameStore.open(path)


def learner(config: Any, width: int = 64) -> Any:
    """The tiny recipe, but not so narrow that luck decides how fast it learns."""
    tiny = shrink(config)
    parts = {field.name: getattr(tiny, field.name) for field in dataclasses.fields(tiny)}
    wide = {n: replace(p, width=width) for n, p in parts.items() if hasattr(p, "width")}
    return replace(tiny, **wide, embed=width) if hasattr(tiny, "embed") else replace(tiny, **wide)


def two_stages(recipe: str | Any, own: int, aligned: int, *, seed: int = 0, lr: float = 1e-3) -> RunConfig:
    """A tiny recipe that trains its own objective first, then the shared alignment, which hides nothing."""
    if isinstance(recipe, str):
        recipe = learner(recipe_module(recipe).Config())
    return RunConfig(
        recipe=recipe,
        data=DataConfig(name="pairs", frames=FRAMES, size=SIZE),
        stages=(
            Stage(budget=Budget(unit="steps", amount=own)),
            Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=aligned)),
        ),
        optim=OptimConfig(batch_size=PAIRS, lr=lr),
        evaluations=1,
        seed=seed,
    )


def session_of(config: RunConfig, store: FrameStore) -> Session:
    return open_session(config, store, device=CPU, precision=torch.float32)


@torch.no_grad()
def learnt(session: Session) -> float:
    """R@1 among the training pairs, of the harder direction."""
    recipe, part = session.recipe.eval(), session.store.splits["train"]
    video = recipe.embed_video(torch.from_numpy(session.store.frames[part.clips].copy()))
    score = video @ recipe.embed_text(session.vocabulary.encode(part.captions)).T
    right = torch.arange(len(score))
    return min(float((s.argmax(1) == right).float().mean()) for s in (score, score.T))


def weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in session.recipe.state_dict().items()}


def stopped_and_resumed(
    config: RunConfig, store: FrameStore, folder: Path, stops: tuple[int, ...]
) -> Session:
    """The last session of a run that was stopped after these steps and started anew each time."""
    for until in (*stops, None):
        session = session_of(config, store)
        session.progress = (
            checkpoint.resume(folder, session.recipe, session.optimizer, config) or session.progress
        )
        try:
            for _ in train(session, checkpoints=folder, stop=lambda s=session, u=until: s.progress.step == u):
                pass
        except Interrupted:
            assert session.progress.step == until
        else:
            assert until is None
    return session


def still(config: Any) -> Any:
    """The same recipe for single images."""
    return replace(config, video=replace(config.video, tubelet=1))
