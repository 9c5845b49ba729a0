"""Several machines share one storage without sharing folders: every run is done once."""

import sqlite3

import pytest

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study import ledger as ledgers
from workbench.study.ledger import Ledger
from workbench.study.outcome import Outcome
from workbench.study.plan import Options, make_plan
from workbench.study.spec import Study


def configure(trial):
    optim = OptimConfig(lr=trial.suggest_categorical("lr", [1e-2, 1e-3, 1e-4]))
    stage = Stage(budget=Budget(unit="steps", amount=1))
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=16))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Opens the shared ledger as the machine of that name would."""
    monkeypatch.setattr(ledgers, "is_shared", lambda address: True)
    plan = make_plan(Study(question="?", configure=configure, name="shared"), Options(), tmp_path)

    def open_as(name):
        results = tmp_path / name
        results.mkdir(exist_ok=True)
        return Ledger(plan, results, f"sqlite:///{tmp_path / 'shared.db'}")

    return open_as


@pytest.fixture
def an_hour_passes(tmp_path):
    """Since the last signs of life, as far as the storage knows."""

    def pass_it():
        with sqlite3.connect(tmp_path / "shared.db") as database:
            database.execute("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour')")
        database.close()

    return pass_it


def states(ledger):
    return [entry.state for entry in ledger.entries()]


def complete(ledger, lease):
    ledger.settle(lease, Outcome(state="complete", value=1.0, notes={"test/t2v_r1": 1.0}))


def test_a_run_leased_here_cannot_be_leased_there(machine):
    here, there = machine("here"), machine("there")
    here.enqueue()
    runs = here.plan.runs
    leases = [here.acquire(runs[0]), there.acquire(runs[0]), there.acquire(runs[1])]
    assert [lease is not None for lease in leases] == [True, False, True]
    complete(here, leases[0])
    complete(there, leases[2])
    assert states(here) == states(there) == ["complete", "complete", "waiting"]
    assert here.acquire(runs[0]) is None


def test_what_both_have_queued_is_done_once(machine):
    here, there = machine("here"), machine("there")
    for run in here.plan.runs:  # as if neither had seen the other's queue
        here._enqueue(run, 1)
        there._enqueue(run, 1)
    done = 0
    for run in here.plan.runs:
        first, second = here.acquire(run), there.acquire(run)
        assert second is None
        complete(here, first)
        assert there.acquire(run) is None
        done += 1
    assert states(there) == ["complete"] * done


def test_a_machine_that_shows_no_sign_of_life_loses_its_run(machine, an_hour_passes):
    here, there = machine("here"), machine("there")
    run = here.plan.runs[0]
    lease = here.acquire(run)
    there.reconcile()
    assert states(there)[0] == "running"
    an_hour_passes()
    there.reconcile()
    assert states(there)[0] == "missing"
    again = there.acquire(run)
    assert again.attempt == 1, "not the run's doing, so it costs no attempt"
    complete(there, again)
    complete(here, lease)  # it was only slow: too late, and no error
    assert states(here)[0] == "complete"
    assert sum(t.state.name == "COMPLETE" for t in here._of((run.cell.key, run.seed))) == 1


def test_a_sign_of_life_keeps_the_run(machine, an_hour_passes):
    here, there = machine("here"), machine("there")
    lease = here.acquire(here.plan.runs[0])
    an_hour_passes()
    here.heartbeat(lease)
    there.reconcile()
    assert states(there)[0] == "running"


def test_an_interrupted_run_goes_back_into_the_queue(machine):
    here, there = machine("here"), machine("there")
    run = here.plan.runs[0]
    here.settle(here.acquire(run), Outcome(state="interrupted"))
    assert states(there)[0] == "waiting"
    assert there.acquire(run) is not None
