"""A study runs what is missing, survives what happens to its runs, and goes on where it stopped."""

import os
import re
import shutil
import signal
import sqlite3
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from support import begun, run_dirs, starts, until

from workbench.report.__main__ import main as report
from workbench.runner import work as runner
from workbench.tracking.forward import unsent
from workbench.tracking.run_dir import RunDir


def trials(state=None, study="fake"):
    found = optuna.load_study(study_name=study, storage="sqlite:///results/optuna.db").get_trials()
    return [t for t in found if state is None or t.state.name == state]


def test_a_study_runs_every_cell_and_says_what_it_found(write_study, study, capsys):
    assert study(write_study()) == 0
    out = capsys.readouterr().out
    assert "4 runs: 4 cells x 1 seeds" in out
    assert "[4/4] hidden=0.5 words=replace seed 0" in out
    assert "Answer: Best on val: hidden=0.5 words=drop, with text-to-video R@1 of " in out
    assert "Look further:\n  workbench dash\n" in out
    assert [run.status().state for run in run_dirs()] == ["complete"] * 4
    assert {t.user_attrs["cell"] for t in trials("COMPLETE")} == {
        f"hidden={hidden} words={words}" for hidden in (0.0, 0.5) for words in ("drop", "replace")
    }
    done = trials("COMPLETE")[0]
    assert done.params == {"hidden": 0.0, "words": "drop"}
    assert done.value == pytest.approx(RunDir(_directory(done)).summary()["val/t2v_r1"])
    assert done.user_attrs["test/t2v_r1"] == pytest.approx(done.value)


def _directory(trial):
    return Path("results/runs/fake") / f"{trial.user_attrs['key']}-s{trial.user_attrs['seed']}"


def test_a_second_call_trains_nothing_and_prints_the_same_table(write_study, study, capsys):
    name = write_study()
    study(name)
    first = capsys.readouterr().out
    assert study(name) == 0
    second = capsys.readouterr().out
    assert set(starts().values()) == {1}
    assert second.strip() == first[first.index("fake: How much?") :].strip()


def test_more_seeds_run_only_what_is_missing(write_study, study, capsys):
    name = write_study()
    study(name)
    capsys.readouterr()
    assert study(name, "--seeds", "2") == 0
    assert "4 of 8 runs were done; going on with run 5" in capsys.readouterr().out
    assert list(starts().values()) == [1] * 8


def test_another_budget_lives_beside_the_first_one(write_study, study, capsys):
    name = write_study()
    study(name)
    assert study(name, "--budget", "2x") == 0
    assert "4 complete runs of this study belong to other plans" in capsys.readouterr().out


