"""Images and videos in one run: every batch is of one of them, in the proportion that was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sharded import own_folder
from small import FRAMES, SIZE, run_config, shrink, write_store
from torch import Tensor

from workbench.config import Budget, DataConfig, Mixed, RunConfig, Stage
from workbench.data.loader import Mixture
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.recipes import omnivl
from workbench.runner.arguments import parser
from workbench.study.__main__ import main
from workbench.study.cells.options import parse_mix
from workbench.train import checkpoint
from workbench.train.loop import train
from workbench.train.session import Interrupted, Session, check, open_session

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
CLIPS = DataConfig(name="random", frames=FRAMES, size=SIZE)
IMAGES = DataConfig(name="pictures", frames=1, size=SIZE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Another random store, of one frame a clip."""
    found = write_store(tmp_path_factory.mktemp("pictures") / "frames-4x16", seed=1)
    return replace(found, frames=found.frames[:, :1])


def mixed(steps: float = 12, share: float = 0.25, unit: Any = "steps", **changes: Any) -> RunConfig:
    """Of omnivl, which shows no frames of the clips as images beside the real ones."""
    stage = Stage(budget=Budget(unit=unit, amount=steps), mix=(Mixed(data=IMAGES, share=share),))
    recipe = replace(shrink(omnivl.Config()), images=0.0)
    return run_config(recipe, **({"stages": (stage,), "evaluate_on": (IMAGES,), "evaluations": 1} | changes))


def session_of(config: RunConfig, store: FrameStore, pictures: FrameStore) -> Session:
    return open_session(config, {CLIPS: store, IMAGES: pictures}, device=CPU, precision=torch.float32)


def rows_of(
    session: Session, folder: Path | None = None, until: int = -1
) -> list[tuple[int, dict[str, float]]]:
    """What is recorded of a run that is stopped after so many steps, but for its clock."""
    rows = []
    try:
        for step, row in train(session, checkpoints=folder, stop=lambda: session.progress.step == until):
            rows.append((step, {name: value for name, value in row.items() if name != "seconds"}))
    except Interrupted:
        assert session.progress.step == until
    return rows


class Part:
    """What a mixture asks of a loader."""

    source, batch_size, per_epoch = 0, 8, 10


@pytest.mark.parametrize("shares", [(0.25,), (0.1, 0.6), (0.82,), (1 / 3, 1 / 3), (0.05, 0.3, 0.5)])
def test_each_has_its_share_of_any_number_of_steps(shares: tuple[float, ...]) -> None:
    part: Any = Part()
    mixture = Mixture(part, [(part, share) for share in shares])
    before = [0] * (1 + len(shares))
    for step in range(1, 400):
        counts = mixture.counts(step)
        assert sum(counts) == step
        assert sorted(now - then for now, then in zip(counts, before, strict=True))[-2:] == [0, 1]
        for count, share in zip(counts, mixture.shares, strict=True):
            assert abs(count - share * step) < 2
        before = counts
    assert mixture.counts(1)[0] == 1, "the stage's own data begin"


def test_batches_are_of_one_kind_and_each_goes_through_its_own_epochs(
    store: FrameStore, pictures: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mixed(share=0.5)
    alone = Stage(budget=Budget(unit="steps", amount=1))
    session = session_of(replace(config, stages=(alone, *config.stages)), store, pictures)
    seen, draw = [], session.recipe.draw
    monkeypatch.setattr(
        session.recipe, "draw", lambda batch, *a, **k: seen.append(batch) or draw(batch, *a, **k)
    )
    list(train(session))
    assert [int(batch.source[0]) for batch in seen] == [0, *[0, 1] * 6]
    for source, frames, data in ((0, FRAMES, store), (1, 1, pictures)):
        own = [batch for batch in seen if int(batch.source[0]) == source]
        assert {batch.video.shape[1] for batch in own} == {frames}
        for epoch in (own[:3], own[3:6]):  # of 24 clips, also where the first began in an earlier stage
            rows = torch.cat([batch.index for batch in epoch])
            assert sorted(rows.tolist()) == sorted(np.unique(data.splits["train"].clips).tolist())
        assert all(torch.equal(b.video, torch.from_numpy(data.frames[b.index.numpy()])) for b in own)
    assert session.progress.steps_on == {"0": 7, "1": 6}


def test_a_step_costs_what_its_kind_costs_and_the_budget_is_spent(
    store: FrameStore, pictures: FrameStore
) -> None:
    spent = [row["pflops"] for _, row in rows_of(session_of(mixed(), store, pictures)) if "pflops" in row]
    steps = np.diff([0.0, *spent])
    clip, image = steps[0], steps[3]
    assert image < 0.9 * clip
    assert steps.tolist() == pytest.approx([clip, clip, clip, image] * 3)
    mean = 0.75 * clip + 0.25 * image
    session = session_of(mixed(40.5 * mean, unit="pflops"), store, pictures)
    list(train(session))
    assert session.progress.step == 40
    assert session.progress.flops / 1e15 == pytest.approx(40 * mean)


@pytest.mark.parametrize("stop", [3, 9, 12])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    store: FrameStore, pictures: FrameStore, tmp_path: Path, stop: int
) -> None:
    alone = Stage(budget=Budget(unit="steps", amount=2))
    config = mixed()
    config = replace(config, stages=(alone, replace(config.stages[0], budget=alone.budget), *config.stages))
    whole = session_of(config, store, pictures)
    rows = rows_of(whole)
    first = rows_of(session_of(config, store, pictures), tmp_path, stop)
    again = session_of(config, store, pictures)
    found = checkpoint.resume(tmp_path, again.recipe, again.optimizer, config)
    assert found is not None
    again.progress = found
    assert first + rows_of(again) == rows
    ends: Iterator[tuple[Tensor, Tensor]] = zip(
        whole.recipe.state_dict().values(), again.recipe.state_dict().values(), strict=True
    )
    assert all(torch.equal(one, other) for one, other in ends)


