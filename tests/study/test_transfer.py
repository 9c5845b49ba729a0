"""Pre-trained on one data set, fine-tuned on another, tested on both, through the real commands."""

import json
from pathlib import Path

import pytest
from benchmark_files import folder_of, made

from workbench.evaluate.__main__ import main as evaluate
from workbench.study.__main__ import main
from workbench.tracking.run_dir import RunDir


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Options that name a benchmark of videos to fine-tune on and one of pictures to pre-train on."""
    place = tmp_path_factory.mktemp("data")
    return [
        "--data",
        f"msrvtt:{folder_of('msrvtt', place / 'b')}",
        "--pretrain-data",
        f"flickr8k:{made('flickr8k', place / 'a')}",
    ]


def test_from_the_plan_to_results_on_both(data, tmp_path, capsys):
    where = ["--results", str(tmp_path / "r")]
    asked = [
        "transfer",
        "--smoke",
        "--budget",
        "2steps",
        "--mlflow",
        "none",
        "--device",
        "cpu",
        *data,
        *where,
    ]
    assert main([*asked, "--plan"]) == 0
    plan = capsys.readouterr().out
    assert "trains on 1. flickr8k, recipe, masked, 1 steps; 2. msrvtt, recipe, unmasked, 1 steps" in plan
    assert "trains on 1. msrvtt, recipe, masked, 2 steps; tested on msrvtt and flickr8k at the end" in plan
    assert "tested on msrvtt and flickr8k after each stage, selected on msrvtt" in plan
    assert main(asked) == 0
    runs = [RunDir(path.parent) for path in (tmp_path / "r/runs/transfer").glob("*/config.json")]
    assert len(runs) == 4
    both = {"test/t2v_r1", "test/flickr8k:t2v_r1", "val/t2v_r1", "val/flickr8k:t2v_r1"}
    zero_shot = {"test/stage0_t2v_r1", "test/flickr8k:stage0_t2v_r1"}
    for run in runs:
        found, stages = set(run.summary()), run.config().stages
        assert both <= found
        assert (zero_shot <= found) == (len(stages) == 2)
        assert len(stages) == 1 or stages[0].data.name == "flickr8k"
    described = json.loads((tmp_path / "r/runs/transfer/study.json").read_text())
    assert {"test/stage0_t2v_r1", "test/flickr8k:stage0_t2v_r1", "test/flickr8k:t2v_r1"} <= set(
        described["reads"]
    )
    [report] = (tmp_path / "r/reports").glob("transfer-*/table.csv")
    head = report.read_text().partition("\n")[0]
    assert "flickr8k" in head
    assert "stage0" in head
    for data_name in ("msrvtt", "flickr8k"):  # and anything later
        told = next(word for word in data if word.startswith(data_name))
        assert evaluate([str(runs[0].path), "--data", told, "--device", "cpu"]) == 0
        [path] = runs[0].path.glob(f"evaluations/{data_name}-*-test/result.json")
        prefix = "" if data_name == "msrvtt" else "flickr8k:"
        ours = json.loads(path.read_text())["metrics"]["test/t2v_r1"]
        assert ours == pytest.approx(runs[0].summary()[f"test/{prefix}t2v_r1"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["mask_ratio", "--pretrain-data", "moving_shapes_timed"], "does not train on other data first"),
        (["transfer", "--pretrain-data", "dreams"], "no data set 'dreams'; there are"),
        (["transfer", "--pretrain-data", "folder"], "own videos need a place: --data folder:PATH"),
        (["transfer", "--pretrain-data", "moving_shapes_timed"], "not 'moving_shapes_timed' twice"),
        (["transfer", "--data", "moving_shapes"], "evaluate_on names data by different names"),
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