def test_runs_of_a_smoke_test_are_not_taken_for_those_of_another_plan(write_study, study, capsys):
    name = write_study()
    assert study(name, "--smoke") == 0
    smoke = "This is a smoke test: it tries the whole path and answers nothing."
    assert f"Answer: {smoke}" in capsys.readouterr().out
    assert report([name]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(smoke)
    assert report([name, "--share", "one.html"]) == 0
    assert smoke in Path("one.html").read_text()
    capsys.readouterr()
    assert smoke in Path(f"results/reports/{name}-smoke/answer.md").read_text()
    assert study(name, "--seeds", "1") == 0
    assert smoke not in capsys.readouterr().out
    assert study(name, "--seeds", "1", "--status") == 0
    for text in (capsys.readouterr().out, Path(f"results/reports/{name}/answer.md").read_text()):
        assert "4 complete runs of this study are of a smoke test, which answers nothing." in text
        assert "other plans" not in text
    assert len(starts()) == 8


def test_axes_may_gain_choices_between_two_calls(write_study, study):
    study(write_study())
    assert study(write_study(hidden=(0.0, 0.5, 0.9))) == 0
    assert list(starts().values()) == [1] * 6
    assert sorted(t.params["hidden"] for t in trials("COMPLETE")) == [0.0, 0.0, 0.5, 0.5, 0.9, 0.9]


def test_a_failing_cell_stops_no_other_and_is_shown_as_a_gap(write_study, study, capsys):
    name = write_study(lr="{0.0: 2e-3, 0.5: 3e-3, 0.7: 5e-3}.get(hidden, 1e-3)", hidden=(0.0, 0.5, 0.7, 0.9))
    assert study(name) == 3
    out = capsys.readouterr().out
    assert "failed (not_finite: the loss vtc is not finite at step 5)" in out
    assert "failed; will be tried again (error: RuntimeError: something broke)" in out
    assert "[8/8] hidden=0.7 words=replace seed 0  failed (killed: ended by SIGKILL)" in out
    assert "hidden=0.0 words=drop seed 0 failed after 1 attempt: the loss vtc is not finite" in out
    assert "6 of 8 runs failed" in out
    assert sorted(starts().values()) == [1, 1, 1, 1, 2, 2, 3, 3]
    assert study(name) == 3
    assert sorted(starts().values()) == [1, 1, 1, 1, 2, 2, 3, 3], "given up means given up"
    assert study(name, "--retry") == 3
    assert sorted(starts().values()) == [1, 1, 2, 2, 4, 4, 6, 6]


def test_a_run_that_fails_once_is_tried_again(write_study, study, capsys):
    assert study(write_study(lr="6e-3 if hidden and words == 'drop' else 1e-3")) == 0
    assert sorted(starts().values()) == [1, 1, 1, 2]
    attempts = [run.status().attempt for run in run_dirs()]
    assert sorted(attempts) == [1, 1, 1, 2]
    assert [run.identity()["attempt"] for run in run_dirs()] == attempts


def test_a_run_without_progress_is_killed(write_study, study, capsys, monkeypatch):
    monkeypatch.setattr(runner, "HUNG_SAVE_TIMEOUT", 0.2)
    name = write_study(hidden=(0.0,), lr="4e-3 if words == 'drop' else 1e-3")
    assert study(name, "--deadline", "1") == 3
    assert "failed (hang: no progress within the deadline)" in capsys.readouterr().out


def test_ctrl_c_saves_the_run_and_the_same_command_goes_on(write_study, command, study, capsys):
    name = write_study()
    stopped = command(name, FAKE_PAUSE="200", FAKE_QUICK="1")
    until(lambda: sum(bool(r.read_metrics().rows) for r in run_dirs()) == 2)
    stopped.signal(signal.SIGINT)
    code, out, err = stopped.finish()
    assert (code, err) == (130, "")
    assert "Stopped with 1 of 4 runs done. The same command goes on from here." in out
    assert sorted(r.status().state for r in run_dirs()) == ["complete", "interrupted"]
    assert len(trials("WAITING")) == 3
    assert study(name) == 0
    assert "1 of 4 runs were done; going on with run 2" in capsys.readouterr().out
    assert [t.state.name for t in trials()] == ["COMPLETE"] * 4
    for run in run_dirs():
        steps = [row["step"] for row in run.read_metrics().rows if "train/loss" in row]
        assert steps == list(range(1, 11))
        assert run.status().attempt == 1, "an interruption costs no attempt"


def test_a_killed_study_lets_its_run_save_and_the_next_call_repairs_the_ledger(
    write_study, command, study, capsys
):
    name = write_study()
    killed = command(name, FAKE_PAUSE="200")
    until(begun)
    killed.signal(signal.SIGKILL)
    killed.finish()
    [run] = run_dirs()
    until(lambda: not run.alive())
    assert run.status().state == "interrupted"
    assert len(trials("RUNNING")) == 1
    assert study(name) == 0
    out = capsys.readouterr().out
    assert "its process is gone, back in the queue" in out
    assert len(trials("RUNNING")) == 0
    assert len(trials("COMPLETE")) == 4
    assert [t.user_attrs["failure"] for t in trials("FAIL")] == ["lost"]


def test_a_run_that_completed_without_its_study_is_taken_over(write_study, study, command):
    name = write_study()
    study(name)
    for file in Path("results").glob("optuna.db*"):
        file.unlink()
    assert study(name) == 0
    assert set(starts().values()) == {1}
    assert len(trials("COMPLETE")) == 4
    assert trials("COMPLETE")[0].params


def test_deleting_a_run_directory_asks_for_the_run_anew(write_study, study):
    name = write_study()
    study(name)
    shutil.rmtree(run_dirs()[0].path)
    assert study(name) == 0
    assert list(starts().values()) == [1] * 4


def test_two_commands_at_once_share_the_work(write_study, command):
    name = write_study()
    both = [command(name, "--seeds", "2", FAKE_PAUSE="0.05") for _ in range(2)]
    results = [one.finish() for one in both]
    assert [(code, err) for code, _, err in results] == [(0, ""), (0, "")]
    assert list(starts().values()) == [1] * 8
    assert len(trials("COMPLETE")) == 8
    assert len(trials()) == 8
    tables = [out[out.index("fake: How much?") :] for _, out, _ in results]
    assert tables[0] == tables[1]


def test_a_second_command_takes_over_when_the_first_is_killed(write_study, command):
    name = write_study(hidden=(0.0,))
    first = command(name, FAKE_PAUSE="200")
    until(begun)
    second = command(name, FAKE_PAUSE="0.01")
    until(lambda: len(trials("COMPLETE")) == 1)
    first.signal(signal.SIGKILL)
    code, out, err = second.finish()
    assert (code, err) == (0, "")
    assert "1 run of this study is in the hands of another process; waiting for it" in out
    assert len(trials("COMPLETE")) == 2


def test_plan_and_status_write_nothing(write_study, study, place, capsys):
    name = write_study()
    assert study(name, "--plan") == 0
    assert study(name, "--status") == 0
    out = capsys.readouterr().out
    assert "4 cells x 1 seeds = 4 runs; 4 left" in out
    assert "4 runs expected: 4 missing." in out
    assert not (place / "results").exists()


def test_the_plan_knows_how_long_seconds_take_before_anything_ran(write_study, study, capsys):
    name = write_study()
    assert study(name, "--plan", "--budget", "120seconds") == 0
    assert "4 left, about 8 min." in capsys.readouterr().out


def test_status_tells_done_from_failed(write_study, study, capsys):
    name = write_study(lr="2e-3 if hidden and words == 'drop' else 1e-3")
    study(name)
    capsys.readouterr()
    study(name, "--status", "--seeds", "2")
    out = capsys.readouterr().out
    assert "8 runs expected: 3 complete, 1 failed, 4 missing." in out
    study(name, "--plan")
    assert "a run takes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no study 'nothing'; there are "),
        (["../fake"], "no study '../fake'"),
        (["fake", "--seeds", "x"], "--seeds must be a number of seeds"),
        (["fake", "--budget", "much"], "--budget must be a factor"),
        (["fake", "--data", "nonsense"], "no data set 'nonsense'"),
        (["fake", "--data", "folder"], "own videos need a place"),
        (["fake", "--device", "toaster"], "--device must be"),
        (["fake", "--dry-run"], '--dry-run prints what --slurm "OPTIONS" would submit'),
        (["fake", "--slurm", ""], "--slurm must hold options of sbatch"),
        (["fake", "--deadline", "0"], "--deadline"),
        (["fake", "--plan", "--status"], "give only one of --plan and --status"),
        (["fake", "--smoke", "--quick"], r"--smoke \(a small test of the whole path\) or --quick \(one seed"),
        (["fake", "--results", "studies/fake.py"], "must be a folder"),
        (["fake", "--storage", "sqlite:///x.db", "--mlflow", "sqlite:////{here}/x.db"], "a database each"),
        (["fake", "--storage", "nodb://u:secret@h/x"], r"cannot open the Optuna storage nodb://u:\*\*\*@h/x"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, message, write_study, study, place, capsys):
    write_study()
    arguments = [a.replace("{here}", str(place).lstrip("/")) for a in arguments]
    assert study(*arguments, mlflow="" if "--mlflow" in arguments else "none") == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "secret" not in err
    assert not list(Path("results").glob("runs/*/*"))


