"""A search proposes, learns, prunes, survives, and says that what it found is no claim."""

import json
import shutil
import signal
from pathlib import Path

import optuna
import polars as pl
import pytest
from mlflow import MlflowClient
from support import run_dirs, starts, until

from workbench.answer.progress import progress
from workbench.answer.study_record import load
from workbench.report.__main__ import main as report
from workbench.tracking.runs import load_runs

STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    hidden = trial.suggest_categorical("hidden", [0.0, 0.5, 0.9])
    decay = trial.suggest_float("decay", 0.05, 0.5)
    if hidden:
        where = trial.suggest_categorical("where", ["tube", "frame"])
        decay += 0.3 * (where == "tube")
    lr = {lr}
    stage = Stage(budget=Budget(unit="pflops", amount=0.01))
    optim = OptimConfig(weight_decay=round(decay, 3), lr=lr, warmup=round(0.9 - hidden / 2, 3))
    data = DataConfig(clips=64)
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=data, evaluations=5)

STUDY = Study(question="Best?", configure=configure, mode="search", trials=12, {more})
"""
FRONT = 'cost="cost/train_pflops", sampler="nsga2"'


@pytest.fixture
def write(place):
    def write(more="", lr="1e-3"):
        (place / "studies" / "fake.py").write_text(STUDY.format(more=more, lr=lr))

    return write


def trials(state=None, study="fake"):
    found = optuna.load_study(study_name=study, storage="sqlite:///results/optuna.db").get_trials()
    return [t for t in found if state is None or t.state.name == state]


def proposals(study="fake"):
    return [t.user_attrs["cell"] for t in trials(study=study) if "key" in t.user_attrs]


def test_a_search_runs_as_many_trials_as_asked_and_goes_on_to_more(write, study, capsys):
    write(FRONT)
    assert study("fake", "--trials", "5") == 0
    assert len(proposals()) == len(run_dirs()) == 5
    out = capsys.readouterr().out
    assert "5 trials, each with seed 0" in out
    assert " on the Pareto front of text-to-video R@1 on val against training PFLOPs per run: " in out
    assert "Selected on val among 5 trials with one seed each, this is no claim." in out
    assert study("fake", "--trials", "5") == 0
    assert study("fake", "--trials", "8") == 0
    assert "5 of 8 runs were done; going on with run 6" in capsys.readouterr().out
    assert len(proposals()) == len(run_dirs()) == 8
    assert set(starts().values()) == {1}
    assert all(len(t.values) == 2 for t in trials("COMPLETE"))


def test_a_search_that_was_stopped_proposes_what_it_would_have(write, study, command, place):
    write(FRONT)
    study("fake", "--trials", "14")
    undisturbed = proposals()
    shutil.rmtree("results")
    stopped = command("fake", "--trials", "14", FAKE_PAUSE="0.05")
    until(lambda: len(run_dirs()) == 4, timeout=120)
    stopped.signal(signal.SIGINT)
    code, out, err = stopped.finish(timeout=120)
    assert (code, err) == (130, "")
    assert "of 14 runs done. The same command goes on from here." in out
    study("fake", "--trials", "12")
    study("fake", "--trials", "14")
    assert proposals() == undisturbed
    assert all(count <= 2 for count in starts().values())


def test_the_metric_alone_is_searched_with_pruning_at_equal_flops(write, study, capsys, monkeypatch):
    write()
    monkeypatch.setenv("FAKE_PAUSE", "0.15")
    assert study("fake", "--trials", "14", mlflow="") == 0
    out = capsys.readouterr().out
    pruned = trials("PRUNED")
    assert pruned, "of fourteen some lag"
    assert " pruned after " in out
    assert f"{len(pruned)} trial{'s were' if len(pruned) > 1 else ' was'} pruned" in out
    assert "failed" not in out
    for trial in pruned:
        assert set(trial.intermediate_values) <= {1, 2, 3, 4}, "marks of equal FLOPs, before the end"
    states = {run.identity()["cell"]: run.status().state for run in run_dirs()}
    assert {cell for cell, state in states.items() if state == "pruned"} == {
        t.user_attrs["cell"] for t in pruned
    }
    assert sorted(set(states.values())) == ["complete", "pruned"]
    seen = progress(load(Path("results"), "fake"), load_runs("results", "fake"), 0.0)
    assert seen.counts == {"complete": 14 - len(pruned), "pruned": len(pruned)}
    assert not seen.unfinished
    table = Path("results/reports/fake/table.csv").read_text()
    assert table.count("\n") == 1 + len(trials("COMPLETE"))
    client = MlflowClient(f"sqlite:///{Path('results/mlflow.db').resolve()}")
    runs = client.search_runs([client.get_experiment_by_name("fake").experiment_id])
    assert sorted(r.data.tags["wb.state"] for r in runs) == sorted(states.values())
    capsys.readouterr()
    assert study("fake", "--trials", "14", "--status") == 0
    assert (
        f"14 trials expected: {14 - len(pruned)} complete, {len(pruned)} pruned." in capsys.readouterr().out
    )
    assert study("fake", "--trials", "14") == 0
    assert set(starts().values()) == {1}, "pruned is neither failed nor missing"


def test_failed_trials_are_replaced_but_not_for_ever(write, study, capsys):
    write(FRONT, lr="2e-3 if hidden == 0.9 else 1e-3")
    assert study("fake", "--trials", "6") == 0
    assert len(trials("COMPLETE")) == 6
    assert "failed: the loss vtc is not finite at step 5." in capsys.readouterr().out
    write(FRONT, lr="2e-3")
    assert study("fake", "--trials", "4", "--results", "other") == 3
    assert len(run_dirs("other")) == 4
    assert "No run is complete yet." in capsys.readouterr().out


def test_a_run_that_fails_once_is_tried_again_with_the_same_proposal(write, study):
    write(FRONT, lr="6e-3")
    assert study("fake", "--trials", "3") == 0
    assert sorted(starts().values()) == [2, 2, 2]
    assert [t.params for t in trials("COMPLETE")] == [t.params for t in trials("FAIL")]


def test_a_lost_ledger_is_filled_from_the_run_directories(write, study, capsys):
    write(FRONT)
    study("fake", "--trials", "5")
    before = {t.user_attrs["cell"]: t.values for t in trials("COMPLETE")}
    for file in Path("results").glob("optuna.db*"):
        file.unlink()
    capsys.readouterr()
    assert study("fake", "--trials", "5") == 0
    assert "was complete, now entered" in capsys.readouterr().out
    assert {t.user_attrs["cell"]: t.values for t in trials("COMPLETE")} == before
    assert all(t.params == t.user_attrs["axes"] for t in trials("COMPLETE"))
    assert set(starts().values()) == {1}


def test_two_commands_at_once_share_the_search(write, command):
    write(FRONT)
    both = [command("fake", "--trials", "6", FAKE_PAUSE="0.05") for _ in range(2)]
    results = [one.finish(timeout=240) for one in both]
    assert [(code, err) for code, _, err in results] == [(0, ""), (0, "")]
    assert len(trials("COMPLETE")) == 6
    assert list(starts().values()) == [1] * 6


def test_a_search_ends_when_there_is_nothing_new_to_try(place, study, capsys):
    text = STUDY.format(more=FRONT, lr="1e-3").replace(
        'trial.suggest_float("decay", 0.05, 0.5)', 'trial.suggest_categorical("decay", [0.1, 0.2])'
    )
    (place / "studies" / "fake.py").write_text(text)
    assert study("fake", "--trials", "30") == 0
    assert "There is nothing new to try after 10 trials." in capsys.readouterr().out
    assert len(set(proposals())) == len(run_dirs()) == 10


def test_the_report_of_a_search_has_its_front_and_what_mattered(write, study, capsys):
    write(FRONT)
    assert study("fake", "--trials", "24") == 0
    assert "Axis importance:" in capsys.readouterr().out
    assert report(["fake", "--results", "results"]) == 0
    page = Path("results/reports/fake/answer.md").read_text()
    assert "## The Pareto front" in page
    assert "## Axis importance" in page
    description = json.loads(Path("results/runs/fake/study.json").read_text())
    rows = description["importances"]["axes"]
    assert {row["axis"] for row in rows} == {"hidden", "decay", "where"}
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in rows)
    study_of_optuna = optuna.load_study(study_name="fake", storage="sqlite:///results/optuna.db")
    table = pl.read_csv("results/reports/fake/table.csv")
    front = table.filter(pl.col("note").str.contains("front"))["cell"].to_list()
    assert sorted(front) == sorted(t.user_attrs["cell"] for t in study_of_optuna.best_trials)
    for name in ("answer.md", "table.tex", "table.csv"):
        assert report(["fake", "--results", "results", "--check", f"results/reports/fake/{name}"]) == 0, name


def test_the_single_form_and_other_options_are_searches_of_their_own(write, study, capsys):
    write(FRONT)
    assert study("fake", "--trials", "2") == 0
    assert study("fake", "--trials", "2", "--single") == 0
    assert study("fake", "--trials", "2", "--budget", "2x") == 0
    assert len(proposals("fake")) == len(proposals("fake-single")) == len(proposals("fake (2x)")) == 2
    assert len(run_dirs()) == 4
    assert [len(t.values) for t in trials("COMPLETE", study="fake-single")] == [1, 1]
    capsys.readouterr()
    assert report(["fake-single", "--results", "results"]) == 0
    assert "Here: the best t2v_r1 alone." in capsys.readouterr().out


def test_the_plan_of_a_search_says_what_it_may_propose(write, study, capsys):
    write(FRONT)
    assert study("fake", "--plan") == 0
    out = capsys.readouterr().out
    assert "0, 0.5, 0.9" in out
    assert "0.05 to 0.5" in out
    assert "tube, frame" in out
    assert "12 trials with seed 0, proposed by NSGA-II for val text-to-video R@1 (%) against training" in out
    assert study("fake", "--status") == 0
    assert "12 trials expected: none proposed yet." in capsys.readouterr().out
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("more", "arguments", "message"),
    [
        (FRONT, ["--seeds", "3"], "a search gives every trial seed 0"),
        (FRONT, ["--trials", "-1"], "--trials must be the total number of trials"),
        ("", ["--single"], "has no Pareto front to leave out; --single is for "),
        ('sampler="nsga2"', [], "nsga2 searches for a Pareto front"),
        ('baseline={"hidden": 0.0}', [], "a search must have no baseline"),
    ],
)
def test_what_a_search_does_not_take_is_one_sentence(more, arguments, message, write, study, capsys):
    write(more)
    assert study("fake", *arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("results").exists()


def test_an_ablation_takes_no_trials_and_no_ranges(place, study, write_study, capsys):
    write_study()
    assert study("fake", "--trials", "3") == 2
    assert "--trials is for searches" in capsys.readouterr().err
    text = STUDY.format(more="", lr="1e-3").replace('mode="search", trials=12, ', "")
    (place / "studies" / "fake.py").write_text(text)
    assert study("fake") == 2
    assert (
        "axis 'decay' is a range, which only a study with mode='search' can draw" in capsys.readouterr().err
    )


def test_choices_that_change_in_mid_search_are_refused(write, study, place, capsys):
    write(FRONT)
    study("fake", "--trials", "2")
    file = place / "studies" / "fake.py"
    file.write_text(file.read_text().replace("[0.0, 0.5, 0.9]", "[0.0, 0.5, 0.95]"))
    assert study("fake", "--trials", "4") == 2
    assert "the choices of an axis cannot change in mid-search" in capsys.readouterr().err
