"""Two machines at the same trial at the same moment, clocks that go back, records that are damaged."""

import os
import signal
import time
from pathlib import Path

import pytest
from ledgers import abandon, complete_record, open_ledger, start_record, states_of, three_runs
from support import begun, run_dirs, starts, until

from workbench.runner import stale
from workbench.runner import work as runner
from workbench.study import ledger as ledgers
from workbench.study.outcome import Outcome

DONE = Outcome(state="complete", value=1.0)
FAILED = Outcome(state="failed", failure="error", reason="broken")


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """The ledgers of two machines with folders of their own, and one database."""
    monkeypatch.setattr(ledgers, "is_shared", lambda address: True)
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    plan = three_runs(tmp_path)
    return [open_ledger(plan, tmp_path / name, address) for name in ("here", "there")]


def meanwhile(monkeypatch, ledger, name, act):
    """Lets `act` happen on the other machine right after `ledger` has done `name` for the first time."""
    original, done = getattr(ledger, name), []

    def interleaved(*arguments):
        found = original(*arguments)
        if not done:
            done.append(name)
            act(*arguments)
        return found

    monkeypatch.setattr(ledger, name, interleaved)


def test_a_trial_that_was_put_back_and_is_leased_elsewhere_is_not_taken_for_lost(machines, monkeypatch):
    here, there = machines
    run = here.plan.runs[0]
    here.settle(here.acquire(run), Outcome(state="interrupted"))
    told = []
    # RUNNING already, and not yet marked as the other machine's.
    meanwhile(monkeypatch, there, "_set_state", lambda number, state: told.extend(here.reconcile()))
    lease = there.acquire(run)
    assert lease is not None
    assert told == []
    assert states_of(here, run) == ["RUNNING"]
    there.settle(lease, DONE)
    assert states_of(here, run) == ["COMPLETE"]


def test_a_lease_whose_trial_is_settled_elsewhere_in_the_same_moment_is_a_lost_race(machines, monkeypatch):
    here, there = machines
    run = here.plan.runs[0]
    here.enqueue()
    meanwhile(monkeypatch, there, "_set_state", lambda number, state: here._close([number], "lost", "gone"))
    assert there.acquire(run) is None
    assert not there.directory(run).alive(), "it let go of the run"
    assert there.acquire(run) is not None, "and may try again"


def test_a_trial_that_was_settled_cannot_be_set_running_or_put_back(machines):
    here, there = machines
    run = here.plan.runs[0]
    lease = here.acquire(run)
    there._close([lease.trial], "lost", "gone")
    here.settle(lease, Outcome(state="interrupted"))
    here.settle(lease, DONE)
    assert states_of(here, run) == ["FAIL"]


def test_a_record_that_is_taken_over_while_another_machine_settles_the_trial(machines, monkeypatch):
    here, there = machines
    run = here.plan.runs[0]
    lease = there.acquire(run)
    start_record(lease)
    complete_record(lease)
    abandon(lease)
    meanwhile(monkeypatch, there, "_second", lambda identity, number: here._close([number], "lost", "gone"))
    there.reconcile()
    assert states_of(here, run) == ["FAIL"]
    there.reconcile()
    assert states_of(here, run) == ["COMPLETE", "FAIL"], "entered at the next look"


def test_cloned_machines_are_told_apart_by_their_results_folders(machines, tmp_path):
    here, there = machines
    assert here._owner != there._owner
    words = {(tmp_path / name / ".identity").read_text() for name in ("here", "there")}
    assert len(words) == 2
    again = open_ledger(here.plan, tmp_path / "here", here.address)
    assert again._owner == here._owner