def test_a_full_disk_stops_the_study_and_costs_no_attempt(write_study, study, capsys, monkeypatch):
    name = write_study(hidden=(0.0,))
    original = RunDir.write_config

    def full(self, config):
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(RunDir, "write_config", full)
    assert study(name) == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.setattr(RunDir, "write_config", original)
    assert study(name) == 0
    assert [t.state.name for t in trials()] == ["COMPLETE"] * 2


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(write_study, study, capsys):
    assert study(write_study(), "--device", "cuda:99") == 2
    assert capsys.readouterr().err.startswith("error: device 'cuda:99' is not usable here")
    assert not Path("results").exists()
    assert study("fake", "--plan", "--device", "cuda:99") == 0
    assert capsys.readouterr().err.startswith("warning: device 'cuda:99' is not usable here")


def test_a_run_that_is_refused_before_it_begins_stops_the_study_and_costs_no_attempt(
    write_study, study, capsys, monkeypatch
):
    name = write_study(hidden=(0.0,))
    monkeypatch.setenv("FAKE_REFUSAL", "1")
    assert study(name) == 2
    assert capsys.readouterr().err.startswith("error: the data in frames.npy have changed")
    monkeypatch.delenv("FAKE_REFUSAL")
    assert study(name) == 0
    assert [t.state.name for t in trials()] == ["COMPLETE"] * 2


