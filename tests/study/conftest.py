"""Studies of a few cells whose runs take a fraction of a second."""

import os

import fake_train
import pytest
from support import HERE, Command

from workbench.study.__main__ import main

STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    hidden = trial.suggest_categorical("hidden", {hidden})
    words = trial.suggest_categorical("words", ["drop", "replace"])
    optim = OptimConfig(weight_decay=round(0.3 + hidden / 2 + (words == "drop") / 10, 3), lr={lr})
    stage = Stage(budget=Budget(unit="steps", amount=10))
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=64))

STUDY = Study(question="How much?", configure=configure, baseline={{"hidden": 0.0, "words": "drop"}})
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory with a `studies` folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))
    for name in ("RESULTS", "DATA", "STORAGE", "MLFLOW", "DEVICE"):
        monkeypatch.delenv(f"WORKBENCH_{name}", raising=False)
    (tmp_path / "studies").mkdir()
    return tmp_path


@pytest.fixture
def write_study(place):
    """Writes `studies/<name>.py`; `lr` is an expression that may use `hidden` and `words`."""

    def write(name="fake", hidden=(0.0, 0.5), lr="1e-3"):
        text = STUDY.format(hidden=list(hidden), lr=lr)
        (place / "studies" / f"{name}.py").write_text(text)
        return name

    return write


@pytest.fixture
def study(place):
    """Runs the command in this process: (exit code, arguments...) as the command line would."""

    def run(*arguments, mlflow="none"):
        options = [*arguments, "--mlflow", mlflow] if mlflow else list(arguments)
        return main(options, module="fake_train", prepare=fake_train.prepare)

    return run


@pytest.fixture
def command(place):
    started = []

    def start(*arguments, **environment):
        started.append(Command(*arguments, "--mlflow", "none", **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
