"""Pre-training on shards and fine-tuning on a folder, through the commands that people type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sharded import own_folder

ROOT = Path(__file__).parents[2]
STUDY = '''
"""Does pre-training on shards help?"""
from dataclasses import replace

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.models.text import TextConfig
from workbench.models.video import VideoConfig
from workbench.recipes import mac
from workbench.study.spec import Study

OWN = DataConfig(name="folder", frames=4, size=16)
SHARDS = replace(OWN, name="shards")


def configure(trial):
    return RunConfig(
        recipe=mac.Config(
            video=VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=2),
            text=TextConfig(width=32, depth=1),
            embed=16,
        ),
        data=OWN,
        evaluate_on=(SHARDS,),
        optim=OptimConfig(batch_size=trial.suggest_categorical("batch", [4])),
        stages=(
            Stage(budget=Budget(unit="epochs", amount=1), data=SHARDS),
            Stage(budget=Budget(unit="epochs", amount=1), objective="align", masked=False),
        ),
        evaluations=1,
    )


STUDY = Study(question="Does pre-training on shards help?", configure=configure, seeds=(0,))
'''


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "WORKBENCH_DECODERS": "1"}
    words = [sys.executable, "-m", *command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_pretrained_on_shards_tuned_on_a_folder_and_tested_on_both(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "on_shards.py").write_text(STUDY)
    own_folder(tmp_path / "clips", {"train": 8, "val": 2, "test": 2})
    own_folder(tmp_path / "many", {"train": 14, "val": 2, "test": 3})
    made = run(tmp_path, "workbench.data", "shard", "many", "--into", "set", "--clips", "5")
    assert made.returncode == 0, made.stderr
    assert made.stdout == "19 clips in 5 shards: set\n"
    places = ["--data", "folder:clips", "--data", "shards:set"]
    done = run(tmp_path, "workbench.study", "on_shards", *places, "--device", "cpu", "--mlflow", "none")
    assert done.returncode == 0, done.stderr + done.stdout
    (file,) = (tmp_path / "results").rglob("summary.json")
    summary = json.loads(file.read_text(encoding="utf-8"))
    zero_shot = {"test/stage0_t2v_r1", "test/shards:stage0_t2v_r1"}
    assert zero_shot | {"test/t2v_r1", "test/shards:t2v_r1", "speed/decode_clips_per_s"} <= set(summary)
    assert summary["train/steps"] == 14 // 4 + 8 // 4
    (store,) = (tmp_path / "results" / "data").glob("shards-*/frames-4x16/store.json")
    assert json.loads(store.read_text(encoding="utf-8"))["shards"][0][0] == str(
        tmp_path / "set" / "test-000000.tar"
    )
    (tmp_path / "set" / "train-000001.tar").write_bytes(b"cut")
    again = run(tmp_path, "workbench.study", "on_shards", *places, "--plan")
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert "train-000001.tar is not the shard that" in again.stderr
    assert again.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [["--into", "set", "--clips", "0"], ["--into", "captions.csv"]])
def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path, options: list[str]) -> None:
    own_folder(tmp_path / "clips", {"train": 2, "val": 1, "test": 1})
    found = run(tmp_path / "clips", "workbench.data", "shard", ".", *options)
    assert found.returncode == 2
    assert found.stderr.startswith("error: --")
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "clips" / "set").exists()
