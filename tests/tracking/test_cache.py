"""What is kept beside runs is never believed when it is not what it was read from, and is never needed."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from finished_runs import finish
from synthetic import RATIOS, key_of, write_study

from workbench import stats
from workbench.answer.evidence import gather
from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.tasks import queries_of
from workbench.tracking.cache import computed, frames, queries, rows
from workbench.tracking.cache.computed import Computed
from workbench.tracking.cache.prepare import Keeper
from workbench.tracking.cache.rows import RowFile
from workbench.tracking.curves import load_curves
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import load_runs


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of 18 runs of which everything that is read is kept."""
    monkeypatch.setattr(rows, "WORTH_KEEPING", 1)
    monkeypatch.setattr(computed, "WORTH_KEEPING", 0.0)
    write_study(tmp_path, "ratios", RATIOS, baseline=RATIOS[0], steps=8)
    return tmp_path / "runs/ratios"


def seen(study):
    """All that hangs on the runs: table, values of queries, curves."""
    results = study.parents[1]
    evidence = gather(load(results, "ratios"), results)
    values = {f"{k}{s}": v.tolist() for k, runs in evidence.values.items() for s, v in runs.items()}
    names = sorted(path.name for path in study.glob("*-s*"))
    curves = load_curves(results, "ratios", names, ["val/t2v_r1"])
    return load_runs(results, "ratios").to_dicts(), values, evidence.groups, curves.rows()


def afresh(study):
    for path in study.glob(".*"):
        path.unlink()
    return seen(study)


def forget(monkeypatch):
    """From now on whoever opens a file of a run fails."""
    for name in ("read_arrays", "read_metrics", "flat_config"):
        monkeypatch.setattr(RunDir, name, lambda *_, **__: pytest.fail("a run was read again"))


def first_run(study):
    return RunDir(study / f"{key_of(RATIOS[0])}-s0")


def test_what_was_read_is_the_same_from_the_files_of_runs_and_from_what_was_kept(study, monkeypatch):
    before = seen(study)
    forget(monkeypatch)
    assert seen(study) == before


def test_a_run_that_ends_is_kept_by_the_process_that_ends_it(study, monkeypatch):
    before = afresh(study)
    for path in study.glob(".*"):
        path.unlink()
    keeper = Keeper(queries_of("t2v_r1"))
    for path in study.glob("*-s*"):
        keeper.ended(SimpleNamespace(directory=RunDir(path)), None, True)
    forget(monkeypatch)
    assert seen(study) == before


@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_that_has_changed_is_read_again(study, same_time):
    """Also where it has the size and the time of the old one: each file is a new one."""
    seen(study)
    run = first_run(study)
    for name in ("summary.json", "ranks.npz", "metrics.jsonl"):
        path = run.file(name)
        old = path.stat()
        copy = path.with_name("copy")
        shutil.copy(path, copy)
        os.replace(copy, path)
        if name == "ranks.npz":
            arrays = dict(np.load(path))
            np.savez(path, **arrays | {"t2v_rank": arrays["t2v_rank"][::-1]})
        else:
            path.write_text(path.read_text().replace("1", "2"))
        if same_time:
            assert path.stat().st_size == old.st_size
            os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    found = seen(study)
    assert found == afresh(study)
    assert found != seen_of_another(study)


def seen_of_another(study):
    """As `seen`, with the first run as it was written."""
    write_study(study.parents[1], "ratios", RATIOS[:1], (0,), baseline=RATIOS[0], steps=8)
    return afresh(study)


def test_half_a_file_and_another_file_are_as_good_as_none(study):
    before = seen(study)
    answer(load(study.parents[1], "ratios"), study.parents[1])
    kept = [p for p in study.glob(".*") if p.suffix in (".parquet", ".json", ".jsonl")]
    assert len(kept) >= 5
    for spoil in (lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"PAR1{}"):
        for path in kept:
            if path.exists():
                path.write_bytes(spoil(path.read_bytes()))
        assert seen(study) == before
        assert answer(load(study.parents[1], "ratios"), study.parents[1]).comparisons


def test_a_folder_that_one_may_only_read_is_read(study, monkeypatch):
    before = afresh(study)
    for path in study.glob(".*"):
        path.unlink()
    monkeypatch.setattr(rows, "try_lock", refuse)  # chmod would not stop root
    monkeypatch.setattr(rows, "_append", refuse)
    monkeypatch.setattr(computed, "write_atomic", refuse)
    monkeypatch.setattr(queries, "write_atomic", refuse)
    monkeypatch.setattr(frames, "write_atomic", refuse)
    assert seen(study) == before
    Keeper(queries_of("t2v_r1")).ended(SimpleNamespace(directory=first_run(study)), None, True)
    assert answer(load(study.parents[1], "ratios"), study.parents[1]).comparisons
    assert not [*study.glob(".*")]


def refuse(path, *_):
    raise PermissionError(f"{path} is read-only")


