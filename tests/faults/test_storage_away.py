"""A ledger that is away, locked or read-only: waited for where that helps, else one sentence."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy
from disks import may_mount, small_disk
from ledgers import age_heartbeats, complete_record, open_ledger, start_record, states_of, three_runs
from quick import QuickStudy
from real import until
from support import run_dirs

from workbench.errors import UserError
from workbench.runner import launch, work
from workbench.runner.device import pin_device
from workbench.runner.launch import Launcher
from workbench.study import storage
from workbench.study.outcome import Outcome
from workbench.tracking.run_dir import RunDir

DONE = Outcome(state="complete", value=1.0)


@pytest.fixture
def quick(tmp_path, postgres_server):
    """A study of four quick runs in a database of its own."""
    engine = sqlalchemy.create_engine(postgres_server.address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("CREATE DATABASE restarted"))
    engine.dispose()
    address = postgres_server.address.replace("/postgres?", "/restarted?")
    study = QuickStudy(tmp_path / "results", WORKBENCH_STORAGE=address, FAKE_PAUSE="0.1")
    yield study
    if study.process is not None and study.process.poll() is None:
        study.kill("runner", "fork_server", "run")


@pytest.mark.timeout(900)
def test_a_postgresql_that_restarts_costs_nothing(quick, postgres_server):
    quick.start("--mlflow", "none")
    until(lambda: [run for run in quick.directories() if run.read_metrics().rows])
    postgres_server.stop()
    try:
        until(lambda: "is away" in quick.log or quick.process.poll() is not None)
    finally:
        postgres_server.start()
    assert quick.process.wait(600) == 0, quick.log
    assert quick.whole() == 4
    assert [len((r.path / "starts.txt").read_text().split()) for r in quick.directories()] == [1] * 4
    assert quick.log.count("is away") == 1
    assert "Traceback" not in quick.log


def away_for_good(*arguments, **options):
    error = ConnectionError("connection refused")
    raise sqlalchemy.exc.OperationalError("SELECT 1", {}, error) from error


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A ledger of several machines, and a lease; how long it waits is cut short."""
    monkeypatch.setattr("workbench.study.ledger.is_shared", lambda address: True)
    monkeypatch.setattr(storage, "RETRY_FOR", 1.0)
    monkeypatch.setattr(storage, "FIRST_PAUSE", 0.1)
    plan = three_runs(tmp_path)
    ledger = open_ledger(plan, tmp_path / "results", f"sqlite:///{tmp_path / 'shared.db'}")
    return ledger, ledger.acquire(plan.runs[0])


def test_a_storage_that_stays_away_ends_in_one_sentence(shared, monkeypatch, capsys):
    ledger, lease = shared
    monkeypatch.setattr(ledger._reader, "of", away_for_good)
    began = time.monotonic()
    told = pytest.raises(UserError, match=r"lost the Optuna storage .*\(connection refused\)")
    with told, storage.explained(ledger.address):
        ledger.settle(lease, DONE)
    assert time.monotonic() - began >= 1.0
    assert capsys.readouterr().err.count("is away (connection refused)") == 1
    assert not lease.directory.alive(), "its lock is free"


def test_who_is_asked_to_stop_does_not_wait_for_it(shared, monkeypatch):
    ledger, lease = shared
    monkeypatch.setattr(storage, "RETRY_FOR", 3600.0)
    monkeypatch.setattr(ledger._reader, "of", away_for_good)
    ledger.stopped = lambda: True
    with pytest.raises(sqlalchemy.exc.OperationalError):
        ledger.settle(lease, DONE)


def test_a_sign_of_life_may_fail_until_others_may_take_the_run(shared, monkeypatch):
    ledger, lease = shared
    monkeypatch.setattr(ledger._storage, "record_heartbeat", away_for_good)
    ledger.heartbeat(lease)
    monkeypatch.setattr(ledger, "_last_heartbeat", time.monotonic() - storage.heartbeat_timeout() - 1)
    with pytest.raises(sqlalchemy.exc.OperationalError):
        ledger.heartbeat(lease)


