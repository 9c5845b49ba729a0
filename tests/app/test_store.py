"""What the process keeps: computed once while runs go on, again when one has ended, and nobody is blocked."""

import json
import os
import threading
import time
from contextlib import contextmanager

import pytest
from reading import said
from synthetic import RATIOS, key_of

from app.runs import Runs
from app.store import Store
from workbench.tracking.run_dir import RunDir


@pytest.fixture
def looked(monkeypatch, results):
    """Looks at the study `ratios` anew at each call, always with the same store."""
    monkeypatch.setattr("app.store.REFRESH", 0.0)
    store = Store(results)
    return lambda: Runs.of(store, "ratios", ("ratios",))


def report(results, state, step):
    run = RunDir.of(results, "ratios", key_of(RATIOS[5]), 2)
    status = {"state": state, "step": step, "steps": 900, "seconds": 1.0, "updated": time.time()}
    run.file("status.json").write_text(json.dumps(status))
    return run


def test_a_run_that_goes_on_costs_no_new_answer_and_one_that_ends_does(ratios, looked):
    results = ratios()
    report(results, "running", 1)
    first = looked()
    answer = first.answer()
    report(results, "running", 22)
    second = looked()
    assert second.table.filter(state="running")["step"].item() == 22
    assert second.answer() is answer
    report(results, "failed", 23)
    assert looked().version != second.version
    assert looked().answer() is not answer


def test_the_curve_of_a_running_run_grows(ratios, looked):
    results = ratios()
    run = report(results, "running", 1)
    before = looked().curves([run.path.name], ["train/loss"]).height
    with open(run.file("metrics.jsonl"), "a") as file:
        file.write('{"step": 900, "train/loss": 1.0}\n')
    report(results, "running", 900)
    assert looked().curves([run.path.name], ["train/loss"]).height == before + 1


def test_what_study_json_says_anew_is_told(ratios, looked):
    results = ratios()
    assert looked().answer().asked.question == "How much should be hidden?"
    path = results / "runs/ratios/study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"question": "Another?"}))
    assert looked().answer().asked.question == "Another?"


def test_who_computes_one_thing_does_not_hold_up_another(tmp_path):
    store, begun, go_on = Store(tmp_path), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(20)
        return "slow"

    found = []
    ask = threading.Thread(target=lambda: found.append(store.kept("one", 1, slow)))
    ask.start()
    assert begun.wait(20)
    assert store.kept("two", 1, lambda: "quick") == "quick"
    go_on.set()
    ask.join(20)
    assert found == ["slow"]
    assert store.kept("one", 1, pytest.fail) == "slow"
    assert store.kept("one", 2, lambda: "new") == "new"


def test_what_is_missing_is_made_by_the_command_that_made_the_plan(ratios, opened):
    arguments = ["mask_ratio", "--budget", "2x", "--data", "folder:/own videos"]
    none = {(i, seed) for i in range(6) for seed in range(3)}
    results = ratios(skip=none, arguments=arguments)
    words = said(opened(view="effects"))
    command = (
        f"python -m workbench.study mask_ratio --budget 2x --data 'folder:/own videos' --results {results}"
    )
    assert command in words


def test_runs_without_a_description_are_not_called_no_runs(ratios, opened):
    results = ratios()
    os.unlink(results / "runs/ratios/study.json")
    page = opened(view="study")
    assert not page.exception
    assert "have no study.json" in page.warning[0].value.replace("\\", "")


def test_who_waits_is_told_so_once(looked, ratios, monkeypatch):
    told = []

    @contextmanager
    def spinner(text, **_):
        told.append(text)
        yield

    monkeypatch.setattr("app.runs.st.spinner", spinner)
    ratios()
    runs = looked()
    assert runs.kept("outer", lambda: runs.kept("inner", lambda: "made")) == "made"
    assert runs.kept("outer", pytest.fail) == "made"
    assert told == ["Reading the runs …", "Comparing the runs …"]
    runs.kept("other", lambda: None)
    assert told[2:] == ["Comparing the runs …"]
