"""Real studies in processes of their own, and everything that is recorded of them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import optuna
from mlflow import MlflowClient

from workbench.tracking.run_dir import RunDir

HERE = Path(__file__).parent
FULL = os.environ.get("WORKBENCH_FAULTS") == "full"
OF_THE_MACHINE = ("speed/", "cost/peak_memory_gb", "answer/3 clips per second")
"""Metrics that differ between two runs of the same configuration."""


class Study:
    """`python -m workbench.study tiny`, started as often as one likes on the same results."""

    def __init__(self, results, data_root, name="tiny"):
        self.results, self.data_root, self.name = results, data_root, name
        self.process = None
        results.mkdir(parents=True, exist_ok=True)

    def start(self, *options):
        words = [sys.executable, "-m", "workbench.study", self.name, "--device", "cpu", *options]
        words += ["--results", str(self.results), "--data-root", str(self.data_root)]
        with open(self.results / "study.log", "a") as log:
            self.process = subprocess.Popen(
                words, cwd=HERE, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        return self

    def run(self, *options, timeout=900):
        return self.start(*options).process.wait(timeout)

    @property
    def log(self):
        return (self.results / "study.log").read_text()

    def directories(self):
        return [RunDir(p.parent) for p in sorted((self.results / "runs" / self.name).glob("*/run.json"))]

    def steps(self):
        """Steps of all runs that are on record."""
        return sum(r.read_metrics().rows[-1]["step"] for r in self.directories() if r.read_metrics().rows)

    def fork_server(self):
        """The process that starts runs, if it is there."""
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = self.process.pid
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                if b"fork_server" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        return None

    def workers(self):
        """Processes of `--workers` that are alive."""
        found = []
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = self.process.pid
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes()  # a dead one has none
                if b"workbench.study" in words and b"fork_server" not in words:
                    found.append(int(child))
        return found

    def run_process(self):
        """The run that goes on, if one does."""
        for run in self.directories():
            status = run.status()
            if status is not None and status.state == "running" and status.pid and run.alive():
                return status.pid
        return None

    def kill(self, *victims):
        """SIGKILL to `runner`, `fork_server` or `run`, where there is one; names of those hit."""
        found = {"runner": self.process.pid, "fork_server": self.fork_server(), "run": self.run_process()}
        hit = []
        for name in victims:
            if found[name] is not None:
                with suppress(ProcessLookupError):
                    os.kill(found[name], signal.SIGKILL)
                    hit.append(name)
        if "runner" in hit:
            self.process.wait(60)
        return hit


def environment(**more):
    root = str(HERE.parents[1])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH_")}
    return kept | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"} | more


def until(condition, timeout=300, every=0.02):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(every)


def record(run):
    """All of a complete run that may not differ between two runs of one configuration."""
    summary = {k: v for k, v in run.summary().items() if not k.startswith(OF_THE_MACHINE)}
    trace = {}
    for row in run.read_metrics().rows:  # the validation of a step may follow in a line of its own
        known = trace.setdefault(row["step"], {})
        assert not {name for name in row if "/" in name} & set(known), "a number is recorded twice"
        known.update(row | {"seconds": None})
    return {
        "state": run.status().state,
        "trace": trace,
        "summary": summary,
        "weights": digest(run.file("checkpoints/model.safetensors")),
        "ranks": digest(run.file("ranks.npz")),
    }


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_mlflow(study):
    """(key, seed) -> status and every curve of its MLflow run; asserts that there is one for each.

    Points are in the order of their steps. MLflow returns them by their times, and a step that is repeated
    after a kill keeps the time of its first training.
    """
    client = MlflowClient(f"sqlite:///{study.results.resolve()}/mlflow.db")
    experiment = client.get_experiment_by_name(study.name)
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        identity = run.data.tags["wb.key"], int(run.data.tags["wb.seed"])
        assert identity not in found, "two MLflow runs of one cell and seed"
        curves = {
            name: sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
            if not name.startswith(OF_THE_MACHINE)
        }
        found[identity] = run.info.status, curves
    return found


def trials(study, address=""):
    """Every trial of the ledger as (key, seed, state)."""
    address = address or f"sqlite:///{study.results.resolve()}/optuna.db"
    found = optuna.load_study(study_name=study.name, storage=address).get_trials()
    return [(t.user_attrs["key"], t.user_attrs["seed"], t.state.name) for t in found]


def identities(study):
    return [(r.identity()["key"], r.identity()["seed"]) for r in study.directories()]


def checkpoint_step(run):
    return json.loads(run.file("checkpoints/last.json").read_text())["progress"]["step"]