def test_a_locked_database_is_waited_for_so_long_and_then_told(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SQLITE_TIMEOUT", 0.3)
    plan = three_runs(tmp_path)
    ledger = open_ledger(plan, tmp_path / "results")
    lease = ledger.acquire(plan.runs[0])
    start_record(lease)
    complete_record(lease)
    with sqlite3.connect(tmp_path / "results/optuna.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        told = pytest.raises(UserError, match=r"lost the Optuna storage .*database is locked")
        with told, storage.explained(ledger.address):
            ledger.settle(lease, DONE)
        assert not lease.directory.alive(), "its lock is free"
        with pytest.raises(UserError, match=r"cannot open the Optuna storage .*database is locked"):
            open_ledger(plan, tmp_path / "results")
        other.execute("ROLLBACK")
    again = open_ledger(plan, tmp_path / "results")
    assert len(again.reconcile()) == 1, "the record is entered by whoever comes next"
    assert states_of(again, plan.runs[0]) == ["COMPLETE"]


@pytest.fixture
def mountable(tmp_path):
    if not may_mount(tmp_path / "try"):
        pytest.skip("this process may not mount a tmpfs")


def one_error(study, code):
    assert code == 2, study.log
    [told] = [line for line in study.log.splitlines() if line.startswith("error: ")]
    return told


@pytest.mark.timeout(900)
def test_a_folder_that_vanishes_under_a_running_study_stops_it_with_a_sentence(tmp_path, mountable):
    """As when a network drive goes: in its place an empty one that one may only read."""
    study = QuickStudy(tmp_path / "results", FAKE_PAUSE="200", FAKE_QUICK="1")
    study.start("--mlflow", "none")
    until(lambda: sum(bool(run.read_metrics().rows) for run in study.directories()) == 2)
    folder = study.results / "runs/quick"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=True)
    try:
        os.kill(study.run_process() or children(study)[0], signal.SIGTERM)
        told = one_error(study, study.process.wait(300))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    assert str(folder) in told
    assert "Read-only file system" in told
    assert "Traceback" not in study.log
    study.variables["FAKE_PAUSE"] = "0.01"
    assert study.run("--mlflow", "none") == 0, study.log
    assert study.whole() == 4
    assert [run.status().attempt for run in study.directories()] == [1] * 4, "it costs no attempt"


def children(study):
    """The runs that go on, though their directories are out of sight."""
    fork_server = study.fork_server()
    return [int(pid) for pid in Path(f"/proc/{fork_server}/task/{fork_server}/children").read_text().split()]


def test_a_disk_that_one_may_only_read_is_refused_at_once_with_a_sentence(tmp_path, mountable):
    with small_disk(tmp_path / "disk") as disk:
        study = QuickStudy(disk.path / "results")
        study.logfile = tmp_path / "study.log"
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        told = one_error(study, study.run("--mlflow", "none"))
        assert told == f"error: --results: {study.results} is not writable"


def test_a_finished_study_is_looked_at_where_one_may_only_read(tmp_path, mountable):
    with small_disk(tmp_path / "disk") as disk:
        study = QuickStudy(disk.path / "results")
        assert study.run("--mlflow", "none") == 0, study.log
        study.logfile = tmp_path / "study.log"
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        for look in ("--status", "--plan"):
            assert study.run(look) == 0, study.log
        assert "4 runs expected: 4 complete." in study.log


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "/x/y"),
        FileNotFoundError(2, "No such file or directory", "/x"),
        OSError(28, "No space left on device", "/x"),
    ],
    ids=lambda error: error.strerror,
)
def test_what_cannot_be_written_is_named_with_its_own_reason(write_study, study, capsys, monkeypatch, error):
    def refused(self, config):
        raise error

    name = write_study(hidden=(0.0,))
    original = RunDir.write_config
    monkeypatch.setattr(RunDir, "write_config", refused)
    assert study(name) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert ("free some space" in err) == (error.errno == 28)
    assert error.strerror in err
    assert error.filename in err
    monkeypatch.setattr(RunDir, "write_config", original)
    assert study(name) == 0
    assert [run.status().attempt for run in run_dirs()] == [1, 1], "it costs no attempt"


# The process that starts runs


@pytest.fixture
def lock(tmp_path):
    with RunDir(tmp_path / "run").lock() as lock:
        yield lock


def test_a_fork_server_that_is_dead_is_named_as_that(tmp_path, lock):
    with Launcher("fake_train") as launcher:
        launcher._fork_server.kill()
        launcher._fork_server.wait()
        with pytest.raises(UserError, match="the process that starts runs has died"):
            launcher.start([], tmp_path / "log", lock)


