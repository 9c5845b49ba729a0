"""After any death, ledger, run directories and MLflow agree again: at the next start or by `--reconcile`."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from ledgers import (
    abandon,
    age_heartbeats,
    complete_record,
    open_ledger,
    start_record,
    states_of,
    three_runs,
)
from mlflow import MlflowClient
from real import environment
from small import recipe_module, run_config, shrink
from support import begun, kill_all, run_dirs, starts, until

from workbench.config import Budget, DataConfig, OptimConfig, Stage
from workbench.study import ledger as ledgers
from workbench.study.outcome import Outcome
from workbench.tracking.mlflow import Mirror
from workbench.tracking.run_dir import RunDir

DONE = Outcome(state="complete", value=1.0)


def in_optuna():
    found = optuna.load_study(study_name="fake", storage="sqlite:///results/optuna.db").get_trials()
    return sorted(t.state.name for t in found)


def in_mlflow():
    client = MlflowClient(f"sqlite:///{Path('results/mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("fake")
    runs = client.search_runs([experiment.experiment_id])
    return sorted((r.info.status, r.data.tags.get("wb.reason", "")) for r in runs)


@pytest.fixture
def dead(write_study, command):
    """Starts the study, kills all of its processes in the first run, and leaves that RUNNING in MLflow."""

    def start(*options):
        name = write_study(hidden=(0.0,))
        one = command(name, *options, FAKE_PAUSE="120")
        until(begun, timeout=150)
        [run] = run_dirs()
        kill_all(one, run)
        until(lambda: not run.alive())
        assert run.status().state == "running"
        Mirror(Path("results")).sync(run)
        return name

    return start


def test_reconcile_alone_settles_what_the_last_worker_left_behind(dead, study, capsys):
    name = dead()
    assert "RUNNING" in in_optuna()
    assert in_mlflow() == [("RUNNING", "")]
    assert study(name, "--reconcile", mlflow="") == 0
    assert "its process is gone, back in the queue" in capsys.readouterr().out
    assert in_optuna() == ["FAIL", "WAITING"]
    assert in_mlflow() == [("KILLED", "its process is gone")]
    assert [run.status().state for run in run_dirs()] == ["interrupted"]
    assert set(starts().values()) == {1}, "it runs nothing"
    assert study(name, "--reconcile", mlflow="") == 0
    assert capsys.readouterr().out == "nothing to repair\n"


def test_what_was_started_with_other_options_is_settled_too(dead, study):
    name = dead("--budget", "2x")
    assert study(name, "--reconcile", mlflow="") == 0
    assert "RUNNING" not in in_optuna()
    assert in_mlflow() == [("KILLED", "its process is gone")]


def test_every_start_does_the_same(dead, study):
    name = dead("--budget", "2x")
    assert study(name, mlflow="") == 0
    assert "RUNNING" not in in_optuna()
    assert in_mlflow() == [("FINISHED", "")] * 2 + [("KILLED", "its process is gone")]


def test_an_mlflow_run_whose_directory_was_deleted_is_closed(dead, study):
    name = dead()
    shutil.rmtree(run_dirs()[0].path)
    assert study(name, "--reconcile", mlflow="") == 0
    assert in_mlflow() == [("KILLED", "its run directory is gone")]
    assert "RUNNING" not in in_optuna()


def test_a_run_that_is_alive_is_left_alone(write_study, command, study, capsys):
    name = write_study(hidden=(0.0,))
    one = command(name, FAKE_PAUSE="120")
    until(begun, timeout=150)
    Mirror(Path("results")).sync(run_dirs()[0])
    assert study(name, "--reconcile", mlflow="") == 0
    assert capsys.readouterr().out == "nothing to repair\n"
    assert in_optuna() == ["RUNNING", "WAITING"]
    assert in_mlflow() == [("RUNNING", "")]
    kill_all(one, run_dirs()[0])


def test_reconcile_without_results_says_so(write_study, study, capsys):
    assert study(write_study(), "--reconcile") == 2
    assert capsys.readouterr().err.startswith("error: there is nothing to repair in results")
    assert not Path("results").exists()


# Zombies: processes that were taken for dead and come back


@pytest.mark.parametrize(
    "late", [DONE, Outcome(state="interrupted"), Outcome(state="failed", failure="error")]
)
def test_a_runner_that_comes_back_late_changes_nothing(tmp_path, late):
    plan = three_runs(tmp_path)
    one, other = open_ledger(plan, tmp_path / "results"), open_ledger(plan, tmp_path / "results")
    run = plan.runs[0]
    zombie = one.acquire(run)
    start_record(zombie)
    abandon(zombie)
    again = other.acquire(run)
    assert again.token != zombie.token
    start_record(again)
    one.settle(zombie, late)
    assert states_of(other, run) == ["FAIL", "RUNNING"]
    complete_record(again)
    other.settle(again, DONE)
    one.settle(zombie, late)
    assert states_of(other, run) == ["COMPLETE", "FAIL"]
    assert other.state(run) == "complete"


@pytest.fixture
def two_machines(tmp_path, monkeypatch):
    """The ledgers of two machines with folders of their own, and the database they share."""
    monkeypatch.setattr(ledgers, "is_shared", lambda address: True)
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    plan = three_runs(tmp_path)
    return *(open_ledger(plan, tmp_path / name, address) for name in ("here", "there")), address


def complete_late(here, there, address):
    """`here` sleeps, is taken for dead, and completes a run that `there` has leased; returns that lease."""
    slow = here.acquire(here.plan.runs[0])
    start_record(slow)
    age_heartbeats(address, [slow.trial])
    there.reconcile()
    quick = there.acquire(here.plan.runs[0])
    complete_record(slow)
    here.settle(slow, DONE)
    return quick


def test_a_machine_that_slept_and_completes_late_adds_no_second_result(two_machines):
    here, there, address = two_machines
    run = here.plan.runs[0]
    quick = complete_late(here, there, address)
    assert states_of(here, run) == ["FAIL", "RUNNING"], "taken for dead: its word no longer counts"
    assert here.reconcile() == [], "and its record is not entered while another machine has the run"
    there.settle(quick, DONE)
    here.reconcile()
    assert states_of(here, run) == ["COMPLETE", "FAIL"]


def test_a_late_record_counts_when_the_other_machine_dies_as_well(two_machines):
    here, there, address = two_machines
    run = here.plan.runs[0]
    quick = complete_late(here, there, address)
    age_heartbeats(address, [quick.trial])
    assert len(here.reconcile()) == 1
    assert states_of(here, run) == ["COMPLETE", "FAIL", "FAIL"]
    there.settle(quick, DONE)
    assert states_of(here, run) == ["COMPLETE", "FAIL", "FAIL"]


def test_a_training_process_that_comes_back_late_overwrites_nothing(tmp_path, clips):
    run = long_run(tmp_path)
    words = [sys.executable, "-m", "workbench.train", str(run.path), "--data-root", str(clips)]
    words += ["--device", "cpu", "--save-every", "8"]
    with open(tmp_path / "log", "w") as log:
        zombie = subprocess.Popen(words, env=environment(), stdout=log, stderr=log)
    try:
        until(lambda: len(run.read_metrics().rows) >= 2 or zombie.poll() is not None, timeout=300)
        halt_between_saves(zombie, run)
        run.file("lock").unlink()  # as on a file system whose locks do not hold, or after a restored copy
        run.write_json("run.json", run.identity() | {"token": "another", "attempt": 2})
        run.set_status("running", attempt=2, pid=0)
        time.sleep(2.5)
        before = contents(run)
        zombie.send_signal(signal.SIGCONT)
        assert zombie.wait(300) == 75
    finally:
        zombie.kill()
        zombie.wait()
    after = contents(run)
    assert "gave up: another attempt has taken over this run" in (tmp_path / "log").read_text()
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"metrics.jsonl"}, "at most the row of the step that it was in"
    assert run.status().state == "running"


def halt_between_saves(process, run):
    """SIGSTOP soon after a save and a heartbeat: the next are far, and what it had begun to write it would
    finish."""
    last, beat = run.file("checkpoints/last.json"), run.file("cost.json")
    until(lambda: (last.exists() and beat.exists()) or process.poll() is not None, timeout=300)
    end = time.monotonic() + 300
    while time.monotonic() < end:
        process.send_signal(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        halfway = [*last.parent.glob(".*"), *run.path.glob(".*")]
        saved, beaten = (time.time() - file.stat().st_mtime for file in (last, beat))
        if 0.2 < saved < 5 and 0.1 < beaten < 1 and not halfway:
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    raise AssertionError("it never does anything but save")


def long_run(tmp_path):
    config = run_config(
        shrink(recipe_module("mac").Config()),
        data=DataConfig(clips=64, frames=4, size=32),
        stages=(Stage(budget=Budget(unit="steps", amount=20_000)),),
        optim=OptimConfig(batch_size=16),
    )
    run = RunDir.of(tmp_path, "test", config.key(), 0)
    run.create()
    run.write_config(config)
    run.write_json(
        "run.json", {"study": "test", "key": config.key(), "seed": 0, "attempt": 1, "token": "one"}
    )
    return run


def contents(run):
    return {p.relative_to(run.path).as_posix(): p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
