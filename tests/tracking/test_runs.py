"""The run table is complete, right and quick."""

import json
import shutil

import polars as pl
import pytest
from finished_runs import finish, train

from workbench.errors import UserError
from workbench.tracking.curves import load_curves
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import COLUMNS, RunTable, load_runs


def test_one_row_a_run_with_all_that_is_known(make_run, tmp_path):
    make_run(seed=1, lr=1e-2)
    make_run(seed=0, lr=1e-3, state="failed")
    table = load_runs(tmp_path / "results", "mask").sort("seed")
    assert table["state"].to_list() == ["failed", "complete"]
    assert table["failure"].to_list() == ["error", None]
    row = table.row(1, named=True)
    assert (row["study"], row["cell"], row["seed"], row["attempt"]) == ("mask", "lr=0.01", 1, 1)
    assert row["axis.lr"] == 0.01
    assert row["config.optim.lr"] == 0.01
    assert row["config.stages.0.budget.amount"] == 20
    assert row["metric.test/t2v_r1"] == 40.0
    assert row["env.precision"] == "float32"
    assert row["steps"] == 20


def test_an_empty_folder_gives_an_empty_table_with_its_columns(tmp_path):
    for table in (load_runs(tmp_path), load_runs(tmp_path / "nowhere", "mask")):
        assert table.height == 0
        assert table.columns == list(COLUMNS)


def test_what_changes_is_read_again_and_the_rest_comes_from_the_cache(make_run, tmp_path, monkeypatch):
    runs = [make_run(seed=seed, state="running") for seed in range(3)]
    results = tmp_path / "results"
    load_runs(results)
    read = []
    monkeypatch.setattr(RunDir, "flat_config", lambda self: read.append(self.path.name) or {})
    finish(runs[1], 20)
    assert load_runs(results)["state"].to_list() == ["running", "complete", "running"]
    assert read == [runs[1].path.name]
    shutil.rmtree(runs[0].path)
    assert load_runs(results).height == 2


def test_a_damaged_cache_or_run_does_not_hide_the_others(make_run, tmp_path):
    run, other = make_run(seed=0), make_run(seed=1)
    results = tmp_path / "results"
    load_runs(results)
    for kept in run.path.parent.glob(".table*"):
        kept.write_text("{")
    other.file("summary.json").write_text("{")
    table = load_runs(results).sort("run")
    assert table["state"].to_list() == ["complete", "unreadable"]
    assert "summary.json is not readable" in table["reason"][1]


def test_a_column_of_words_and_numbers_becomes_words(make_run, tmp_path):
    make_run(seed=0, axes={"x": 0.5, "on": True})
    make_run(seed=1, axes={"x": "tube", "on": None})
    table = load_runs(tmp_path / "results").sort("seed")
    assert table["axis.x"].to_list() == ["0.5", "tube"]
    assert table["axis.on"].to_list() == [True, None]


def test_all_studies_come_in_one_table(make_run, tmp_path):
    make_run(study="one")
    make_run(study="two", lr=0.5)
    table = load_runs(tmp_path / "results")
    assert sorted(table["study"].to_list()) == ["one", "two"]
    with pytest.raises(UserError):
        load_runs(tmp_path / "results", "../x")


def test_who_looks_again_reads_only_what_has_changed(make_run, tmp_path):
    first = make_run()
    table = RunTable(tmp_path / "results", "mask")
    before = table.read()
    assert table.read() is before
    second = make_run(lr=0.5)
    after = table.read()
    assert sorted(after["run"].to_list()) == sorted([first.path.name, second.path.name])
    assert after.equals(load_runs(tmp_path / "results", "mask"))
    shutil.rmtree(second.path)
    assert table.read()["run"].to_list() == [first.path.name]


def test_curves_come_in_long_form_without_doubled_steps(make_run, tmp_path):
    run = make_run(steps=10, state="running")
    train(run, 8, 12)
    with open(run.file("metrics.jsonl"), "a") as file:
        file.write('{"step": 13, "trai')
    curves = load_curves(tmp_path / "results", "mask")
    assert curves.columns == ["run", "step", "seconds", "pflops", "metric", "value"]
    assert curves["step"].to_list() == list(range(1, 13))
    assert set(curves["metric"]) == {"train/loss"}
    assert curves.row(3)[1:] == (4, 2.0, 0.004, "train/loss", 0.25)


def test_long_curves_are_thinned_and_keep_their_ends(make_run, tmp_path):
    run = make_run(steps=1000)
    curves = load_curves(tmp_path / "results", "mask", [run.path.name], ["train/loss"], points=50)
    assert 50 <= curves.height <= 51
    assert (curves["step"][0], curves["step"][-1]) == (1, 1000)


def test_thousands_of_runs_come_alike_from_files_and_from_the_cache(make_run, tmp_path):
    model = make_run()
    folder = model.path.parent
    identity = model.identity()
    for i in range(1, 3000):
        path = folder / f"{i:012x}-s0"
        path.mkdir()
        for name in ("config.json", "status.json", "summary.json", "environment.json"):
            (path / name).hardlink_to(model.path / name)
        (path / "run.json").write_text(json.dumps(identity | {"key": f"{i:012x}"}))
    first = load_runs(tmp_path / "results")
    again = load_runs(tmp_path / "results")
    assert first.height == 3000
    assert first.equals(again)
    assert isinstance(first.schema["metric.test/t2v_r1"], pl.Float64)


def test_rows_are_not_kept_anew_for_every_sign_of_life(make_run, tmp_path, monkeypatch):
    run = make_run(state="running")
    table, kept = RunTable(tmp_path / "results", "mask"), run.path.parent / ".table.tail.jsonl"
    table.read()
    first = kept.stat().st_mtime_ns
    for step in (1, 2):
        run.write_json("status.json", {"state": "running", "step": step})
        assert table.read()["step"].to_list() == [step]
    assert kept.stat().st_mtime_ns == first
    monkeypatch.setattr("workbench.tracking.runs.SAVE_SECONDS", 0.0)
    table.read()
    newest = json.loads(kept.read_text().splitlines()[-1])
    assert json.loads(newest["row"])["step"] == 2
    assert [path.name for path in run.path.parent.glob(".table*")] == [kept.name]


def test_only_runs_that_end_change_the_digest(make_run, tmp_path):
    make_run(seed=0)
    run = make_run(seed=1, state="running")
    table = RunTable(tmp_path / "results", "mask")
    table.read()
    before = table.ended
    run.write_json("status.json", {"state": "running", "step": 7})
    table.read()
    assert table.ended == before
    run.write_json("status.json", {"state": "failed", "step": 7})
    table.read()
    assert table.ended != before


def test_a_run_that_goes_on_changes_its_row_and_nothing_else(make_run, tmp_path):
    runs = [make_run(seed=seed, state="running", axes={"x": seed or "none"}) for seed in range(3)]
    table = RunTable(tmp_path / "results", "mask")
    table.read()
    for step, state in ((7, "running"), (8, "running"), (9, "failed")):
        runs[1].write_json("status.json", {"state": state, "step": step, "steps": 20})
        assert table.read().equals(load_runs(tmp_path / "results", "mask"))
        assert table.read()["step"].to_list()[1] == step
