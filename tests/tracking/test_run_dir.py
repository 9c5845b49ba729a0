"""The run directory keeps what was written, whatever happens to the writer."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from workbench.errors import UserError
from workbench.tracking import files
from workbench.tracking.files import LOCK_FD, check_name, write_atomic
from workbench.tracking.run_dir import RunDir

HOLD = """
import sys
from workbench.tracking.run_dir import RunDir
lock = RunDir(sys.argv[1]).lock()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path):
    run = RunDir.of(tmp_path, "study", "0123456789ab", 3)
    run.create()
    return run


def holder(run, **options):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    assert child.stdout.readline() == "held\n"
    return child


def test_metrics_come_back_as_they_were_written(run):
    run.append_metrics({"step": 1, "train/loss": np.float32(0.5), "val/t2v_r1": None})
    run.append_metrics({"step": np.int64(2), "train/loss": 0.25})
    assert run.read_metrics().rows == [
        {"step": 1, "train/loss": 0.5, "val/t2v_r1": None},
        {"step": 2, "train/loss": 0.25},
    ]


def test_a_torn_line_is_counted_and_does_not_swallow_the_next_one(run):
    run.append_metrics({"step": 1})
    run.close()
    with open(run.file("metrics.jsonl"), "a") as file:
        file.write('{"step": 2, "tr')
    assert run.read_metrics() == ([{"step": 1}], 1)
    again = RunDir(run.path)
    again.append_metrics({"step": 2})
    assert again.read_metrics() == ([{"step": 1}, {"step": 2}], 1)


def test_values_that_are_not_finite_are_named_instead_of_written(run):
    run.append_metrics({"step": 4, "train/loss": float("nan"), "train/lr": 0.1})
    assert run.read_metrics().rows == [{"step": 4, "train/lr": 0.1, "not_finite": ["train/loss"]}]


def test_a_resumed_run_drops_the_rows_it_will_write_again(run):
    for step in range(5):
        run.append_metrics({"step": step})
    run.keep_metrics(until_step=2)
    run.append_metrics({"step": 3, "again": 1})
    assert [row["step"] for row in run.read_metrics().rows] == [0, 1, 2, 3]


def test_status_keeps_what_was_known_and_going_on_clears_the_failure(run):
    run.set_status("running", step=0, steps=100, attempt=2)
    started = run.status().started
    run.set_status("failed", failure="data", reason="clip.mp4 is empty", step=7)
    failed = run.status()
    assert (failed.steps, failed.attempt, failed.started) == (100, 2, started)
    assert (failed.failure, failed.reason, failed.step) == ("data", "clip.mp4 is empty", 7)
    assert run.set_status("running").failure is None


def test_states_and_failures_outside_the_vocabulary_are_refused(run):
    with pytest.raises(ValueError, match="state must be one of"):
        run.set_status("done")
    with pytest.raises(ValueError, match="failure must be one of"):
        run.set_status("failed", failure="bad luck")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(run, monkeypatch):
    run.write_json("summary.json", {"a": 1})

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_fsync", full)
    with pytest.raises(OSError, match=r"summary\.json"):
        run.write_json("summary.json", {"a": 2})
    assert run.summary() == {"a": 1}
    assert sorted(os.listdir(run.path)) == ["summary.json"]


def test_not_a_number_is_never_written_to_a_json_file(run):
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("summary.json", {"a": float("nan")})
    assert run.summary() == {}


def test_a_damaged_file_is_named(run):
    run.file("status.json").write_text("{")
    with pytest.raises(UserError, match=r"status\.json is not readable JSON"):
        run.status()


def test_written_files_are_as_readable_as_any_other(tmp_path):
    write_atomic(tmp_path / "atomic", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc", "a/b", "a\0b", "x" * 300, "-rf", "con", "NUL.txt", "a b"],
)
def test_names_that_could_leave_the_results_are_refused(name, tmp_path):
    with pytest.raises(UserError):
        check_name(name)
    with pytest.raises(UserError):
        RunDir.of(tmp_path, name, "0123456789ab", 0)


def test_files_of_a_run_stay_inside_it(run):
    run.write_json("checkpoints/last.json", {"step": 1})
    assert json.loads((run.path / "checkpoints" / "last.json").read_text()) == {"step": 1}
    with pytest.raises(UserError):
        run.file("checkpoints/../../run.json")


def test_the_lock_keeps_others_out_until_its_holder_is_gone(run):
    child = holder(run)
    assert run.alive()
    assert run.try_lock() is None
    with pytest.raises(UserError, match="another process"):
        run.lock()
    child.kill()
    child.communicate()
    assert not run.alive()


def test_a_child_keeps_the_lock_that_its_parent_handed_down(run):
    lock = run.lock()
    environment = os.environ | {LOCK_FD: str(lock.fd)}
    child = holder(run, pass_fds=[lock.fd], env=environment)
    lock.release()
    assert run.alive()
    child.communicate()
    assert not run.alive()


def test_the_lock_handed_down_for_one_run_opens_no_other(run, tmp_path, monkeypatch):
    other = RunDir(tmp_path / "other")
    with run.lock() as lock, other.lock():
        monkeypatch.setenv(LOCK_FD, str(lock.fd))
        assert other.try_lock() is None
