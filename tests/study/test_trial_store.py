"""What the ledger reads of Optuna's trials: little, and never of before."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "faults"))
from ledgers import open_ledger, three_runs

from workbench.study import ledger as ledgers
from workbench.study.outcome import Outcome


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """The ledgers of two machines with folders of their own, and one database."""
    monkeypatch.setattr(ledgers, "is_shared", lambda address: True)
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    plan = three_runs(tmp_path)
    return [open_ledger(plan, tmp_path / name, address) for name in ("here", "there")]


def test_what_others_did_meanwhile_is_seen(machines):
    here, there = machines
    first, second, _ = here.plan.runs
    here.enqueue()
    assert [entry.state for entry in there.entries()] == ["waiting"] * 3
    lease = here.acquire(first)
    assert [entry.state for entry in there.entries()] == ["running", "waiting", "waiting"]
    assert there.acquire(first) is None
    here.settle(lease, Outcome(state="interrupted"))
    mine = there.acquire(first)
    [trial] = here._of((first.cell.key, first.seed))
    assert trial.user_attrs["token"] == mine.token, "of the lease of now, though it ran before as well"
    there.settle(mine, Outcome(state="complete", value=1.0))
    failed = here.acquire(second)
    here.settle(failed, Outcome(state="failed", failure="error", reason="broken"))
    assert there.acquire(second).trial == failed.trial + 2, "a trial that was made after the three"
    assert [entry.state for entry in here.entries()] == ["complete", "running", "waiting"]
    assert [entry.attempts for entry in here.entries()] == [0, 1, 0]


def test_a_claim_reads_its_own_trials_only(machines, monkeypatch):
    here, _ = machines
    here.enqueue()
    monkeypatch.setattr(here._study, "get_trials", None)
    monkeypatch.setattr(here._reader, "all", None)
    read = []
    original = here._reader._read
    monkeypatch.setattr(here._reader, "_read", lambda changed: read.append(set(changed)) or original(changed))
    lease = here.acquire(here.plan.runs[1])
    here.settle(lease, Outcome(state="complete", value=1.0))
    assert here.state(here.plan.runs[1]) == "complete"
    own = here._reader.id(lease.trial)
    assert set.union(*read) == {own}
    assert len(read) <= 6


def test_trials_that_are_gone_from_the_database_are_forgotten(machines):
    here, _ = machines
    here.enqueue()
    assert len(here._trials()) == 3
    with here._storage.engine.begin() as connection:
        for table in ("trial_user_attributes", "trial_system_attributes", "trials"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    assert [entry.state for entry in here.entries()] == ["missing"] * 3
