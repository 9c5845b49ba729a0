"""Ledgers of a study with three cells, of one machine or of several that share a database."""

import sqlalchemy

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.ledger import Ledger
from workbench.study.plan import Options, make_plan
from workbench.study.spec import Study

METRIC = "t2v_r1"


def configure(trial):
    optim = OptimConfig(lr=trial.suggest_categorical("lr", [1e-2, 1e-3, 1e-4]))
    stage = Stage(budget=Budget(unit="steps", amount=1))
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=16))


def three_runs(root):
    return make_plan(Study(question="?", configure=configure, name="queue"), Options(), root)


def start_record(lease):
    """What the runner and the run write when a run begins."""
    directory = lease.directory
    directory.write_json("run.json", {"key": lease.run.cell.key, "seed": 0, "token": lease.token})
    directory.file("summary.json").unlink(missing_ok=True)
    directory.set_status("running")


def complete_record(lease, value=1.0):
    lease.directory.write_json("summary.json", {f"val/{METRIC}": value})
    lease.directory.set_status("complete")


def abandon(lease):
    """What the system does for a process that died: its lock is free."""
    lease.lock.release()


def age_heartbeats(address, trials):
    """Lets an hour pass for these trials of a shared storage, as far as signs of life go."""
    engine = sqlalchemy.create_engine(address)
    shift = "datetime(heartbeat, '-1 hour')"
    if not address.startswith("sqlite"):
        shift = "heartbeat - interval '1 hour'"
    with engine.begin() as connection:
        for number in trials:
            connection.execute(
                sqlalchemy.text(
                    f"UPDATE trial_heartbeats SET heartbeat = {shift} WHERE trial_id IN "
                    "(SELECT trial_id FROM trials WHERE number = :number)"
                ),
                {"number": number},
            )
    engine.dispose()


def open_ledger(plan, results, address=""):
    results.mkdir(parents=True, exist_ok=True)
    return Ledger(plan, results, address)


def states_of(ledger, run):
    return sorted(t.state.name for t in ledger._of((run.cell.key, run.seed)))