def test_when_the_fork_server_dies_its_run_goes_on_and_is_taken_over(write_study, command, study):
    name = write_study(hidden=(0.0,))
    first = command(name, FAKE_PAUSE="200", FAKE_HURRY="hurry")
    until(begun)
    os.kill(fork_server_of(first.process.pid), signal.SIGKILL)
    code, _, err = first.finish()
    assert code == 2
    assert err.startswith("error: the process that starts runs has died (exit code -9)")
    assert run_dirs()[0].alive()
    Path("hurry").touch()
    assert study(name) == 0
    assert list(starts().values()) == [1, 1]
    assert [t.state.name for t in trials()] == ["COMPLETE"] * 2


def fork_server_of(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    [fork_server] = [c for c in children if b"fork_server" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return int(fork_server)


def test_mlflow_holds_the_study_and_is_brought_up_to_date_by_the_next_call(write_study, study, capsys):
    name = write_study(hidden=(0.0,))
    study(name, mlflow="none")
    assert study(name, "--seeds", "2", mlflow="") == 0
    assert "warning" not in capsys.readouterr().err  # on a busy machine it may say that it is sending
    client = MlflowClient(f"sqlite:///{Path('results/mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("fake")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted((r.data.tags["wb.cell"], r.data.tags["wb.seed"]) for r in runs) == [
        (f"hidden=0.0 words={words}", seed) for words in ("drop", "replace") for seed in ("0", "1")
    ]
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert unsent(run_dirs(), Path("results")) == []


def test_the_ledger_is_readable_by_others_and_holds_no_lock(write_study, study):
    study(write_study())
    with sqlite3.connect("results/optuna.db") as database:
        assert database.execute("select count(*) from trials").fetchone() == (4,)
    assert not any(run.alive() for run in run_dirs())
    assert os.path.getsize("results/runs/fake/study.json") > 0


@pytest.mark.parametrize("look", ["--status", "--plan"])
def test_who_only_looks_writes_nothing(write_study, study, capsys, look):
    name = write_study()
    assert study(name, look) == 0
    assert not os.path.exists("results"), "not even the folder"
    assert study(name) == 0
    for leftover in (".identity", ".optuna.lock"):
        os.unlink(f"results/{leftover}")
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")}
    capsys.readouterr()
    assert study(name, look) == 0
    assert "4 complete" in capsys.readouterr().out or look == "--plan"
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")} == before
