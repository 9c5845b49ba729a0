"""`--workers`: one command, several processes that share a study."""

import os
import signal
from pathlib import Path

import pytest
from support import begun, run_dirs, starts, until
from test_run import trials

from workbench.errors import UserError
from workbench.runner.workers import places


def members(command):
    pid = command.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_workers_do_every_cell_once(write_study, command):
    one = command(write_study(), "--workers", "2", "--seeds", "2", FAKE_PAUSE="0.05")
    code, out, err = one.finish()
    assert (code, err) == (0, "")
    assert out.startswith("2 workers: 1 on cpu, 2 on cpu\n")
    said = [line.partition(": ") for line in out.splitlines() if "] hidden=" in line]
    assert len(said) == 8
    assert {who for who, *_ in said} <= {"worker 1", "worker 2"}  # on a busy machine one may do it all
    assert "[8/8]" in out
    assert out.count("fake: How much?") == 1, "the answer is said once"
    assert list(starts().values()) == [1] * 8
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 8


@pytest.mark.parametrize("victims", [1, 2])
def test_the_run_of_a_worker_that_dies_is_taken_over(write_study, command, victims):
    one = command(write_study(), "--workers", "2", FAKE_PAUSE="200", FAKE_HURRY="hurry")
    until(lambda: sum(bool(run.read_metrics().rows) for run in run_dirs()) == 2)
    for pid in members(one)[:victims]:
        os.kill(pid, signal.SIGKILL)
    Path("hurry").touch()
    code, _, err = one.finish()
    assert (code, err) == (0, "")
    assert [run.status().state for run in run_dirs()] == ["complete"] * 4
    assert [run.status().attempt for run in run_dirs()] == [1] * 4
    for run in run_dirs():
        steps = [row["step"] for row in run.read_metrics().rows if "train/loss" in row]
        assert steps == list(range(1, 11)), "no step is trained twice"
    assert len(trials("COMPLETE")) == 4


def test_ctrl_c_stops_all_and_the_same_command_goes_on(write_study, command, study):
    name = write_study()
    one = command(name, "--workers", "2", FAKE_PAUSE="200")
    until(lambda: sum(bool(run.read_metrics().rows) for run in run_dirs()) == 2)
    one.signal(signal.SIGINT)
    code, out, err = one.finish()
    assert (code, err) == (130, "")
    assert "Stopped with 0 of 4 runs done" in out
    assert [run.status().state for run in run_dirs()] == ["interrupted"] * 2
    assert not any(run.alive() for run in run_dirs())
    assert study(name) == 0


def test_workers_stop_when_the_first_process_is_killed(write_study, command):
    one = command(write_study(), "--workers", "2", FAKE_PAUSE="200")
    until(begun)
    one.signal(signal.SIGKILL)
    one.finish()
    until(lambda: not any(run.alive() for run in run_dirs()))
    assert {run.status().state for run in run_dirs()} == {"interrupted"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"],
         "--workers must be auto (one for each GPU or core) or a number of at least 1, not '0'"),
        (["--workers", "many"],
         "--workers must be auto (one for each GPU or core) or a number of at least 1, not 'many'"),
        (["--processes", "0"],
         "--processes must be the number of processes that share each batch of a run, 1 or more, not 0"),
        (["--workers", "2", "--processes", "2"],
         "--workers and --processes both divide this machine: give only one of them"),
        (["--workers", "2", "--device", "cuda:1"],
         "several workers or processes take a GPU each: --device must be cpu or cuda, not cuda:1"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(write_study, study, capsys, options, said):
    assert study(write_study(), *options) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_each_worker_has_a_device(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert places("auto", "cuda", 2) == ["cuda:0", "cuda:1", "cuda:2"]
    assert places("2", "cuda", 2) == ["cuda:0", "cuda:1"]
    assert places("auto", "cpu", 1) == ["cpu"]
    assert places("auto", "cpu", 2) == ["cpu", "cpu"]
    assert places("auto", "cpu", 64) == ["cpu"] * 8
    assert places("2", "", 4) == ["", ""]
    with pytest.raises(UserError, match="4 workers need a GPU each; there are 3"):
        places("4", "cuda", 8)
