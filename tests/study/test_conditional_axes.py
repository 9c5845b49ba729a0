"""An axis that exists only under one choice: from `configure` to plan, ledger, tables and report."""

import json
import shutil
from pathlib import Path

import optuna
import polars as pl
import pytest
from support import run_dirs

from workbench import tables
from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.report.__main__ import main as report
from workbench.report.rows import exact, readable
from workbench.tracking.runs import load_runs

STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.masking.video import PerFrameMasking, TubeMasking
from workbench.study.spec import Study

def configure(trial):
    strategy = trial.suggest_categorical("strategy", ["none", "tube", "per-frame"])
    masking, decay = None, 0.2
    if strategy != "none":
        ratio = trial.suggest_categorical("ratio", [0.0, 0.5, 0.9])
        masking = {"tube": TubeMasking, "per-frame": PerFrameMasking}[strategy](ratio=ratio)
        if ratio:
            decay = round(0.3 + ratio / 2 + 0.05 * (strategy == "tube"), 3)
    if strategy == "tube" and ratio == 0.9:
        decay = round(decay - trial.suggest_categorical("extra", [0.1, 0.2]), 3)
    stage = Stage(budget=Budget(unit="steps", amount=10))
    return RunConfig(recipe=masking, optim=OptimConfig(weight_decay=decay), stages=(stage,),
                     data=DataConfig(clips=64))

STUDY = Study(question="Where?", configure=configure, baseline={"strategy": "per-frame", "ratio": 0.0},
              reads=("cost/train_pflops",))
"""
CELLS = {
    "strategy=none": (None, None),
    "strategy=tube ratio=0.5": (0.5, None),
    "strategy=tube ratio=0.9 extra=0.1": (0.9, 0.1),
    "strategy=tube ratio=0.9 extra=0.2": (0.9, 0.2),
    "strategy=per-frame ratio=0.5": (0.5, None),
    "strategy=per-frame ratio=0.9": (0.9, None),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the study's results are kept between tests, since they all look at the same ones."""
    return tmp_path_factory.mktemp("conditional") / "results"


@pytest.fixture
def done(place, study, kept):
    (place / "studies" / "fake.py").write_text(STUDY)
    if kept.exists():
        shutil.copytree(kept, "results")
    else:
        assert study("fake", "--seeds", "2") == 0
        shutil.copytree("results", kept)


def test_twins_are_one_cell_and_each_cell_has_only_its_own_axes(done, study, capsys):
    found = {run.identity()["cell"]: run.identity()["axes"] for run in run_dirs()}
    assert {cell: (axes.get("ratio"), axes.get("extra")) for cell, axes in found.items()} == CELLS
    assert all(None not in axes.values() for axes in found.values())
    assert study("fake", "--seeds", "2", "--plan") == 0
    plan = capsys.readouterr().out
    assert "nothing is left to do" in plan
    [baseline] = [line for line in plan.splitlines() if line.endswith("baseline")]
    assert baseline.startswith("none "), "the baseline is a twin of the first cell"
    assert study("fake", "--seeds", "2", "--status") == 0
    assert "12 runs expected: 12 complete." in capsys.readouterr().out


def test_the_ledger_holds_for_each_trial_the_axes_that_it_has(done):
    trials = optuna.load_study(study_name="fake", storage="sqlite:///results/optuna.db").get_trials()
    assert {t.user_attrs["cell"]: (t.params.get("ratio"), t.params.get("extra")) for t in trials} == CELLS
    assert all(t.params == t.user_attrs["axes"] for t in trials)


def test_a_missing_axis_is_an_empty_field_in_every_table(done):
    found = answer(load(Path("results"), "fake"), Path("results"))
    assert found.cells.select("cell", "ratio", "extra").rows() == [(c, *axes) for c, axes in CELLS.items()]
    words = readable(found)
    assert words["ratio"].to_list() == ["", "0.5", "0.9", "0.9", "0.5", "0.9"]
    assert words["extra"].to_list() == ["", "", "0.1", "0.2", "", ""]
    assert tables.to_csv(exact(found)).splitlines()[1].split(",")[2:5] == ["none", "", ""]
    assert found.effects.over == {"ratio": (2, 6), "extra": (2, 6)}, "no full grid"
    assert all(effect.p_adjusted is None for effect in found.effects.effects)
    assert len(found.comparisons) == 5
    confounded = [caveat for caveat in found.caveats if "more than one" in caveat or "axes" in caveat]
    assert confounded == [], "an axis that comes with a choice is no second difference"


def test_the_report_is_written_and_its_tables_match_the_runs(done, capsys):
    assert report(["fake", "--results", "results"]) == 0
    for name in ("answer.md", "table.tex", "table.csv"):
        assert report(["fake", "--results", "results", "--check", f"results/reports/fake/{name}"]) == 0, name
    assert Path("results/reports/fake/sweep.png").exists()


def test_an_axis_that_no_complete_run_has_yet_does_not_break_the_report(done, capsys):
    for run in run_dirs():
        if "extra" in run.identity()["axes"]:
            run.set_status("interrupted")
    assert "axis.extra" in load_runs("results", "fake").columns
    assert report(["fake", "--results", "results"]) == 0
    for run in run_dirs():
        if "ratio" in run.identity()["axes"]:
            run.file("run.json").unlink()
    assert "axis.ratio" not in load_runs("results", "fake").columns
    assert report(["fake", "--results", "results"]) == 0
    assert report(["fake", "--results", "results", "--check", "results/reports/fake/answer.md"]) == 0
    description = json.loads(Path("results/runs/fake/study.json").read_text())
    assert description["axes"] == ["strategy", "ratio", "extra"]


def test_the_run_table_has_no_value_where_there_is_no_axis(done):
    table = load_runs("results", "fake").filter(pl.col("axis.strategy") == "none")
    assert table["axis.ratio"].to_list() == [None, None]
