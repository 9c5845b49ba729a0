"""`--set` changes one setting of every cell: typed, in the key, in the plan; `suggest_int` in a search."""

import json
from pathlib import Path

import optuna
import pytest
from support import run_dirs, starts

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.study.cells.options import Options
from workbench.study.plan import make_plan
from workbench.study.spec import Study

SEARCH = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    tenths = trial.suggest_int("tenths", 1, 9, step=2)
    batch = trial.suggest_int("batch", 2, 64, log=True)
    optim = OptimConfig(weight_decay=tenths / 10, batch_size=batch)
    stage = Stage(budget=Budget(unit="steps", amount=10))
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=64))

STUDY = Study(question="Best?", configure=configure, mode="search", trials=4)
"""


def test_a_setting_is_in_the_plan_in_the_runs_and_in_the_record_of_what_was_asked(write_study, study, capsys):
    write_study(hidden=[0.0])
    assert study("fake", "--set", "optim.clip_norm=0.5", "optim.betas=0.8,0.95", "--plan") == 0
    plan = capsys.readouterr().out
    assert "in every cell optim.betas=0.8,0.95 (the study has [0.9, 0.98])" in plan
    assert "in every cell optim.clip_norm=0.5 (the study has 1)" in plan
    assert study("fake") == 0
    assert study("fake", "--set", "optim.clip_norm=5e-1") == 0
    found = [json.loads((run.path / "config.json").read_text()) for run in run_dirs()]
    assert sorted(config["optim"]["clip_norm"] for config in found) == [0.5, 0.5, 1.0, 1.0]
    asked = json.loads(Path("results/runs/fake/study.json").read_text())
    assert asked["plan"] == "set optim.clip_norm=0.5"
    assert asked["arguments"] == ["fake", "--set", "optim.clip_norm=0.5"]
    assert study("fake", "--set", "optim.clip_norm=0.50") == 0
    assert set(starts().values()) == {1}, "the same settings, spelled in another way"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("optim.clip_norm", "--set must be given NAME=VALUE, such as optim.lr=3e-4, not 'optim.clip_norm'"),
        (
            "optim.clipnorm=1",
            "no setting 'optim.clipnorm' that --set could change; there are optim.clip_norm",
        ),
        ("optim.batch_size=many", "optim.batch_size must be a whole number, not 'many'"),
        ("data.sampling=best", "data.sampling must be 'centre' or 'random' or 'contiguous', not 'best'"),
        ("optim.warmup=1.5", "optim.warmup must be a number in [0, 1), not 1.5"),
        ("optim.lr=nan", "optim.lr must be a number, not nan"),
        ("optim=1", "optim is made of settings: --set must name one of optim.lr, optim.weight_decay"),
        ("seed=3", "--set cannot change seed; --seeds does"),
        ("recipe.type=x", "there is no setting 'recipe.type' that --set could change"),
        ("optim.weight_decay=0.1", "varies optim.weight_decay itself (0.4, 0.3, 0.65, 0.55)"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(write_study, study, capsys, given, said):
    write_study()
    assert study("fake", "--set", given) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("results").exists()


def test_a_setting_that_is_given_twice_is_refused(write_study, study, capsys):
    write_study()
    assert study("fake", "--set", "optim.lr=1", "--set", "optim.lr=2") == 2
    assert "--set must give optim.lr one value, not both '1' and '2'" in capsys.readouterr().err


def test_settings_are_changed_together(tmp_path):
    stage = Stage(budget=Budget(unit="steps", amount=10))
    study = Study(question="?", configure=lambda trial: RunConfig(recipe=OptimConfig(), stages=(stage,)))
    together = Options(settings=("data.sampling=random", "data.stored=16", "stages.0.masked=false"))
    [cell] = make_plan(study, together, tmp_path).cells
    assert (cell.config.data.stored, cell.config.data.sampling, cell.config.stages[0].masked) == (
        16,
        "random",
        False,
    )
    with pytest.raises(UserError, match=r"random sampling needs data\.stored above"):
        make_plan(study, Options(settings=together.settings[:1]), tmp_path)


def test_a_search_draws_whole_numbers_and_other_settings_are_another_search(place, study, capsys):
    (place / "studies/fake.py").write_text(SEARCH)
    assert study("fake", "--plan") == 0
    plan = capsys.readouterr().out
    assert "1 to 9 (steps of 2)" in plan
    assert "2 to 64 (whole numbers, log)" in plan
    assert study("fake", "--trials", "3") == 0
    assert study("fake", "--trials", "4") == 0
    assert study("fake", "--trials", "1", "--set", "optim.clip_norm=2") == 0
    for run in run_dirs():
        axes = run.identity()["axes"]
        assert axes["tenths"] in (1, 3, 5, 7, 9)
        assert {type(value) for value in axes.values()} == {int}
    names = optuna.get_all_study_names("sqlite:///results/optuna.db")
    assert sorted(names) == ["fake", "fake (optim.clip_norm=2.0)"]


@pytest.mark.parametrize(
    "span", ["2, 9, step=2", "0, 9, log=True", "1, 8, step=7.0", "5, 5", "1, 9, step=2, log=True"]
)
def test_a_range_that_is_none_of_whole_numbers_is_one_sentence(place, study, capsys, span):
    (place / "studies/fake.py").write_text(SEARCH.replace("1, 9, step=2", span))
    assert study("fake", "--plan") == 2
    err = capsys.readouterr().err
    assert "axis 'tenths' must go from a whole number to a higher one" in err
    assert err.count("\n") == 1


def test_an_ablation_has_no_ranges_of_whole_numbers(place, study, capsys):
    (place / "studies/fake.py").write_text(SEARCH.replace('mode="search", trials=4', ""))
    assert study("fake", "--plan") == 2
    assert "is a range, which only a study with mode='search' can draw from" in capsys.readouterr().err
