"""Distinct pairs that any recipe must learn by heart, and how well it did."""

from __future__ import annotations

import itertools
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
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "white": (240, 240, 240)}
CORNERS = {"top left": (0, 0), "top right": (0, 8), "bottom left": (8, 0), "bottom right": (8, 8)}
TIMES = {"early": slice(0, 2), "late": slice(2, 4)}
CPU = torch.device("cpu")


def write_pairs(path: Path) -> FrameStore:
    """Store of all 32 clips of a square of one colour in one corner, seen early or late, each with its own
    caption; val and test have two of them again, which nobody asks for."""
    clips, frames = [], np.full((PAIRS + 4, FRAMES, SIZE, SIZE, 3), 90, np.uint8)
    every = list(itertools.product(COLOURS, CORNERS, TIMES))
    for i, (colour, corner, when) in enumerate([*every, *every[:4]]):
        top, left = CORNERS[corner]
        frames[i, TIMES[when], top : top + 8, left : left + 8] = COLOURS[colour]
        split = "train" if i < PAIRS else "val" if i < PAIRS + 2 else "test"
        caption = f"a {colour} square in the {corner} is there {when}"
        clips.append({"id": f"clip{i:02d}", "split": split, "captions": [caption], "attributes": {}})
    path.mkdir(parents=True)
    np.save(path / "frames.npy", frames)
    record = {"name": "pairs", "digest": f"{0:064d}", "decoder": "none", "clips": clips, "skipped": []}
    write_record(path, record | {"repeated_frames": 0, "frames_sha256": "0" * 64, "notes": []})
    return FrameStore.open(path)


def two_stages(recipe: str | Any, own: int, aligned: int, *, seed: int = 0, lr: float = 3e-3) -> RunConfig:
    """A tiny recipe that trains its own objective first, then the shared alignment, which hides nothing."""
    if isinstance(recipe, str):
        recipe = shrink(recipe_module(recipe).Config())
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
    """Share of the training pairs whose caption finds its clip, and whose clip finds its caption, the lower."""
    recipe, part = session.recipe.eval(), session.store.splits["train"]
    video = recipe.embed_video(torch.from_numpy(session.store.frames[part.clips].copy()))
    score = video @ recipe.embed_text(session.vocabulary.encode(part.captions)).T
    right = torch.arange(len(score))
    return min(float((s.argmax(1) == right).float().mean()) for s in (score, score.T))


def weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in session.recipe.state_dict().items()}


def stopped_and_resumed(config: RunConfig, store: FrameStore, folder: Path, stops: tuple[int, ...]) -> Session:
    """The last session of a run that was stopped after these steps and started anew each time."""
    for until in (*stops, None):
        session = session_of(config, store)
        session.progress = (
            checkpoint.resume(folder, session.recipe, session.optimizer, config) or session.progress
        )
        try:
            for _ in train(
                session, checkpoints=folder, stop=lambda s=session, u=until: s.progress.step == u
            ):
                pass
        except Interrupted:
            assert session.progress.step == until
        else:
            assert until is None
    return session


def still(config: Any) -> Any:
    """The same recipe for single images."""
    return replace(config, video=replace(config.video, tubelet=1))