def test_who_writes_beside_others_loses_nothing_that_is_needed(study):
    """Rows that another one was just keeping may be missing; those that are there are right."""
    before = afresh(study)
    for path in study.glob(".*"):
        path.unlink()
    keeper = Keeper(queries_of("t2v_r1"))
    with ThreadPoolExecutor(4) as pool:
        ended = [SimpleNamespace(directory=RunDir(path)) for path in study.glob("*-s*")]
        list(pool.map(lambda lease: keeper.ended(lease, None, True), ended * 2))
        assert all(found == before for found in pool.map(seen, [study] * 4))
    assert not [*study.glob(".*.parquet.*")]  # nothing half-written is left


def test_a_tail_that_has_grown_is_joined_without_the_runs_that_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "TAIL", 3000)
    file = RowFile(tmp_path, "x", 1, {"text": pl.String()})
    for i in range(40):
        if i % 2:
            (tmp_path / f"r{i}").mkdir()
        file.add([{"run": f"r{i}", "signature": [i], "text": os.urandom(200).hex()}])
    file.add([{"run": "r39", "signature": [7], "text": "newer"}])
    with open(tmp_path / ".x.tail.jsonl", "a") as tail:
        tail.write('{"version": 1, "run": "r39", "sig')
    found = file.read()
    assert (tmp_path / ".x.parquet").exists()
    assert found["run"].is_unique().all()
    assert found.filter(run="r39")["text"].to_list() == ["newer"]
    assert "r0" not in found["run"].to_list()
    assert {f"r{i}" for i in range(1, 40, 2)} <= set(found["run"])
    assert RowFile(tmp_path, "x", 2, {"text": pl.String()}).read().is_empty()


def test_what_was_computed_counts_for_these_values_alone(study, monkeypatch):
    results = study.parents[1]
    before = answer(load(results, "ratios"), results)
    for name in ("compare_family", "factor_effects"):
        monkeypatch.setattr(stats, name, lambda *_, **__: pytest.fail("it was computed again"))
    again = answer(load(results, "ratios"), results)
    assert repr(again.comparisons) == repr(before.comparisons)
    assert repr(again.effects) == repr(before.effects)
    assert again.sentence == before.sentence
    finish_anew = first_run(study)
    arrays = dict(np.load(finish_anew.file("ranks.npz")))
    np.savez(finish_anew.file("ranks.npz"), **arrays | {"t2v_rank": arrays["t2v_rank"] + 1})
    with pytest.raises(pytest.fail.Exception):
        answer(load(results, "ratios"), results)


def test_nothing_but_records_of_the_package_is_made_of_what_was_kept(tmp_path):
    kept = Computed(stats, tmp_path)
    assert kept.of("x", 1, lambda: 5) == 5
    for what in ("subprocess:Popen", "workbench.stats:iqm", "os:system", "workbench.tracking.files:Lock"):
        with pytest.raises((ValueError, KeyError, AttributeError)):
            computed._restored({"is": what, "of": {}}, "workbench.stats")
    path = Path(tmp_path / ".computed-x.json")
    path.write_text(json.dumps({"digest": 1}))
    assert kept._read(path) == {}


def test_only_what_has_changed_is_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(computed, "WORTH_KEEPING", 0.0)
    asked = []

    def doubled(names):
        asked.append(names)
        return {name: 2 * parts[name] for name in names}

    parts = {"a": 1.0, "b": 2.0}
    for _ in range(2):
        assert Computed(stats, tmp_path).of_each("x", 0, parts, doubled) == {"a": 2.0, "b": 4.0}
    parts["b"] = 3.0
    assert Computed(stats, tmp_path).of_each("x", 0, parts, doubled) == {"a": 2.0, "b": 6.0}
    assert asked == [["a", "b"], ["b"]]


def test_a_run_that_goes_on_is_not_taken_for_ended(make_run, tmp_path):
    run = make_run(state="running")
    Keeper(None).ended(SimpleNamespace(directory=run), None, False)
    finish(run, 20)
    assert load_runs(tmp_path / "results", "mask")["state"].to_list() == ["complete"]


def test_a_table_that_is_kept_has_the_rows_alone_replaced_that_have_changed(study, monkeypatch):
    """In their places, whatever a record calls itself; a run with another field has all of it built again."""
    results, run = study.parents[1], first_run(study)
    load_runs(results, "ratios")
    for one, new in (
        (run, {"step": 7, "run": "z"}),
        (RunDir(study / f"{key_of(RATIOS[2])}-s1"), {"step": 7}),
    ):
        one.write_json("status.json", one.read_json("status.json") | new)
    with monkeypatch.context() as patch:
        patch.setattr("workbench.tracking.runs._frame", lambda _: pytest.fail("the table was built again"))
        found = load_runs(results, "ratios")
    assert found.filter(step=7).height == 2
    (study / ".built.parquet").unlink()
    assert found.equals(load_runs(results, "ratios"))
    run.write_json("summary.json", run.read_json("summary.json") | {"test/new": 0.5})
    assert load_runs(results, "ratios")["metric.test/new"].drop_nulls().to_list() == [0.5]
