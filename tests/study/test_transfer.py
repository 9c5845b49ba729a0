"""Pre-trained on one data set, fine-tuned on another, tested on both, through the real commands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_files import folder_of, made
from real_runs import real_run
from small import shrink

from workbench.config import Budget
from workbench.data import describe, prepare
from workbench.data.store import FrameStore
from workbench.evaluate.__main__ import main as evaluate
from workbench.study import spec
from workbench.study.__main__ import main
from workbench.study.cells.options import Options
from workbench.study.plan import make_plan


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A benchmark of videos to fine-tune on and one of pictures to pre-train on."""
    place = tmp_path_factory.mktemp("places")
    return {"msrvtt": str(folder_of("msrvtt", place / "b")), "flickr8k": made("flickr8k", place / "a")}


def test_the_plan_says_what_each_stage_trains_on_and_what_is_tested(places, tmp_path, capsys):
    asked = ["transfer", "--data", f"msrvtt:{places['msrvtt']}", "--results", str(tmp_path)]
    asked += ["--pretrain-data", f"flickr8k:{places['flickr8k']}", "--budget", "2steps", "--plan"]
    assert main(asked) == 0
    plan = capsys.readouterr().out
    assert "trains on 1. flickr8k, recipe, masked, 1 steps; 2. msrvtt, recipe, unmasked, 1 steps" in plan
    assert "trains on 1. msrvtt, recipe, masked, 2 steps; tested on msrvtt and flickr8k at the end" in plan
    assert "tested on msrvtt and flickr8k after each stage, selected on msrvtt" in plan


def test_a_run_has_results_on_both_and_can_be_asked_for_them_again(places, tmp_path, monkeypatch):
    """One of the study's cells, made tiny, by the command that trains and by the one that evaluates."""
    named = {name: f"{name}:{place}" for name, place in places.items()}
    options = Options(data=named["msrvtt"], pretrain_data=named["flickr8k"])
    plan = make_plan(spec.load("transfer"), options, tmp_path)
    zero_shot = ["test/stage0_t2v_r1", "test/flickr8k:stage0_t2v_r1"]
    assert set(plan.description()["reads"]) > {*zero_shot, "test/flickr8k:t2v_r1"}
    cell = next(cell for cell in plan.cells if len(cell.config.stages) == 2).config
    assert [(stage.data or cell.data).name for stage in cell.stages] == ["flickr8k", "msrvtt"]

    def tiny(data):
        return describe(replace(data, frames=4, size=16, digest=""), places[data.name]).data

    stages = [
        replace(stage, data=stage.data and tiny(stage.data), budget=Budget(unit="steps", amount=1))
        for stage in cell.stages
    ]
    config = replace(
        cell,
        recipe=shrink(cell.recipe),
        data=tiny(cell.data),
        stages=tuple(stages),
        evaluate_on=tuple(map(tiny, cell.evaluate_on)),
        evaluations=1,
    )
    stores = {
        data: FrameStore.open(prepare(data, source=places[data.name], root=tmp_path / "data", progress=False))
        for data in config.all_data
    }
    run, code = real_run(monkeypatch, tmp_path, config, stores)
    assert code == 0
    summary = run.summary()
    assert set(summary) >= {*zero_shot, "test/t2v_r1", "test/flickr8k:t2v_r1", "val/t2v_r1"}
    for name, prefix in (("msrvtt", ""), ("flickr8k", "flickr8k:")):
        assert evaluate([str(run.path), "--data", named[name], "--device", "cpu"]) == 0
        [path] = run.path.glob(f"evaluations/{name}-*-test/result.json")
        found = json.loads(path.read_text())
        assert found["metrics"]["test/t2v_meanr"] == summary[f"test/{prefix}t2v_meanr"]
        assert not found["zero_shot"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["mask_ratio", "--pretrain-data", "moving_shapes_timed"], "does not train on other data first"),
        (["transfer", "--pretrain-data", "dreams"], "no data set 'dreams'; there are"),
        (["transfer", "--pretrain-data", "folder"], "own videos need a place: --data folder:PATH"),
        (["transfer", "--pretrain-data", "moving_shapes_timed"], "not 'moving_shapes_timed' twice"),
        (["transfer", "--data", "moving_shapes"], "evaluate_on must name each data set once"),
        (["transfer", "--pretrain-data", "moving_shapes:/there"], "moving_shapes takes no place"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(asked, said, tmp_path: Path, capsys):
    assert main([*asked, "--plan", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_two_drawn_worlds_may_change_places(tmp_path: Path, capsys):
    asked = ["transfer", "--data", "moving_shapes", "--pretrain-data", "moving_shapes_timed"]
    assert main([*asked, "--plan", "--results", str(tmp_path)]) == 0
    assert (
        "1. moving_shapes_timed, recipe, masked, 0.005 pflops; 2. moving_shapes," in capsys.readouterr().out
    )
