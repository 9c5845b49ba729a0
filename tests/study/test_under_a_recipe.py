"""`--recipe` asks a study's question of another recipe, as a study of its own."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from support import run_dirs

from workbench.errors import UserError
from workbench.report.__main__ import main as report
from workbench.study.spec import Contrast, Study, load, with_recipe

STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    hidden = trial.suggest_categorical("hidden", [0.0, 0.5] if trial.recipe == "mac" else [0.0, 0.9])
    decay = round(0.2 + hidden / 2 + 0.1 * (trial.recipe == "mac"), 3)
    stage = Stage(budget=Budget(unit="steps", amount=10))
    return RunConfig(recipe=OptimConfig(), optim=OptimConfig(weight_decay=decay), stages=(stage,),
                     data=DataConfig(clips=64))

STUDY = Study(question="How much?", configure=configure, baseline={"hidden": 0.0},
              recipes=("mac", "simvtp"))
"""


@pytest.fixture
def fake(place):
    (place / "studies" / "fake.py").write_text(STUDY)
    return "fake"


def test_another_recipe_has_its_own_ledger_runs_experiment_and_report(fake, study, capsys):
    assert study(fake, mlflow="") == 0
    assert study(fake, "--recipe", "simvtp", mlflow="") == 0
    out = capsys.readouterr().out
    assert "fake-simvtp: How much, under simvtp?" in out
    assert "belong to other plans" not in out
    for name, ratios in (("fake", [0.0, 0.5]), ("fake-simvtp", [0.0, 0.9])):
        trials = optuna.load_study(study_name=name, storage="sqlite:///results/optuna.db").get_trials()
        assert [t.params["hidden"] for t in trials] == ratios
        assert [run.identity()["study"] for run in run_dirs(study=name)] == [name] * 2
        assert (
            Path("results/reports", name, "answer.md")
            .read_text()
            .startswith(f"# {name}\n".replace("_", "\\_"))
        )
        client = MlflowClient(f"sqlite:///{Path('results/mlflow.db').resolve()}")
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id])
        assert sorted(r.data.params["optim.weight_decay"] for r in runs) == sorted(
            str(run.flat_config()["optim.weight_decay"]) for run in run_dirs(study=name)
        )
    assert report(["fake-simvtp", "--results", "results"]) == 0


def test_the_first_recipe_is_the_default_and_needs_no_name(fake, study, capsys):
    study(fake)
    assert study(fake, "--recipe", "mac", "--status") == 0
    assert "2 runs expected: 2 complete." in capsys.readouterr().out
    assert study(fake, "--recipe", "simvtp", "--status") == 0
    assert "2 runs expected: 2 missing." in capsys.readouterr().out
    assert not Path("results/runs/fake-simvtp").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fake", "--recipe", "flip"],
            "study fake does not run under 'flip'; its recipes are mac, simvtp",
        ),
        (
            ["budget", "--recipe", "simvtp"],
            "study budget does not run under 'simvtp'; --recipe is for fake: mac",
        ),
        (["fake-simvtp"], "(for fake-simvtp say: fake --recipe simvtp)"),
        (["my-own"], "a study file must have no '-' in its name"),
    ],
)
def test_a_recipe_that_a_study_does_not_have_is_refused(arguments, message, fake, study, place, capsys):
    (place / "studies" / "my-own.py").write_text("")
    assert study(*arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("results").exists()


def test_a_report_without_runs_names_the_command_that_makes_them(fake, study, capsys):
    study(fake)
    assert report(["fake-simvtp", "--results", "results"]) == 2
    assert "`python -m workbench.study fake --recipe simvtp` makes them" in capsys.readouterr().err


def test_under_a_recipe_a_study_may_have_another_metric_and_contrasts_of_its_own():
    held = Contrast("a rather than b", of={"x": "a"}, against={"x": "b"})
    study = Study(
        question="How much?", configure=lambda trial: None, recipes=("mac", "simvtp", "slan"), recipe="mac",
        name="fake", metric="t2v_meanr", contrasts=(held,),
        by_recipe={"slan": {"metric": "pointing", "contrasts": (held,), "says": {"x": "{value}"}}},
    )  # fmt: skip
    assert study.direction == "minimize"
    other, own = with_recipe(study, "simvtp"), with_recipe(study, "slan")
    assert (other.metric, other.direction, other.contrasts) == ("t2v_meanr", "minimize", ())
    assert (own.metric, own.direction, own.contrasts) == ("pointing", "maximize", (held,))
    assert own.question == "How much, under slan?"
    with pytest.raises(UserError, match="flip, which is not one of its recipes mac, simvtp, slan"):
        replace(study, by_recipe={"flip": {}})


def test_a_study_is_given_its_recipe_once(fake):
    plain = load(fake)
    assert (plain.name, plain.recipe) == ("fake", "mac")
    assert with_recipe(plain, "mac") == with_recipe(plain, "") == plain
    assert with_recipe(plain, "simvtp").name == "fake-simvtp"