@pytest.mark.parametrize("step", [-3600, 3600])
def test_retry_counts_right_though_the_clock_is_set(tmp_path, monkeypatch, step):
    plan = three_runs(tmp_path)
    run = plan.runs[0]

    def fail(ledger):
        for _ in range(2):
            ledger.enqueue()
            ledger.settle(ledger.acquire(run), FAILED)
        assert ledger.state(run) == "failed"

    fail(open_ledger(plan, tmp_path / "results"))
    clock = time.time
    again = ledgers.Ledger(plan, tmp_path / "results", retry=True)
    assert again.state(run) == "missing", "earlier failures are forgotten"
    monkeypatch.setattr(time, "time", lambda: clock() + step)
    fail(again)
    assert ledgers.Ledger(plan, tmp_path / "results", retry=True).state(run) == "missing"


def test_a_run_that_completes_within_its_grace_is_complete(write_study, study, capsys):
    name = write_study(hidden=(0.0,), lr="7e-3 if words == 'drop' else 1e-3")
    assert study(name, "--deadline", "1") == 0
    assert "hang" not in capsys.readouterr().out
    assert [run.status().state for run in run_dirs()] == ["complete"] * 2
    assert set(starts().values()) == {1}


def test_a_hanging_run_that_nobody_looks_after_holds_nothing_up(
    write_study, command, study, capsys, monkeypatch
):
    monkeypatch.setattr(runner, "HUNG_SAVE_TIMEOUT", 0.2)
    monkeypatch.setattr(stale, "HUNG_SAVE_TIMEOUT", 0.2)
    name = write_study(hidden=(0.0,), lr="4e-3 if words == 'drop' else 1e-3")
    one = command(name)
    until(lambda: begun() and run_dirs()[0].read_metrics().rows[-1]["step"] == 5)
    [run], pid = run_dirs(), one.process.pid
    for victim in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        os.kill(victim, signal.SIGKILL)
    one.finish()
    assert run.alive()
    assert study(name, "--deadline", "1") == 3
    out = capsys.readouterr().out
    assert "hang: no progress within the deadline" in out
    assert sorted(r.status().state for r in run_dirs()) == ["complete", "failed"]
    assert sorted(starts().values()) == [1, 3], "the attempt without a study process is not the run's doing"


def test_a_hanging_run_that_somebody_looks_after_is_left_to_them(tmp_path):
    plan = three_runs(tmp_path)
    lease = open_ledger(plan, tmp_path / "results").acquire(plan.runs[0])
    others = [sleeper(), sleeper()]  # both have the lock: the run and its study process, as far as one sees
    try:
        until(lambda: [os.getsid(pid) for pid in others] == others)
        watch = stale.StaleRuns(0.0)
        assert not any(watch.end(lease.directory) for _ in range(3))
        assert [os.waitpid(pid, os.WNOHANG) for pid in others] == [(0, 0)] * 2
    finally:
        for pid in others:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def sleeper():
    if (pid := os.fork()) == 0:
        os.setsid()
        time.sleep(600)
        os._exit(0)
    return pid


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("status.json", '{"state": "resting"}'),
        ("status.json", '{"state": "compl'),
        ("status.json", '{"state": "complete", "step": "many"}'),
        ("status.json", '{"state": "complete", "step": ' + "9" * 5000 + "}"),
        ("summary.json", '{"val/t2v_r1": 4'),
        ("summary.json", "{}"),
        ("summary.json", ""),
        ("summary.json", '{"val/t2v_r1": NaN, "test/t2v_r1": NaN}'),
    ],
)
def test_a_damaged_record_is_one_gap(write_study, study, capsys, file, content):
    name = write_study(hidden=(0.0,))
    assert study(name) == 0
    damaged = run_dirs()[0]
    damaged.file(file).write_text(content)
    capsys.readouterr()
    assert study(name, "--seeds", "2") == 3
    out, err = capsys.readouterr()
    assert "3 complete, 1 failed" in out
    assert str(damaged.file(file)) in out
    assert "nan" not in out
    assert err == ""
    assert damaged.file(file).read_text() == content, "whoever mends it finds it as it was"
