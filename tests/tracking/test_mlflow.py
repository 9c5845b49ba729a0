"""MLflow holds what the run directories hold, once, whatever happens in between."""

import json
import socket
import threading
from types import SimpleNamespace

import pytest
from finished_runs import finish, train

from workbench.addresses import masked, same_database
from workbench.errors import UserError
from workbench.tracking import mlflow_view, notes
from workbench.tracking.__main__ import main
from workbench.tracking.forward import Forwarder, forwarder
from workbench.tracking.mlflow import Mirror


@pytest.fixture
def results(tmp_path, empty_store):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    return folder


@pytest.fixture
def mirror(results):
    return Mirror(results)


def stored(mirror, run_id):
    return mirror._client.get_run(run_id)


def history(mirror, run_id, name):
    return [(m.step, m.value) for m in mirror._client.get_metric_history(run_id, name)]


def lease(run):
    return SimpleNamespace(directory=run)


def test_a_run_arrives_with_all_that_describes_it(mirror, make_run, results):
    run = make_run(seed=3)
    found = stored(mirror, mirror.sync(run))
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "l0.001 s3"
    assert found.data.params["optim.lr"] == "0.001"
    assert found.data.params["stages.0.budget.unit"] == "steps"
    tags = found.data.tags
    assert (tags["wb.cell"], tags["wb.seed"], tags["wb.attempt"]) == ("lr=0.001", "3", "1")
    assert (tags["wb.recipe"], tags["wb.commit"], tags["wb.dirty"]) == ("mac", "abc", "True")
    assert tags["wb.axis.lr"] == "0.001"
    assert tags["mlflow.note.content"] == "lr=0.001; seed 3. How much?"
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("workbench.study mask", "LOCAL")
    hashes = {name for name, value in tags.items() if not name.startswith("mlflow.") and len(value) > 40}
    assert hashes == set(), "MLflow's pages show every tag but its own"
    assert found.data.metrics["test/t2v_r1"] == 40.0
    assert history(mirror, found.info.run_id, "train/loss") == [
        (step, pytest.approx(1 / step, rel=1e-5)) for step in range(1, 21)
    ]
    inputs = {i.dataset.name: i.dataset.digest for i in found.inputs.dataset_inputs}
    assert inputs == {f"shapes/{split}": "d" * 12 for split in ("train", "val", "test")}
    names = {file.path for file in mirror._client.list_artifacts(found.info.run_id)}
    assert names == {"config.json", "environment.json", "ranks.npz"}
    assert (results / "mlartifacts" / "mask").is_dir()
    experiment = mirror._client.get_experiment(found.info.experiment_id)
    assert experiment.name == "mask"
    assert experiment.tags["mlflow.note.content"] == "How much?"


def test_figures_of_the_end_stand_at_step_zero_so_that_charts_are_bars(mirror, make_run):
    run = make_run()
    run.write_json("summary.json", {"test/t2v_r1": 2.8000000000000003, "train/loss": 0.05, "cost/n": 1234567})
    run_id = mirror.sync(run)
    assert history(mirror, run_id, "test/t2v_r1") == [(0, 2.8)]
    assert history(mirror, run_id, "cost/n") == [(0, 1234567.0)]
    assert history(mirror, run_id, "train/loss")[-1] == (20, 0.05), "what has a curve stays on it"


def test_an_experiment_opens_on_its_runs_with_the_metric_first(mirror, make_run):
    run = make_run()
    study = {"question": "How much?", "metric": "t2v_r1", "title": "text-to-video R@1 (%)", "axes": ["lr"]}
    (run.path.parent / "study.json").write_text(json.dumps(study))
    found = stored(mirror, mirror.sync(run)).info.experiment_id
    tags = mirror._client.get_experiment(found).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags["mlflow.sharedViewState.workbench"])
    assert view["selectedColumns"] == [
        "metrics.`answer/1 text-to-video R-1 in percent`",
        "metrics.`answer/2 training GFLOPs per clip`",
        "metrics.`answer/3 clips per second`",
        "tags.`wb.axis.lr`",
    ]
    shown = stored(mirror, mirror.sync(run)).data.metrics
    assert shown["answer/1 text-to-video R-1 in percent"] == shown["test/t2v_r1"] == 40.0
    assert list(mlflow_view.links(mirror._client)) == ["mask"]
    mirror._client.set_experiment_tag(found, "mlflow.experimentKind", "finetuning")
    Mirror(mirror.results).sync(run)
    assert mirror._client.get_experiment(found).tags["mlflow.experimentKind"] == "finetuning"


