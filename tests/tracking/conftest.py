"""Run directories as a finished training leaves them."""

import json
from pathlib import Path

import pytest
from finished_runs import finish, train

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.tracking.files import write_atomic
from workbench.tracking.mlflow import Mirror
from workbench.tracking.run_dir import RunDir


@pytest.fixture
def make_run(tmp_path):
    """Writes a run directory; `steps` rows of metrics, complete unless told otherwise."""

    def make(seed=0, study="mask", lr=1e-3, steps=20, state="complete", results=None, **identity):
        stage = Stage(budget=Budget(unit="steps", amount=steps))
        config = RunConfig(recipe=OptimConfig(), optim=OptimConfig(lr=lr), stages=(stage,), seed=seed)
        run = RunDir.of(Path(results or tmp_path / "results"), study, config.key(), seed)
        run.create()
        write_atomic(run.path.parent / "study.json", json.dumps({"question": "How much?"}))
        run.write_config(config)
        facts = {"study": study, "key": config.key(), "seed": seed, "cell": f"lr={lr}", "axes": {"lr": lr}}
        run.write_json("run.json", facts | {"attempt": 1, "token": "t", "recipe": "mac"} | identity)
        run.write_json(
            "environment.json",
            {
                "data": "shapes",
                "data_digest": "d" * 64,
                "commit": "abc",
                "dirty": True,
                "precision": "float32",
            },
        )
        train(run, 1, steps)
        finish(run, steps, state)
        return run

    return make


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A migrated MLflow database, copied for each test, since migrating takes seconds: read only."""
    results = tmp_path_factory.mktemp("store")
    Mirror(results)
    return results / "mlflow.db"
