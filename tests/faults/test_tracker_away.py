"""A tracker that is away, dies, hangs or refuses costs nothing; what it missed it gets later, once."""

import os
import shlex
import signal
import subprocess
import sys

import pytest
from quick import QuickStudy
from real import FULL, HERE, environment, record, until
from servers import PASSWORD, Refusing, Server, Silent, check, holdings, pasted

pytestmark = pytest.mark.timeout(900)
in_full = pytest.mark.skipif(not FULL, reason="only in full: make faults")


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "server")
    yield server
    server.kill()


@pytest.fixture
def quick(tmp_path):
    """A study of four quick runs; what it has started ends with the test."""
    study = QuickStudy(tmp_path / "results")
    yield study
    if study.process is not None and study.process.poll() is None:
        study.kill("runner", "fork_server", "run")


def away_lines(study):
    return [line for line in study.log.splitlines() if "is away" in line]


def secrets_in(folder):
    """Files in which the password stands."""
    wanted = PASSWORD.encode()
    return [path for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]


@in_full
def test_real_training_does_not_notice_that_the_tracker_is_away(tiny, undisturbed, server):
    assert tiny.run("--mlflow", server.address, "--seeds", "1") == 0, tiny.log
    assert len(away_lines(tiny)) == 1
    assert "2 runs are not in MLflow" in tiny.log
    wanted = {run.path.name: record(run) for run in undisturbed.directories()}
    assert {run.path.name: record(run) for run in tiny.directories()}.items() <= wanted.items()
    assert len(tiny.directories()) == 2


def test_away_for_good_the_study_is_whole_and_names_the_command_that_sends_it_later(quick, server):
    assert quick.run("--mlflow", server.address) == 0, quick.log
    assert quick.whole() == 4
    assert len(away_lines(quick)) <= 1, "said once, while it goes on"
    assert "(Connection refused)" in quick.log
    words = shlex.split(pasted(quick.log).replace("***", PASSWORD))
    assert secrets_in(quick.results) == []
    server.start()
    done = subprocess.run(
        [sys.executable, *words], cwd=HERE, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "4 runs are in MLflow\n"), done.stderr
    check(server.address, quick)
    assert secrets_in(quick.results) == []


@in_full
def test_away_at_the_start_and_back_later_it_gets_everything(quick, server):
    quick.variables["FAKE_PAUSE"] = "1"
    quick.start("--mlflow", server.address)
    until(lambda: away_lines(quick) and quick.run_process())
    held = quick.run_process()  # so that the study outlasts the start of the server on any machine
    os.kill(held, signal.SIGSTOP)
    server.start()
    os.kill(held, signal.SIGCONT)
    assert quick.process.wait(600) == 0, quick.log
    assert "not in MLflow" not in quick.log
    assert quick.whole() == 4
    check(server.address, quick)


@in_full
def test_killed_in_the_middle_the_same_command_sends_the_rest(quick, server):
    server.start()
    quick.variables["FAKE_PAUSE"] = "0.3"
    quick.start("--mlflow", server.address)
    until(lambda: [run for run in quick.directories() if run.file("mlflow.json").exists()])
    server.kill()
    assert quick.process.wait(600) == 0, quick.log
    assert quick.whole() == 4
    assert "not in MLflow" in quick.log
    server.start()
    assert quick.run("--mlflow", server.address) == 0, quick.log
    held = check(server.address, quick)
    assert quick.run("--mlflow", server.address) == 0
    assert holdings(server.address, quick.name) == held


@pytest.mark.parametrize("kind", [Silent, Refusing])
def test_one_that_never_answers_or_only_with_errors_holds_up_nothing(quick, kind):
    quick.variables["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"
    tracker = kind()
    try:
        assert quick.run("--mlflow", tracker.address, timeout=600) == 0, quick.log
    finally:
        tracker.close()
    assert quick.whole() == 4
    assert len(away_lines(quick)) <= 1
    assert "4 runs are not in MLflow" in quick.log
    assert ("too many 500 error responses" in quick.log) == (kind is Refusing)
    assert secrets_in(quick.results) == []
