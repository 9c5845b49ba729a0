"""`study.json` holds the arguments that make its plan again."""

import json
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import pytest

from workbench.answer.study_record import StudyRecord
from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.report.__main__ import main as report
from workbench.runner.arguments import parser
from workbench.study.cells.options import Options, parse_seeds
from workbench.study.description import arguments, describe
from workbench.study.plan import make_plan
from workbench.study.spec import Study


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(smoke=True, recipe="simvtp"),
        Options(quick=True),
        Options(seeds=(0,), budget="2x", data="folder:/own videos/it's"),
        Options(seeds=(4, 7), single=True, trials=30),
        Options(seeds=(7,)),
        Options(budget="2x", settings=("optim.betas=0.8,0.95", "optim.lr=0.0003")),
        Options(data="moving_shapes", more_data=("folder:/own", "other:/there")),
        Options(data="folder:/own", pretrain_data="webvid:/there"),
    ],
)
def test_the_command_line_reads_them_as_the_same_options(options):
    plan = SimpleNamespace(options=options, study=SimpleNamespace(name="mask_ratio-simvtp-single"))
    read = parser().parse_args(arguments(plan))
    assert read.study == "mask_ratio"
    again = Options(
        seeds=parse_seeds(read.seeds) if read.seeds else (),
        data=next(iter(read.data), ""),
        more_data=tuple(read.data[1:]),
        pretrain_data=read.pretrain_data,
        settings=tuple(read.set),
        **{name: getattr(read, name) for name in ("budget", "recipe", "trials", "single", "smoke", "quick")},
    )
    assert again == options


def test_the_command_is_quoted_for_the_shell():
    asked = {"study": "a", "question": "", "metric": "t2v_r1", "direction": "maximize", "axes": [],
             "baseline": None, "seeds": [0], "reads": [], "smoke": True, "plan": "", "cells": []}  # fmt: skip
    assert StudyRecord.of(asked).command == "python -m workbench.study a --smoke"
    command = StudyRecord.of(asked | {"arguments": ["a", "--data", "folder:/own videos"]}).command
    assert command == "python -m workbench.study a --data 'folder:/own videos'"


def test_every_plan_keeps_its_description_and_its_study_file(write_study, study, place, capsys):
    write_study(hidden=[0.0])
    (place / "results/runs/fake").mkdir(parents=True)
    earlier = {"plan": "budget 3x", "smoke": False}  # as an earlier version left it, which kept no others
    (place / "results/runs/fake/study.json").write_text(json.dumps(earlier))
    assert study("fake") == 0
    first = (place / "studies/fake.py").read_bytes()
    write_study(hidden=[0.0, 0.5])
    assert study("fake", "--set", "optim.clip_norm=2") == 0
    folder = place / "results/runs/fake"
    assert sorted(path.name for path in folder.glob("asked-*")) == [
        "asked-as-the-study-asks.json",
        "asked-as-the-study-asks.py",
        "asked-budget-3x.json",
        "asked-set-optim.clip_norm=2.0.json",
        "asked-set-optim.clip_norm=2.0.py",
    ]
    assert (folder / "asked-as-the-study-asks.py").read_bytes() == first
    assert (folder / "asked-set-optim.clip_norm=2.0.json").read_text() == (folder / "study.json").read_text()
    capsys.readouterr()
    assert report(["fake", "--rows", "words"]) == 0
    assert report(["fake", "--asked", "set optim.clip_norm=2.0", "--rows", "words"]) == 0
    assert report(["fake", "--asked", "budget 3x"]) == 2
    assert "asked-budget-3x.json is of another version" in capsys.readouterr().err
    reports = sorted(path.name for path in (place / "results/reports").iterdir())
    assert reports == ["fake", "fake-set-optim.clip_norm=2.0"]


def test_a_search_notes_the_version_of_optuna(place, tmp_path):
    study = Study(question="?", configure=_drawn, mode="search", trials=2)
    plan = make_plan(replace(study, name="drawn"), Options(), tmp_path)
    found = describe(plan, tmp_path / "results")
    assert found["optuna"] == metadata.version("optuna")
    assert StudyRecord.of(found).optuna == found["optuna"]
    assert (
        "optuna"
        not in make_plan(replace(study, name="a", mode="ablation"), Options(), tmp_path).description()
    )


def _drawn(trial):
    stage = Stage(budget=Budget(unit="steps", amount=1))
    optim = OptimConfig(lr=trial.suggest_categorical("lr", [1e-3, 1e-2]))
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,))