def test_a_system_that_starts_no_process_is_named_as_that(tmp_path, monkeypatch):
    """It is no matter of writing, as other errors about a file are."""
    monkeypatch.setattr(launch.sys, "executable", str(tmp_path))  # a folder cannot be executed
    with pytest.raises(UserError, match=r"^cannot start a process that runs .* \(Permission denied\)"):
        Launcher("fake_train")


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """A module whose import never ends, as from a network that is gone."""
    (tmp_path / "never.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "never"


def test_imports_that_hang_do_not_keep_a_study_from_stopping(tmp_path, lock, hanging):
    with Launcher(hanging, stop=lambda: True, urgent=lambda: True) as launcher:
        assert launcher.start([], tmp_path / "log", lock) is None
    assert launcher._fork_server.returncode is not None


def test_imports_that_hang_are_given_up(tmp_path, lock, hanging, monkeypatch):
    monkeypatch.setattr(launch, "START_TIMEOUT", 0.3)
    monkeypatch.setattr(launch, "CLOSE_TIMEOUT", 0.1)
    with Launcher(hanging) as launcher, pytest.raises(UserError, match="no run has begun within"):
        launcher.start([], tmp_path / "log", lock)
    assert launcher._fork_server.returncode is not None


SLOW = """
import os, time
while not os.path.exists({go!r}):
    time.sleep(0.05)
from workbench.tracking.run_dir import RunDir

def main(arguments):
    run = RunDir(arguments[0])
    with run.lock():
        run.write_json("summary.json", {{"val/t2v_r1": 1.0}})
        run.set_status("complete")
    return 0
"""


def test_a_run_that_waits_for_slow_imports_is_not_taken_for_dead(tmp_path, monkeypatch):
    """Of two machines one waits for longer than the other would for a sign of life."""
    go = tmp_path / "go"
    (tmp_path / "slow.py").write_text(SLOW.format(go=str(go)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr("workbench.study.ledger.is_shared", lambda address: True)
    monkeypatch.setattr(work, "HEARTBEAT_INTERVAL", 0.2)
    plan, address = three_runs(tmp_path), f"sqlite:///{tmp_path / 'shared.db'}"
    here, there = (open_ledger(plan, tmp_path / name, address) for name in ("here", "there"))
    waited, leases = [], []

    def look():
        if not waited:
            age_heartbeats(address, range(10))
        waited.append(time.monotonic())
        if waited[-1] - waited[0] > 1 and not leases:
            there.reconcile()
            leases.append(there.acquire(plan.runs[0]))
            go.touch()
        return False

    with Launcher("slow", stop=look) as launcher:
        work.work(here, launcher, work.Machine(data_root=tmp_path), [], work.Stop())
    assert leases == [None]
    assert [states_of(here, run) for run in plan.runs] == [["COMPLETE"]] * 3


# The device


@pytest.mark.parametrize(("recorded", "pinned"), [("cpu", "cpu"), ("", "what there is"), ("cuda:1", "cuda")])
def test_a_study_goes_on_on_the_device_of_its_runs(tmp_path, recorded, pinned):
    from workbench.train.environment import pick_device

    there = pick_device().type
    plan = three_runs(tmp_path)
    run = plan.runs[0]
    RunDir.of(tmp_path, "queue", run.cell.key, run.seed).write_json("environment.json", {"device": recorded})
    if pinned == "cuda" and there == "cpu":
        with pytest.raises(UserError, match="the runs so far are from cuda, which is not usable here now"):
            pin_device(plan, tmp_path, "", "workbench.train")
    else:
        found = pin_device(plan, tmp_path, "", "workbench.train")
        assert found == (there if pinned == "what there is" else pinned)
    assert pin_device(plan, tmp_path, "cpu", "workbench.train") == "cpu", "what is asked for"


@pytest.mark.parametrize("option", ["--results", "--data-root"])
def test_a_file_in_the_place_of_a_folder_is_refused(write_study, study, capsys, place, option):
    (place / "file").write_text("x")
    assert study(write_study(), option, str(Path("file/below"))) == 2
    assert f"error: {option} must be a folder, but {place / 'file'} is a file" in capsys.readouterr().err
