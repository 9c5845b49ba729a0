"""The tracker's store is lost, replaced, or not what it seems: the same command sends everything again."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support import Command, run_dirs

from workbench.tracking.__main__ import main
from workbench.tracking.forward import unsent
from workbench.tracking.mlflow import Mirror

STORE = Path("results/mlflow.db")


@pytest.fixture
def whole(write_study, study):
    """A complete study of four runs that MLflow has."""
    name = write_study(hidden=(0.0,))
    assert study(name, "--seeds", "2", mlflow="") == 0
    assert sent() == 4
    return name


def sent():
    """How many runs the store has. Read by hand: MLflow keeps a file open that was deleted."""
    with sqlite3.connect(STORE) as database:
        [(count,)] = database.execute("select count(*) from runs where lifecycle_stage = 'active'")
    database.close()
    return count


def replaced(runs=0):
    """A new store in the place of the one that had the runs, with as many of them."""
    STORE.unlink()
    words = [sys.executable, "-c", REBUILD, *(str(run.path) for run in run_dirs()[:runs])]
    subprocess.run(words, check=True, timeout=120)
    assert sent() == runs


REBUILD = """
import sys
from pathlib import Path
from workbench.tracking.mlflow import Mirror
from workbench.tracking.run_dir import RunDir

mirror = Mirror(Path("results"))
for path in sys.argv[1:]:
    mirror.sync(RunDir(path))
"""


@pytest.mark.parametrize("runs", [0, 1], ids=["empty", "with one run, as a killed rebuild leaves it"])
def test_a_new_store_in_the_place_of_a_lost_one_gets_everything(whole, runs):
    replaced(runs)
    code, _, err = Command(whole, "--seeds", "2").finish()
    assert code == 0
    assert "warning" not in err
    assert sent() == 4


def test_reconcile_sends_what_the_store_lacks_and_says_so(whole):
    replaced()
    code, out, _ = Command(whole, "--seeds", "2", "--reconcile").finish()
    assert (code, out) == (0, "MLflow: 4 runs were missing, sent\n")
    assert sent() == 4
    code, out, _ = Command(whole, "--seeds", "2", "--reconcile").finish()
    assert (code, out) == (0, "nothing to repair\n")


def test_a_second_failure_is_sent_though_the_first_one_was(whole):
    run = run_dirs()[0]
    run.set_status("failed", failure="error", reason="the first")
    mirror = Mirror(Path("results"))
    mirror.sync(run)
    assert unsent([run], Path("results")) == []
    identity = run.identity() | {"token": "another", "attempt": 2}
    run.write_json("run.json", identity)
    run.set_status("failed", failure="error", reason="the second")
    assert [found.path for found in unsent([run], Path("results"))] == [run.path]


def test_import_into_optuna_s_database_is_refused_and_changes_nothing(whole, capsys):
    before = tables("results/optuna.db")
    address = f"sqlite:///{Path('results/optuna.db').resolve()}"
    assert main(["import", "results/runs", "--results", "results", "--mlflow", address]) == 2
    assert "a database each" in capsys.readouterr().err
    assert tables("results/optuna.db") == before


def test_optuna_in_mlflow_s_database_is_refused_without_a_tracker_too(whole, study, capsys):
    before = tables(STORE)
    assert study(whole, "--status", "--storage", f"sqlite:///{STORE.resolve()}") == 2
    assert "a database each" in capsys.readouterr().err
    assert tables(STORE) == before


def test_import_into_tables_of_somebody_else_is_one_sentence(whole, capsys, tmp_path):
    shutil.copy("results/optuna.db", tmp_path / "copy.db")
    words = ["import", "results/runs", "--results", "results", "--mlflow", f"sqlite:///{tmp_path}/copy.db"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "is away" in err
    assert "Traceback" not in err


def test_import_to_nowhere_is_refused(whole, capsys):
    assert main(["import", "results/runs", "--results", "results", "--mlflow", "none"]) == 2
    assert "--mlflow must name a store, not be none" in capsys.readouterr().err
    Path("file").write_text("")
    assert main(["import", "results/runs", "--results", "file"]) == 2
    assert "must be a folder" in capsys.readouterr().err


def test_an_optuna_storage_of_another_version_is_one_sentence(whole, study, capsys):
    with sqlite3.connect("results/optuna.db") as database:
        database.execute("update alembic_version set version_num = 'v3.0.0.d'")
    database.close()
    assert study(whole, "--status") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: cannot open the Optuna storage sqlite:///")
    assert err.count("\n") == 1


def test_a_torn_description_does_not_stop_a_smoke_test(whole, study):
    described = Path("results/runs/fake/study.json")
    described.write_text('{"smoke": fal')
    assert study(whole, "--smoke") == 0
    assert json.loads(described.read_text())["smoke"] is True


def tables(path):
    with sqlite3.connect(path) as database:
        found = database.execute("select name from sqlite_master where type = 'table'").fetchall()
    database.close()
    return sorted(name for (name,) in found)


def test_a_score_that_is_no_number_is_not_taken_into_a_new_storage(whole, study, capsys):
    Path("results/optuna.db").unlink()
    run = run_dirs()[0]
    run.file("summary.json").write_text('{"val/t2v_r1": NaN, "test/t2v_r1": NaN}')
    capsys.readouterr()
    assert study(whole, "--seeds", "2", "--reconcile") == 0
    assert capsys.readouterr().out.count("was complete, now entered") == 3