def test_nothing_mixed_leaves_keys_as_they_were_and_a_file_tells_what_is() -> None:
    unmixed = replace(mixed(), stages=(replace(mixed().stages[0], mix=()),))
    assert mixed().key() != unmixed.key()
    assert '"mix": []' in run_config().to_json()
    assert RunConfig.from_json(mixed().to_json()) == mixed()
    without = json.loads(run_config().to_json())
    for stage in without["stages"]:
        del stage["mix"]
    assert RunConfig.from_json(json.dumps(without)).key() == run_config().key()


def test_what_cannot_be_mixed_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="mac reads clips of one length only; an image is a still clip of 4"):
        check(run_config("mac", stages=mixed().stages))
    check(mixed())
    twice = replace(mixed().stages[0], mix=(Mixed(data=IMAGES, share=0.2), Mixed(data=IMAGES, share=0.3)))
    for change, reason in (
        (lambda: Mixed(data=IMAGES, share=1.0), "above 0 and below 1, not 1.0"),
        (lambda: replace(twice, mix=(Mixed(data=IMAGES, share=0.6),) * 2), "add up to less than 1"),
        (lambda: mixed(stages=(twice,)), "a stage mixes must each be named once and differ"),
        (lambda: parse_mix([["flickr8k:there", "half"]]), "such as 0.25, not 'half'"),
    ):
        with pytest.raises(UserError, match=reason):
            change()
    asked = parser().parse_args(["name", "--mix", "flickr8k:there", "0.25", "--mix", "coco:here", ".5"])
    assert parse_mix(asked.mix) == (("flickr8k:there", 0.25), ("coco:here", 0.5))


STUDY = '''
"""Do images help?"""
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.recipes import RECIPE as recipe
from workbench.study.spec import Study
from workbench.testing.world import shrink


def configure(trial):
    lr = trial.suggest_categorical("lr", [0.001])
    return RunConfig(
        recipe=shrink(recipe.Config()),
        data=DataConfig(name="folder", frames=4, size=16),
        optim=OptimConfig(lr=lr, batch_size=4),
        stages=(Stage(budget=Budget(unit="steps", amount=4)),),
        evaluations=1,
    )


STUDY = Study(question="Do images help?", configure=configure, seeds=(0,))
'''


def of_pictures(path: Path) -> Path:
    path.mkdir()
    rows = ["video,caption,split"]
    for number, split in enumerate(["train"] * 8 + ["val"] * 2 + ["test"] * 2):
        Image.new("RGB", (40, 32), (20 * number, 90, 200 - 10 * number)).save(path / f"{number}.jpg")
        rows.append(f"{number}.jpg,picture number {number},{split}")
    (path / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_folder_of_videos_and_one_of_pictures_through_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "studies").mkdir()
    for name in ("omnivl", "mac"):
        (tmp_path / "studies" / f"with_{name}.py").write_text(STUDY.replace("RECIPE", name))
    own_folder(tmp_path / "clips", {"train": 8, "val": 2, "test": 2})
    of_pictures(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    asked = ["--data", "folder:clips", "--mix", "folder-2:images", "0.5", "--device", "cpu"]
    how = {"omnivl": "one frame", "mac": "a still clip of 4 frames"}
    for name, words in how.items():
        assert main([f"with_{name}", *asked, "--plan"]) == 0
        plan = capsys.readouterr().out
        assert "trains on 1. folder in 0.5 of the steps and folder-2 in 0.5 of the steps, recipe" in plan
        assert "tested on folder and folder-2 at the end, selected on folder" in plan
        assert f"folder-2: {name} reads an image as {words}" in plan
    command = [sys.executable, "-m", "workbench.study", "with_omnivl", *asked, "--mlflow", "none"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (file,) = (tmp_path / "results").rglob("summary.json")
    summary = json.loads(file.read_text(encoding="utf-8"))
    assert {"test/t2v_r1", "test/folder-2:t2v_r1"} <= set(summary)
    assert summary["train/steps"] == 4
    (store,) = (tmp_path / "results" / "data").glob("folder-2-*/frames-1x16/store.json")
    assert json.loads(store.read_text(encoding="utf-8"))["decoder"].startswith("pillow")
