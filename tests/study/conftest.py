"""Studies of a few cells whose runs take a fraction of a second."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_train
import pytest

from workbench.study.__main__ import main
from workbench.tracking.run_dir import RunDir

HERE = Path(__file__).parent
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


class Command:
    """The same command in a process of its own, that one can signal."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fake_train.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def finish(self, timeout=60):
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


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


def run_dirs(results="results", study="fake"):
    return [RunDir(path.parent) for path in sorted(Path(results, "runs", study).glob("*/run.json"))]


def starts(results="results", study="fake"):
    """How often each run was started."""
    return {
        run.path.name: len((run.path / "starts.txt").read_text().split()) for run in run_dirs(results, study)
    }


def until(condition, timeout=30):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)
