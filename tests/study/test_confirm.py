"""A search confirmed: its best cells again, with seeds that had no say in the choice."""

import json
from pathlib import Path

import pytest
from support import run_dirs

from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.report.__main__ import main as report
from workbench.tracking.runs import load_runs

STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    decay = trial.suggest_float("decay", 0.05, 0.9)
    size = trial.suggest_categorical("size", ["small", "large"])
    stage = Stage(budget=Budget(unit="pflops", amount=0.01))
    optim = OptimConfig(weight_decay=decay, lr=1e-3, warmup=0.9 if size == "large" else 0.1)
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=64))

STUDY = Study(question="Best?", configure=configure, {mode})
"""
SEARCH = 'mode="search", trials=7'
FRONT = f'{SEARCH}, cost="cost/train_pflops", sampler="nsga2"'


@pytest.fixture
def write(place):
    def write(mode=SEARCH):
        (place / "studies" / "fake.py").write_text(STUDY.replace("{mode}", mode))

    return write


def ranking(study="fake"):
    """Keys of the trials, the best by val first."""
    found = load_runs("results", study).sort("metric.val/t2v_r1", descending=True)
    return found["key"].to_list()


def test_the_best_of_a_search_become_an_ablation_with_fresh_seeds(write, study, capsys):
    write()
    assert study("fake") == 0
    order = ranking()
    assert study("fake", "--confirm", "2", "--seeds", "3") == 0
    out = capsys.readouterr().out
    described = json.loads(Path("results/runs/fake-confirm/study.json").read_text())
    assert [cell["key"] for cell in described["cells"]] == [order[0], order[1], order[3]]
    assert described["baseline"] == order[3]
    assert described["mode"] == "ablation"
    assert described["seeds"] == [1, 2, 3]
    assert described["arguments"] == ["fake", "--confirm", "2", "--seeds", "1,2,3"]
    assert len(run_dirs(study="fake-confirm")) == 9
    assert len(run_dirs()) == 7
    said = (
        "The cells are the best 2 by val/t2v_r1 of 7 trials of the search fake, which ran with seed 0, and "
        "as the baseline the trial in the middle of all by val, "
    )
    assert said in out
    found = answer(load(Path("results"), "fake-confirm"), Path("results"))
    assert found.sentence.endswith("Scores on test are of seeds 1, 2, 3, which had no say in that choice.")
    assert set(found.comparisons) == {order[0], order[1]}
    assert report(["fake-confirm"]) == 0
    page = Path("results/reports/fake-confirm-best-2/answer.md").read_text()
    assert "which had no say in that choice" in page
    assert report(["fake-confirm", "--check", "results/reports/fake-confirm-best-2/answer.md"]) == 0


def test_the_cells_stay_where_the_search_goes_on(write, study):
    write()
    study("fake")
    study("fake", "--confirm", "2", "--seeds", "1")
    first = json.loads(Path("results/runs/fake-confirm/study.json").read_text())
    study("fake", "--trials", "14")
    best = ranking()[:2]
    study("fake", "--confirm", "2", "--seeds", "2")
    second = json.loads(Path("results/runs/fake-confirm/study.json").read_text())
    assert second["cells"] == first["cells"]
    assert second["chosen"] == first["chosen"]
    assert "of seeds 1, 2," in second["note"]
    study("fake", "--confirm", "3", "--seeds", "1")
    third = json.loads(Path("results/runs/fake-confirm/study.json").read_text())
    assert [cell["key"] for cell in third["cells"]][:2] == best


def test_of_a_front_its_best_are_taken(write, study, capsys):
    write(FRONT)
    study("fake")
    trials = (
        load_runs("results", "fake").select("key", "metric.val/t2v_r1", "metric.cost/train_pflops").rows()
    )
    front = [
        key
        for key, value, cost in trials
        if not any(v >= value and c <= cost and k != key for k, v, c in trials)
    ]
    assert study("fake", "--confirm", "1", "--seeds", "1") == 0
    described = json.loads(Path("results/runs/fake-confirm/study.json").read_text())
    assert described["cells"][0]["key"] == ranking()[0]
    assert ranking()[0] in front
    assert f"the Pareto front ({len(front)} of 7 trials)" in described["chosen"]


def test_the_plan_is_shown_before_anything_runs(write, study, capsys):
    write()
    study("fake")
    capsys.readouterr()
    assert study("fake", "--confirm", "2", "--plan") == 0
    out = capsys.readouterr().out
    assert "3 cells x 3 seeds = 9 runs" in out
    assert "baseline" in out
    assert not Path("results/runs/fake-confirm").exists()


@pytest.mark.parametrize(
    ("mode", "given", "said"),
    [
        (SEARCH, ["--confirm", "-1"], "--confirm must be the number of best trials"),
        (
            SEARCH,
            ["--confirm", "2", "--seeds", "0,1"],
            "the search ran with seed 0; --confirm needs new seeds",
        ),
        (SEARCH, ["--confirm", "2", "--trials", "9"], "--trials is for the search itself"),
        (SEARCH, ["--confirm", "2", "--quick"], "a search gives every trial seed 0"),
        (
            SEARCH,
            ["--confirm", "7"],
            "--confirm 7 takes 7 trials and one more as the baseline, but 0 of search fake are",
        ),
        ("seeds=(0,)", ["--confirm", "2"], "axis 'decay' is a range"),
    ],
)
def test_what_cannot_be_confirmed_is_one_sentence(write, study, capsys, mode, given, said):
    write(mode)
    assert study("fake", *given) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_an_ablation_is_not_confirmed(write_study, study, capsys):
    write_study()
    assert study("fake", "--confirm", "2") == 2
    assert "study fake runs every cell with its seeds; --confirm is for searches" in capsys.readouterr().err
