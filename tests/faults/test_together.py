"""Two `study` commands at the same moment, on one machine and on two that share a PostgreSQL."""

from pathlib import Path

import pytest
from ledgers import age_heartbeats
from real import Study, identities, in_mlflow, record, trials
from support import begun, kill_all, run_dirs, starts, until


@pytest.mark.timeout(1800)
def test_two_first_starts_on_one_fresh_folder_share_the_work(tmp_path, undisturbed):
    results = tmp_path / "results"
    both = [Study(results, results / "data") for _ in range(2)]
    for one in both:
        one.start()
    codes = [one.process.wait(1500) for one in both]
    log = both[0].log
    assert codes == [0, 0], log
    assert "locked" not in log
    assert "Traceback" not in log
    assert [state for *_, state in trials(both[0])] == ["COMPLETE"] * 4, "no cell ran twice"
    assert identities(both[0]) == identities(undisturbed)
    assert [r.status().attempt for r in both[0].directories()] == [1] * 4
    assert list(map(record, both[0].directories())) == list(map(record, undisturbed.directories()))
    assert in_mlflow(both[0]) == in_mlflow(undisturbed)


@pytest.fixture
def shared(postgresql):
    """The address of the shared storage, as `--storage` takes it; studies there are told apart by name."""
    return ["--storage", postgresql]


def machine(name):
    return ["--results", name]


def ledger(postgresql, name):
    import optuna

    storage = optuna.storages.RDBStorage(postgresql)
    found = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.engine.dispose()  # a server has a hundred connections, and this is asked again and again
    return sorted(t.state.name for t in found)


def test_two_machines_that_start_at_once_on_an_empty_postgresql(write_study, command, shared, postgresql):
    name = write_study("pair")
    held = {"FAKE_PAUSE": "200", "FAKE_HURRY": "hurry"}
    both = [command(name, *shared, *machine(place), "--seeds", "3", **held) for place in ("a", "b")]
    until(lambda: begun("a", name) and begun("b", name))  # so that each has a part in it on any machine
    Path("hurry").touch()
    ended = [one.finish(timeout=280) for one in both]
    assert [(code, err) for code, _, err in ended] == [(0, "")] * 2
    assert ledger(postgresql, name).count("COMPLETE") == 12
    # What both had queued before they saw each other is closed as a duplicate; nothing is left open.
    assert set(ledger(postgresql, name)) <= {"COMPLETE", "FAIL"}
    done = [starts(place, name) for place in ("a", "b")]
    assert all(done), "both had a part in it"
    assert not set(done[0]) & set(done[1]), "no run was done twice"
    assert len(done[0]) + len(done[1]) == 12
    assert set(done[0].values()) | set(done[1].values()) == {1}


def test_what_another_machine_has_queued_too_is_closed_at_the_end(write_study, command, shared, postgresql):
    import optuna

    name = write_study("twins", hidden=(0.0,))
    only = command(name, *shared, *machine("a"), FAKE_PAUSE="200", FAKE_HURRY="hurry")
    until(lambda: begun("a", name), timeout=150)
    study = optuna.load_study(study_name=name, storage=postgresql)
    [running] = [t for t in study.get_trials() if t.state.name == "RUNNING"]
    of_the_run = {k: running.user_attrs[k] for k in ("seed", "cell", "axes", "attempt", "key")}
    study.enqueue_trial(dict(running.user_attrs["axes"]), user_attrs=of_the_run)
    Path("hurry").touch()
    assert only.finish(timeout=150)[0] == 0
    assert ledger(postgresql, name) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_machine_that_dies_loses_its_run_to_the_other_one(write_study, command, shared, postgresql):
    name = write_study("widow", hidden=(0.0,))
    first = command(name, *shared, *machine("a"), FAKE_PAUSE="120")
    until(lambda: begun("a", name), timeout=150)
    kill_all(first, run_dirs("a", name)[0])
    second = command(name, *shared, *machine("b"), FAKE_PAUSE="0.01")
    until(lambda: "COMPLETE" in ledger(postgresql, name), timeout=150)
    age_heartbeats(postgresql, range(100))
    code, out, err = second.finish(timeout=150)
    assert (code, err) == (0, "")
    assert "in the hands of another process; waiting for it" in out
    assert ledger(postgresql, name) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert len(starts("b", name)) == 2