def test_pages_over_nothing_are_refused_in_a_sentence(tmp_path, results, capsys):
    assert main(["show", "--results", str(tmp_path / "nowhere")]) == 2
    assert main(["show", "--results", str(results)]) == 2
    assert main(["show", "--results", str(results), "--mlflow", "none"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "there is no" in errors[0]
    assert "no study is in MLflow" in errors[1]


def test_repeating_makes_no_point_twice(mirror, make_run, results):
    run = make_run()
    run_id = mirror.sync(run)
    assert mirror.sync(run) == run_id
    assert Mirror(results).sync(run) == run_id
    run.file("mlflow.json").unlink()
    assert Mirror(results).sync(run) == run_id, "found again by its tags"
    assert len(history(mirror, run_id, "train/loss")) == 20
    assert len(history(mirror, run_id, "test/t2v_r1")) == 1


def test_a_run_is_followed_while_it_goes_on_and_after_a_resume(mirror, make_run):
    run = make_run(steps=5, state="running")
    run_id = mirror.sync(run)
    assert stored(mirror, run_id).info.status == "RUNNING"
    assert len(history(mirror, run_id, "train/loss")) == 5
    run.set_status("interrupted")
    mirror.sync(run)
    assert stored(mirror, run_id).info.status == "KILLED"
    run.keep_metrics(until_step=3)
    train(run, 4, 8)
    mirror.sync(run)
    assert stored(mirror, run_id).info.status == "RUNNING"
    finish(run, 8)
    mirror.sync(run)
    assert stored(mirror, run_id).info.status == "FINISHED"
    assert [step for step, _ in history(mirror, run_id, "train/loss")] == list(range(1, 9))


def test_a_failed_run_keeps_its_reason(mirror, make_run):
    run = make_run(state="failed")
    run.set_status("failed", failure="data", reason="see postgresql://me:secret@host/db")
    found = stored(mirror, mirror.sync(run))
    assert found.info.status == "FAILED"
    assert found.data.tags["wb.failure"] == "data"
    assert found.data.tags["wb.reason"] == "see postgresql://me:***@host/db"


def test_a_lost_database_is_rebuilt_from_the_run_directories(make_run, results, capsys):
    runs = [make_run(seed=seed, lr=lr) for seed in (0, 1) for lr in (1e-3, 1e-2)]
    (results / "mlflow.db").unlink()
    for _ in range(2):
        assert main(["import", str(results / "runs"), "--results", str(results)]) == 0
    assert "4 runs are in MLflow" in capsys.readouterr().out
    mirror = Mirror(results)
    experiment = mirror._client.get_experiment_by_name("mask")
    found = mirror._client.search_runs([experiment.experiment_id])
    assert len(found) == len(runs)
    assert all(len(history(mirror, run.info.run_id, "train/loss")) == 20 for run in found)


def test_a_run_directory_from_another_machine_can_be_imported(make_run, results, tmp_path):
    run = make_run(results=tmp_path / "elsewhere")
    run.write_json("mlflow.json", {"address": "sqlite:////other/mlflow.db", "run_id": "f" * 32})
    assert main(["import", str(run.path), "--results", str(results)]) == 0
    found = Mirror(results)._client.get_run(run.read_json("mlflow.json")["run_id"])
    assert found.data.metrics["test/t2v_r1"] == 40.0


def test_importing_what_is_no_run_is_bad_input(results, tmp_path, capsys):
    assert main(["import", str(tmp_path / "nothing"), "--results", str(results)]) == 2
    assert capsys.readouterr().err.startswith("error: there is no run directory at or below")


def test_the_forwarder_sends_runs_from_its_own_thread(make_run, results):
    run = make_run()
    forward = forwarder(results)
    forward.started(lease(run))
    forward.ended(lease(run), None, over=True)
    assert forward.close() == ""
    assert run.read_json("mlflow.json")["described"] is True


def test_a_tracker_that_is_away_costs_nothing_and_is_said_so(make_run, results, monkeypatch):
    monkeypatch.setattr("workbench.tracking.forward.MAX_ATTEMPTS", 1)
    run = make_run()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}"
    trained, refused, connect = threading.Event(), [], socket.socket.connect

    def held(self, where):
        trained.wait(60)
        refused.append(where)
        return connect(self, where)

    monkeypatch.setattr(socket.socket, "connect", held)
    forward = Forwarder(results, address)
    forward.started(lease(run))
    forward.progressed(lease(run), 0.5)
    forward.ended(lease(run), None, over=True)
    assert refused == [], "whoever trains has not waited for it"
    trained.set()
    warning = forward.close(patience=30)
    assert refused
    assert "1 run is not in MLflow" in warning
    assert f"python -m workbench.tracking import {run.path}" in warning
    assert "secret" not in warning


def test_none_means_no_tracker(make_run, tmp_path):
    forward = forwarder(tmp_path / "nowhere", "none")
    forward.ended(lease(make_run()), None, over=True)
    assert forward.close() == ""
    assert not (tmp_path / "nowhere").exists()


def test_values_that_look_like_secrets_and_long_ones_are_cut(mirror, make_run):
    run = make_run()
    config = json.loads(run.file("config.json").read_text())
    config["note"] = "x" * 9000
    run.file("config.json").write_text(json.dumps(config))
    assert len(stored(mirror, mirror.sync(run)).data.params["note"]) == 500


def test_something_else_than_a_run_directory_is_refused(mirror, tmp_path):
    from workbench.tracking.run_dir import RunDir

    with pytest.raises(UserError, match="is not a run directory"):
        mirror.sync(RunDir(tmp_path))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sqlite:///a.db", "sqlite:///./b/../a.db", True),
        ("sqlite:///a.db", "sqlite:///b.db", False),
        ("postgresql+psycopg2://u:p@h/x", "postgresql://v@h/x", True),
        ("postgresql://h/x", "postgresql://h/y", False),
        ("sqlite:///a.db", "http://h/a.db", False),
        ("postgresql://a@h/x", "postgresql://a@h:5432/x/", True),
        ("postgresql:///x?host=h", "postgresql://h/x", True),
        ("postgresql://localhost/x", "postgresql://127.0.0.1:5432/x", True),
        ("postgresql://h/x", "postgresql://h:5433/x", False),
        ("mysql://h/x", "mysql+pymysql://H:3306/x", True),
    ],
)
def test_two_spellings_of_one_database_are_the_same(one, other, same):
    assert same_database(one, other) is same


def test_passwords_are_masked():
    assert masked("x postgresql://me:pa%40ss@h:1/db y") == "x postgresql://me:***@h:1/db y"
    assert masked("http://h/?token=abc&a=1") == "http://h/?token=***&a=1"
    assert masked("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_notes_arrive_as_tags_and_go_when_they_are_taken_away(mirror, make_run):
    run = make_run()
    notes.write(run, notes.Note(note="odd curve", pinned=True), "1e92e36609bc")
    tags = stored(mirror, mirror.sync(run)).data.tags
    assert (tags["wb.note.1e92e36609bc"], tags["wb.pinned.1e92e36609bc"]) == ("odd curve", "yes")
    notes.write(run, notes.Note(), "1e92e36609bc")
    assert not [name for name in stored(mirror, mirror.sync(run)).data.tags if name.startswith("wb.note")]
