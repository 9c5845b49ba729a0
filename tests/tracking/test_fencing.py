"""MLflow holds what counts: nobody's older copy, nothing stale, nothing that the record does not say."""

import json
import threading

import numpy as np
import pytest
from finished_runs import finish, train
from mlflow import MlflowClient

from workbench.tracking.__main__ import main
from workbench.tracking.forward import Forwarder, unsent
from workbench.tracking.mlflow import Mirror


@pytest.fixture
def mirror(tmp_path, empty_store):
    """Of `here`; the run directories of `there` are another machine's, with the same store."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "mlflow.db").write_bytes(empty_store.read_bytes())
    return Mirror(here)


@pytest.fixture
def attempt(make_run, tmp_path):
    """One attempt of the same cell and seed, in the results folder of some machine."""

    def make(place, token, started, state="complete", value=40.0):
        run = make_run(results=tmp_path / place, state=state, token=token)
        if state == "complete":
            run.write_json("summary.json", {"test/t2v_r1": value})
        run.set_status(state, started=started)
        return run

    return make


def held(mirror):
    """All active MLflow runs of the study."""
    experiment = mirror._client.get_experiment_by_name("mask")
    return mirror._client.search_runs([experiment.experiment_id])


@pytest.mark.parametrize("state", ["interrupted", "running", "failed", "complete"])
def test_an_older_attempt_changes_nothing_of_a_complete_one(mirror, attempt, state):
    mirror.sync(attempt("there", "late", started=2000.0, value=55.0))
    older = attempt("here", "early", started=1000.0, state=state)
    mirror.sync(older)
    [run] = held(mirror)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.wb.token"] == "late"
    assert run.data.metrics["test/t2v_r1"] == 55.0
    assert unsent([older], mirror.results) == [], "and is not tried again and again"


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_a_later_attempt_takes_the_place_of_a_complete_one_only_when_it_is_complete(mirror, attempt, state):
    first = mirror.sync(attempt("here", "one", started=1000.0))
    mirror.sync(attempt("there", "two", started=2000.0, state=state))
    [run] = held(mirror)
    assert (run.info.run_id, run.info.status, run.data.metrics["test/t2v_r1"]) == (first, "FINISHED", 40.0)
    mirror.sync(attempt("there", "two", started=2000.0, value=55.0))
    [run] = held(mirror)
    assert (run.info.status, run.data.metrics["test/t2v_r1"]) == ("FINISHED", 55.0)
    assert run.data.tags["mlflow.wb.token"] == "two"
    assert mirror._client.get_run(first).info.lifecycle_stage == "deleted", "it can be restored"


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_a_complete_attempt_counts_before_one_that_began_later_by_a_wrong_clock(mirror, attempt, state):
    mirror.sync(attempt("there", "ahead", started=2000.0, state=state))
    complete = attempt("here", "right", started=1000.0, value=55.0)
    earlier_note = {"address": mirror.address, "state": "complete", "token": "right"}
    complete.write_json("mlflow.json", earlier_note)  # of a version that noted what it had not sent
    assert mirror.absent("mask", [complete]) == [complete]
    mirror.sync(complete)
    [run] = held(mirror)
    assert (run.info.status, run.data.metrics["test/t2v_r1"]) == ("FINISHED", 55.0)
    assert run.data.tags["mlflow.wb.token"] == "right"
    assert mirror.absent("mask", [complete]) == []


def test_what_an_earlier_attempt_failed_of_is_gone_after_success(mirror, make_run):
    run = make_run(state="failed", results=mirror.results)
    run.set_status("failed", failure="hang", reason="no progress")
    mirror.sync(run)
    assert {"wb.failure", "wb.reason"} <= held(mirror)[0].data.tags.keys()
    finish(run, 20)
    mirror.sync(run)
    [found] = held(mirror)
    assert found.info.status == "FINISHED"
    assert not {"wb.failure", "wb.reason"} & found.data.tags.keys()


@pytest.mark.parametrize("change", ["another value", "fewer points"])
def test_values_that_are_not_the_record_s_are_replaced(mirror, make_run, change):
    run = make_run(results=mirror.results, state="interrupted")
    old = mirror.sync(run)
    run.keep_metrics(until_step=0)
    if change == "another value":
        run.append_metrics({"step": 1, "seconds": 0.5, "train/loss": 99.0})
        train(run, 2, 20)
    else:
        train(run, 1, 15)
    finish(run, 20 if change == "another value" else 15)
    for sender in (mirror, Mirror(mirror.results)):  # one that remembers what it sent, and one that asks
        new = sender.sync(run)
        assert new != old
    points = [(p.step, p.value) for p in mirror._client.get_metric_history(new, "train/loss")]
    assert points == [
        (row["step"], pytest.approx(row["train/loss"], rel=1e-5)) for row in run.read_metrics().rows
    ]
    assert [found.info.run_id for found in held(mirror)] == [new]
    assert {i.dataset.name for i in held(mirror)[0].inputs.dataset_inputs} == {
        f"shapes/{split}" for split in ("train", "val", "test")
    }


def test_a_file_of_the_same_size_and_other_content_is_replaced(mirror, make_run):
    run = make_run(results=mirror.results)
    run_id = mirror.sync(run)
    size = run.file("ranks.npz").stat().st_size
    np.savez(run.file("ranks.npz"), t2v_rank=np.arange(3)[::-1])
    assert run.file("ranks.npz").stat().st_size == size
    assert mirror.sync(run) == run_id
    [stored] = mirror.results.glob("mlartifacts/**/ranks.npz")
    assert stored.read_bytes() == run.file("ranks.npz").read_bytes()


def test_a_note_from_elsewhere_cannot_point_at_the_run_of_another(mirror, make_run):
    victim, run = make_run(seed=1, results=mirror.results), make_run(seed=2, results=mirror.results)
    mirror.sync(victim)
    run.write_json("mlflow.json", victim.read_json("mlflow.json"))
    assert mirror.sync(run) != victim.read_json("mlflow.json")["run_id"]
    assert sorted(found.data.tags["wb.seed"] for found in held(mirror)) == ["1", "2"]


def test_who_is_at_work_is_asked_when_it_comes_to_closing(mirror, make_run, tmp_path):
    run = make_run(results=tmp_path / "there", state="running")
    mirror.sync(run)
    identity = (run.identity()["key"], run.identity()["seed"])
    assert mirror.close_lost("mask", lambda: {identity}) == []
    assert held(mirror)[0].info.status == "RUNNING"
    assert len(mirror.close_lost("mask", lambda: set())) == 1
    assert held(mirror)[0].info.status == "KILLED"


def test_a_lost_run_is_closed_though_our_copy_of_it_is_older(mirror, attempt):
    mirror.sync(attempt("there", "late", started=2000.0, state="running"))
    attempt("here", "early", started=1000.0, state="interrupted")
    assert len(mirror.close_lost("mask", lambda: set())) == 1
    assert held(mirror)[0].info.status == "KILLED"


ODD = {
    "no such state": ("status.json", '{"state": "resting"}'),
    "no key": ("run.json", '{"study": "mask", "seed": 0, "cell": "x"}'),
    "a seed in words": ("run.json", '{"study": "mask", "key": "k", "seed": "one", "cell": "x"}'),
    "axes in a list": ("run.json", '{"study": "mask", "key": "k", "seed": 1, "cell": "x", "axes": [1]}'),
    "a step in words": ("metrics.jsonl", '{"step": "one", "train/loss": 1.0}\n'),
    "times in words": ("status.json", '{"state": "complete", "started": "today"}'),
    "a time that never was": ("status.json", '{"state": "complete", "started": NaN}'),
    "a time out of all bounds": ("status.json", '{"state": "complete", "started": 1e308}'),
    "a number of 5,000 digits": ("summary.json", '{"test/t2v_r1": ' + "9" * 5000 + "}"),
    "depth without end": ("summary.json", '{"a":' * 100_000),
    "an infinite step": ("metrics.jsonl", '{"step": 1e400, "train/loss": 1.0}\n'),
    "seconds out of all bounds": ("metrics.jsonl", '{"step": 1, "seconds": 1e308, "train/loss": 1.0}\n'),
    "a step of 400 digits": ("metrics.jsonl", '{"step": 1' + "0" * 400 + ', "train/loss": 1.0}\n'),
    "a folder in the place of a file": ("summary.json", None),
    "a folder in the place of the curves": ("metrics.jsonl", None),
}


def test_odd_records_are_named_and_stop_no_other(mirror, make_run, capsys):
    good = make_run(results=mirror.results)
    odd = {what: make_run(seed=i, results=mirror.results) for i, what in enumerate(ODD, start=1)}
    for what, run in odd.items():
        name, content = ODD[what]
        if content is None:
            run.file(name).unlink(missing_ok=True)
            run.file(name).mkdir()
        else:
            run.file(name).write_text(content)
    (good.path.parent / "study.json").write_text('{"question": "Ho')
    assert main(["import", str(mirror.results / "runs"), "--results", str(mirror.results)]) == 2
    out, err = capsys.readouterr()
    assert out == "1 run is in MLflow\n"
    assert err.count("\n") == len(ODD)
    for what, run in odd.items():
        assert f"{run.path} was not sent: " in err, what
        assert ODD[what][0] in err


def test_a_slow_tracker_holds_up_nobody_and_gets_every_point_once(mirror, make_run, monkeypatch):
    """It answers nothing before training is over: whoever trains does not wait for it."""
    trained, answered = threading.Event(), []
    for name in ("log_batch", "get_run", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, slowed(getattr(MlflowClient, name), trained, answered))
    run = make_run(results=mirror.results)
    forward = Forwarder(mirror.results, "")
    lease = type("Leased", (), {"directory": run})()
    forward.started(lease)
    for share in range(100):
        forward.progressed(lease, share / 100)
    forward.ended(lease, None, over=True)
    assert answered == []
    trained.set()
    assert forward.close(patience=200) == ""
    assert len(answered) >= 5
    [found] = held(mirror)
    points = mirror._client.get_metric_history(found.info.run_id, "train/loss")
    assert [p.step for p in points] == list(range(1, 21))
    assert json.loads(run.file("mlflow.json").read_text())["state"] == "complete"


def slowed(original, trained, answered):
    def slow(*arguments, **options):
        trained.wait(60)
        answered.append(original.__name__)
        return original(*arguments, **options)

    return slow
