"""Real clips in every format, through the whole path: folder, frame store, training, evaluation."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from statistics import mean

import pytest
import torch

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data import describe, prepare
from workbench.data.store import FrameStore
from workbench.models.text import TextConfig
from workbench.models.video import VideoConfig
from workbench.recipes import mac
from workbench.train.loop import train
from workbench.train.session import open_session

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "clips").is_dir(), reason="the real clips are not here")
def test_a_model_learns_the_captions_of_real_clips(tmp_path: Path) -> None:
    source = str(_folder(tmp_path / "own"))
    data = describe(DataConfig(name="folder", frames=4, size=32), source).data
    store = FrameStore.open(prepare(data, source=source, root=tmp_path, progress=False))
    small = mac.Config(
        video=VideoConfig(width=64, depth=2, heads=2, patch=8, tubelet=2),
        text=TextConfig(width=64, depth=1, heads=2),
        text_masking=None,
    )
    config = RunConfig(
        recipe=small,
        data=data,
        stages=(Stage(budget=Budget(unit="steps", amount=80)),),
        optim=OptimConfig(batch_size=16),
        evaluations=1,
    )
    session = open_session(config, store, device=torch.device("cpu"))
    rows = [row for _, row in train(session)]
    # Averaged: equal captions ("fight", "no fight") in a batch make single steps noisy and set a floor.
    losses = [row["train/vtc"] for row in rows]
    assert mean(losses[-20:]) < 0.6 * losses[0]
    assert 0 <= session.evaluate("test")["test/t2v_r1"] <= 100


def _folder(own: Path) -> Path:
    """The labelled clips, flat, with their labels as captions."""
    own.mkdir()
    rows = []
    for line in (SHARED / "MANIFEST.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        name, *_, label = line.split("\t")
        if name.startswith("clips/") and label:
            shutil.copyfile(SHARED / name, own / Path(name).name)
            rows.append((Path(name).name, label))
    with open(own / "captions.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("video", "caption"), *rows])
    return own
