"""A signal, wherever it falls: the run saves, says so, and goes on as if nothing had been."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from real import FULL, HERE, checkpoint_step, environment, record, until
from support import begun, run_dirs, starts
from support import until as wait_until

from workbench.runner import work as runner
from workbench.runner.launch import Launcher
from workbench.study.outcome import memory_kills
from workbench.tracking.run_dir import RunDir

PLACES = ("training", "evaluation", "test", "data", "saving")
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
PAIRS = [(p, s) for i, p in enumerate(PLACES) for j, s in enumerate(SIGNALS) if FULL or (i + j) % 3 == 0]
"""In the short form each place and each signal once or twice."""


@pytest.fixture(scope="module")
def launcher():
    """Imports once and forks for each run, as a study does."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with Launcher("slowed") as launcher:
            yield launcher
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def run(undisturbed, tmp_path):
    """A run of the undisturbed study, not yet begun."""
    whole = undisturbed.directories()[0]
    begun = RunDir(tmp_path / whole.path.name)
    begun.create()
    for name in ("config.json", "run.json"):
        shutil.copy(whole.file(name), begun.file(name))
    return begun


def start(launcher, run, clips, place="nowhere"):
    words = [place, str(run.path), "--data-root", str(clips), "--device", "cpu"]
    with run.lock() as lock:
        return launcher.start(words, run.file("train.log"), lock)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("place", "number"), PAIRS, ids=lambda v: getattr(v, "name", v))
def test_a_run_saves_on_a_signal_and_ends_bit_equal(launcher, run, clips, undisturbed, place, number):
    child = start(launcher, run, clips, place)
    until(lambda: run.file(f"at-{place}").exists() or child.poll() is not None)
    if place == "data":  # the loader is ahead of the training
        until(lambda: run.read_metrics().rows[-1]["step"] == 60 or child.poll() is not None)
    child.signal(number)
    assert child.wait(300) == 75, run.file("train.log").read_text()
    status = run.status()
    assert (status.state, status.failure) == ("interrupted", None)
    assert "stopped at step" in status.reason
    assert not run.file("summary.json").exists()
    steps = {"training": 60, "evaluation": 30, "test": 200, "data": 60, "saving": 200}
    assert steps[place] == checkpoint_step(run)
    first = json.loads(run.file("checkpoints/last.json").read_text())["progress"]

    assert start(launcher, run, clips).wait(300) == 0, run.file("train.log").read_text()
    assert record(run) == record(undisturbed.directories()[0])
    seconds_of_all_attempts(run, first, status.spent)


def seconds_of_all_attempts(run, first, spent):
    summary = run.summary()
    assert first["startup_seconds"] > 0
    assert summary["speed/startup_seconds"] > first["startup_seconds"]
    assert summary["speed/train_seconds"] >= first["seconds"]
    assert summary["speed/eval_seconds"] > first["eval_seconds"]
    assert summary["speed/total_seconds"] > spent
    parts = sum(summary[f"speed/{part}_seconds"] for part in ("train", "eval", "startup"))
    assert parts <= summary["speed/total_seconds"] + 0.1
    assert run.status().spent >= summary["speed/total_seconds"]


@pytest.mark.skipif(not FULL, reason="two minutes; in full with make faults")
@pytest.mark.timeout(1800)
def test_a_real_run_that_waits_for_data_for_ever_is_killed_and_goes_on(tmp_path, clips, undisturbed):
    code = (
        "import sys; from workbench.study.__main__ import main; sys.exit(main(sys.argv[1:], module='slowed'))"
    )
    words = ["tiny", "--seeds", "1", "--deadline", "40", "--mlflow", "none", "--device", "cpu"]
    words += ["--results", str(tmp_path / "results"), "--data-root", str(clips)]
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=HERE, capture_output=True, text=True, timeout=1500,
        env=environment(SLOWED="data", PYTHONPATH=paths),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("will be tried again (hang: no progress within the deadline)") == 2
    for directory in (tmp_path / "results/runs/tiny").glob("*-s0"):
        [whole] = [r for r in undisturbed.directories() if r.path.name == directory.name]
        assert record(RunDir(directory)) == record(whole)


# The study process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], ids=lambda n: n.name)
def test_a_study_that_is_asked_to_stop_lets_its_run_save(write_study, command, study, number):
    name = write_study(hidden=(0.0,))
    stopped = command(name, FAKE_PAUSE="200")
    wait_until(begun)
    stopped.signal(number)
    code, out, err = stopped.finish(timeout=150)
    assert (code, err) == (130, "")
    assert "The same command goes on from here." in out
    assert run_dirs()[0].read_json("checkpoint.json")["step"] >= 1
    assert study(name) == 0
    assert [r.status().attempt for r in run_dirs()] == [1, 1], "an interruption costs no attempt"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_a_scheduler_may_signal_all_processes_of_the_job(write_study, command, study, number):
    name = write_study(hidden=(0.0,))
    stopped = command(name, FAKE_PAUSE="200")
    wait_until(begun)
    pid = stopped.process.pid
    others = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for process in (*others, run_dirs()[0].status().pid, pid):
        os.kill(process, signal.SIGTERM if process == run_dirs()[0].status().pid else number)
    code, out, err = stopped.finish(timeout=150)
    assert (code, err) == (130, ""), out
    assert run_dirs()[0].status().state == "interrupted"
    assert study(name) == 0
    assert [r.status().attempt for r in run_dirs()] == [1, 1]


def test_ctrl_c_twice_does_not_wait_for_the_checkpoint(write_study, command, study):
    name = write_study(hidden=(0.0,), lr="4e-3")  # hangs at step 5 and ignores SIGTERM
    stopped = command(name)
    wait_until(lambda: begun() and run_dirs()[0].read_metrics().rows[-1]["step"] == 5, timeout=150)
    stopped.signal(signal.SIGINT)
    stopped.signal(signal.SIGTERM)  # two of the same may be delivered as one
    code, _, err = stopped.finish(timeout=50)
    assert (code, err) == (130, "")
    status = run_dirs()[0].status()
    assert (status.state, status.reason) == ("interrupted", "stopped before it could save")


def test_a_run_that_the_system_kills_for_memory_is_tried_twice(write_study, study, capsys, monkeypatch):
    monkeypatch.setattr(runner, "memory_kills", lambda: memory_kills() + 1)
    name = write_study(hidden=(0.0,), lr="5e-3 if words == 'drop' else 1e-3")
    assert study(name) == 3
    out = capsys.readouterr().out
    assert "(out_of_memory: killed by the system, which was out of memory)" in out
    assert sorted(starts().values()) == [1, 2]
    assert sorted(r.status().state for r in run_dirs()) == ["complete", "failed"]


def test_how_often_the_system_killed_for_memory_is_read_where_it_tells(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 12\noom_kill 7\n")
    assert memory_kills(tmp_path / "vmstat") == 7
    assert memory_kills(tmp_path / "nowhere") == 0


def test_output_that_goes_away_stops_no_study(write_study, command, study):
    """As with `| head -1`, or a `tee` that dies."""
    started = command(write_study())
    assert started.process.stdout.readline()
    started.process.stdout.close()
    started.process.stderr.close()
    assert started.process.wait(240) == 0
    assert {run.status().state for run in run_dirs()} == {"complete"}
    assert len(run_dirs()) == 4
