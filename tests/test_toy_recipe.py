"""One recipe that uses every hook trains, resumes to the bit after a kill, is counted, and is evaluated."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy_recipe
from safetensors.torch import load_file
from small import run_config, shrink

from workbench.config import Budget, DataConfig, Stage
from workbench.data import describe
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train.loop import train
from workbench.train.session import open_session

TWO_STAGES = (
    Stage(budget=Budget(unit="steps", amount=5)),
    Stage(objective="predict_codes", budget=Budget(unit="steps", amount=3)),
)
TASKS = ("retrieval", "pair_retrieval", "shuffling")


@pytest.fixture(autouse=True)
def shipped(monkeypatch):
    """The toy under the name of a recipe of the package, so that files may name it."""
    monkeypatch.setitem(sys.modules, "workbench.recipes.toy", toy_recipe)
    for thing in (toy_recipe.Weights, toy_recipe.Config, toy_recipe.Recipe):
        monkeypatch.setattr(thing, "__module__", "workbench.recipes.toy")


def config(**changes):
    return run_config(shrink(toy_recipe.Config()), **({"stages": TWO_STAGES, "tasks": TASKS} | changes))


def session_of(store, **changes):
    return open_session(config(**changes), store, device=torch.device("cpu"), precision=torch.float32)


def test_its_hooks_run_where_they_should(store):
    session = session_of(store)
    recipe = session.recipe
    first = {name: value.clone() for name, value in recipe.state_dict().items()}
    rows = list(train(session))
    assert recipe.codebook.any(), "fitted before the first step"
    steps, done = recipe.after_steps.tolist()
    assert steps == 8
    shares = [(i + 1) / 5 / 2 for i in range(5)] + [(1 + (i + 1) / 3) / 2 for i in range(3)]
    assert done == pytest.approx(sum(shares))
    assert not torch.equal(recipe.teacher.project.weight, first["teacher.project.weight"])
    assert session.progress.prepare_flops >= 1000
    terms = [set(row) & {"train/vtm", "train/codes", "train/teacher"} for _, row in rows if "train/lr" in row]
    assert terms == [{"train/vtm", "train/codes", "train/teacher"}] * 5 + [{"train/codes"}] * 3


def test_a_phase_trains_its_parts_alone(store):
    session = session_of(store, stages=TWO_STAGES[1:])
    before = {name: value.clone() for name, value in session.recipe.state_dict().items()}
    list(train(session))
    after = session.recipe.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"code_head.weight", "fusion.block.mlp.fc1.weight", "after_steps", "codebook"} <= changed
    assert not {
        n for n in changed if n.startswith(("video.", "text.", "video_head", "text_head", "match_head"))
    }


def test_every_encoder_is_counted_and_a_teacher_is_no_trained_parameter(store):
    session = session_of(store, stages=TWO_STAGES[:1], evaluations=1)
    list(train(session))
    costs = session.costs
    passes = {name: costs[f"cost/{name}_passes"] for name in ("video", "text", "fusion", "teacher")}
    assert passes == {"video": 4, "text": 4, "fusion": 3, "teacher": 1}, "masks look too"
    assert costs["cost/teacher_gflops_per_clip"] > 0
    assert not any(name.startswith("teacher.") for name in session.trained)
    rates = {name: g["lr"] for g in session.optimizer.param_groups for name, p in
             session.recipe.named_parameters() if any(p is q for q in g["params"])}  # fmt: skip
    assert rates["video.project.weight"] == pytest.approx(rates["match_head.weight"] / 2)


def test_both_retrieval_tasks_and_the_shuffling_test_judge_it(store):
    session = session_of(store, stages=TWO_STAGES[:1], evaluations=2)
    rows = [row for _, row in train(session)]
    early, last = (row for row in rows if "val/t2v_r1" in row)
    slow = {"val/rerank20_t2v_r1", "val/shuffle_drop_t2v_r1"}
    assert not slow & set(early), "what takes long is left to the last evaluation"
    assert slow <= set(last)
    captions = session.recipe.generate(torch.from_numpy(store.frames[:3].copy()), ["a", "a", "the"])
    assert len(captions) == 3
    assert [caption.split()[0] for caption in captions] == ["a", "a", "the"]


def run_toy(run, root, *, wait=True):
    words = [sys.executable, str(Path(__file__).with_name("toy_recipe.py")), str(run.path)]
    process = subprocess.Popen(
        [*words, "--data-root", str(root), "--save-every", "0", "--device", "cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return process.wait(240) if wait else process


def test_killed_it_ends_as_if_it_had_not_been(tmp_path):
    data = replace(describe(DataConfig(clips=24, frames=4, size=16)).data)
    stages = (replace(TWO_STAGES[0], budget=Budget(unit="steps", amount=60)), TWO_STAGES[1])
    asked = config(data=data, stages=stages, evaluations=1, tasks=("retrieval", "pair_retrieval"))
    runs = [RunDir(tmp_path / "runs" / "toy" / name) for name in ("whole", "killed")]
    for run in runs:
        run.create()
        run.write_config(asked)
        run.write_json(
            "run.json", {"study": "toy", "key": asked.key(), "seed": 0, "attempt": 1, "token": "t"}
        )
    whole, killed = runs
    assert run_toy(whole, tmp_path / "data") == 0
    process = run_toy(killed, tmp_path / "data", wait=False)
    last, end = killed.file("checkpoints") / checkpoint.LAST, time.monotonic() + 200
    while not (last.exists() and json.loads(last.read_text())["progress"]["step"] >= 3):
        assert process.poll() is None, "it was to be killed on its way"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run_toy(killed, tmp_path / "data") == 0
    one, other = (load_file(run.file("checkpoints") / checkpoint.MODEL) for run in runs)
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []
    summary = whole.summary()
    assert {"test/t2v_r1", "test/stage0_rerank20_t2v_r1"} <= set(summary)
    assert "test/rerank20_t2v_r1" not in summary, "the last stage has moved the fusion under its judgement"
    scores = {name: value for name, value in summary.items() if name.startswith(("test/", "val/"))}
    assert {name: killed.summary()[name] for name in scores} == scores
