"""`python -m workbench.tracking import` brings MLflow to what the run directories say, exactly once."""

import io
import os
import random
import shutil
import signal
import sqlite3
import sys
import time

import pytest
from quick import QuickStudy
from real import until
from servers import PASSWORD, Refusing, check, free_port, holdings

from workbench.addresses import sqlite
from workbench.tracking.__main__ import main
from workbench.tracking.mlflow import Mirror

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of four runs that no tracker has seen, and an empty MLflow database."""
    study = QuickStudy(tmp_path_factory.mktemp("done") / "results")
    assert study.run("--mlflow", "none") == 0, study.log
    Mirror(study.results)
    return study


@pytest.fixture
def study(done, tmp_path):
    """A copy of it of one's own, as from another machine."""
    return copied(done, tmp_path / "results")


def copied(study, results):
    shutil.copytree(study.results, results)
    return QuickStudy(results)


def runs_of(study):
    return str(study.results / "runs")


def imported(study, *paths):
    words = [*paths] or [runs_of(study)]
    return main(["import", *words, "--results", str(study.results)])


def store(study):
    return sqlite(study.results / "mlflow.db")


def test_twice_is_as_once(study):
    assert imported(study) == 0
    held = check(store(study), study)
    assert all(len(run["curves"]["train/loss"]) == 10 for run in held.values())
    for _ in range(2):
        assert imported(study, runs_of(study), runs_of(study)) == 0
        assert holdings(store(study), study.name) == held


def test_a_lost_database_comes_back_with_equal_numbers(study, tmp_path):
    assert imported(study) == 0
    held = check(store(study), study)
    later = copied(study, tmp_path / "later")  # elsewhere, since MLflow keeps open what it once opened
    (later.results / "mlflow.db").unlink()
    assert imported(later) == 0
    assert holdings(store(later), study.name) == held


def test_directories_from_another_machine_arrive_once(study, tmp_path):
    assert imported(study) == 0
    elsewhere = copied(study, tmp_path / "elsewhere")
    (elsewhere.results / "mlflow.db").unlink()
    shutil.rmtree(elsewhere.results / "mlartifacts")
    assert imported(elsewhere) == 0
    held = check(store(elsewhere), elsewhere)
    assert imported(elsewhere, runs_of(study)) == 0, "the same runs by another path"
    assert holdings(store(elsewhere), study.name) == held
    assert check(store(study), study).keys() == held.keys()


def test_killed_again_and_again_it_completes_what_is_there(study):
    """SIGKILL at random moments, each a little later than the one before."""
    dice = random.Random(5)
    kills = 0
    for points in (0, 0, 1, 60, 61, 120):
        child = forked_import(study)
        until(lambda at_least=points, pid=child: count_points(study) >= at_least or ended(pid))
        time.sleep(dice.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert kills >= 3
    assert imported(study) == 0
    held = check(store(study), study)
    assert imported(study) == 0
    assert holdings(store(study), study.name) == held


def forked_import(study):
    """The command in a process that has its imports behind it; no time is lost on them."""
    if (child := os.fork()) != 0:
        return child
    try:
        os._exit(imported(study))
    finally:
        os._exit(70)


def ended(child):
    """Whether a process is over; it stays there to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def count_points(study):
    with sqlite3.connect(study.results / "mlflow.db", timeout=60) as database:
        return database.execute("select count(*) from metrics").fetchone()[0]


def test_half_a_file_in_the_store_is_replaced(study):
    assert imported(study) == 0
    [half, *_] = sorted(study.results.glob("mlartifacts/**/ranks.npz"))
    half.write_bytes(half.read_bytes()[:100])
    assert imported(study) == 0
    check(store(study), study)


def test_a_damaged_run_is_named_and_stops_no_other(study, capsys):
    [first, second, *_] = study.directories()
    first.file("status.json").write_text('{"state": "comp')
    second.file("status.json").unlink()
    assert imported(study) == 2
    out, err = capsys.readouterr()
    assert out == "2 runs are in MLflow\n"
    assert err.count("\n") == 2
    assert f"error: {first.path} was not sent: {first.path / 'status.json'} is not readable JSON" in err
    assert f"error: {second.path} was not sent: " in err
    assert len(holdings(store(study), study.name)) == 2


@pytest.mark.parametrize("place", ["nowhere", "empty", "file.txt"])
def test_what_is_no_run_is_refused_in_one_sentence(place, study, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    assert imported(study, str(tmp_path / place)) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: there is no run directory at or below {tmp_path / place}\n")


def test_progress_is_shown_on_a_terminal(study, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert imported(study) == 0
    assert "4/4" in screen.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("kind", ["closed", "refusing", "no such driver", "no such folder"])
def test_a_store_that_is_away_is_one_sentence_without_the_password(kind, study, capsys):
    refusing = Refusing()
    address = {
        "closed": f"http://me:{PASSWORD}@127.0.0.1:{free_port()}",
        "refusing": refusing.address,
        "no such driver": f"nodb://me:{PASSWORD}@127.0.0.1/mlflow",
        "no such folder": f"sqlite:////proc/none/mlflow.db?password={PASSWORD}",
    }[kind]
    try:
        code = main(["import", runs_of(study), "--results", str(study.results), "--mlflow", address])
    finally:
        refusing.close()
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("error: MLflow at ")
    assert err.endswith("repeat the same command when it is back\n")
    assert err.count("\n") == 1
    assert PASSWORD not in err
    assert "***" in err
    assert not list(study.results.rglob("mlflow.json"))
