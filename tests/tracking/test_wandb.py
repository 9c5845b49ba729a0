"""`--also wandb`: run directories in Weights & Biases, read back from the files of its offline mode."""

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from finished_runs import finish, train

from workbench.errors import UserError
from workbench.tracking.__main__ import main
from workbench.tracking.mirrors import registry
from workbench.tracking.mirrors.record import unsent

wandb = pytest.importorskip("wandb")
BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
"""The form of LevelDB's log, in which wandb writes; its own header is as long as that of a record."""


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No server, and no settings or keys of whoever runs the tests."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_DIR", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def mirror(results):
    return registry.reach(results)


def records(path):
    """The records of one of wandb's files, in their order."""
    from wandb.proto import wandb_internal_pb2

    content, at, found, part = path.read_bytes(), HEADER, [], b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # no record begins here
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        at += HEADER
        if at + length > len(content):  # still being written
            break
        part = content[at : at + length] if kind in (FULL, FIRST) else part + content[at : at + length]
        at += length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            found.append(record)
    return found


def files(results):
    return sorted((results / "wandb").glob("offline-run-*/run-*.wandb"))


def values(items):
    """Name -> value, of items that may nest names."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def last_summary(found):
    summary = {}
    for record in found:
        if record.WhichOneof("record_type") == "summary":
            summary |= values(record.summary.update)
    return summary


def read(path):
    """The run, its rows of history and its final metrics, once the file has an end.

    A process of wandb's own writes it, and may not be through when `finish` returns.
    """
    until, found = time.monotonic() + 60, records(path)
    while not any(record.WhichOneof("record_type") == "exit" for record in found):
        assert time.monotonic() < until, "the file never ended"
        time.sleep(0.05)
        found = records(path)
    (run,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    rows = [values(r.history.item) for r in found if r.WhichOneof("record_type") == "history"]
    return run, rows, last_summary(found), found


def test_config_curves_final_metrics_and_tags_are_those_of_the_run_directory(mirror, make_run, results):
    directory = make_run(steps=20, lr=3e-4)
    number = mirror.sync(directory)
    (path,) = files(results)
    run, rows, summary, found = read(path)
    assert (run.run_id, run.project, run.display_name) == (number, "mask", "l0.0003 s0")
    assert list(run.tags) == ["complete", "seed 0"]
    assert run.notes == "How much?"
    config = values(run.config.update)
    assert config["optim"]["lr"] == 3e-4
    assert (config["run"]["key"], config["run"]["commit"]) == (directory.identity()["key"], "abc")
    assert [(row["_step"], row["train/loss"]) for row in rows] == [(i, 1 / i) for i in range(1, 21)]
    assert [row["seconds"] for row in rows] == [i / 2 for i in range(1, 21)]
    assert {name: summary[name] for name in directory.summary()} == directory.summary()
    (end,) = [record.exit for record in found if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 0
    assert not any(record.WhichOneof("record_type") in ("environment", "stats", "output") for record in found)


def test_what_was_sent_is_not_sent_again_and_a_new_attempt_is(mirror, make_run, results):
    directory = make_run()
    assert mirror.absent("mask", [directory]) == [directory]
    first = mirror.sync(directory)
    assert mirror.absent("mask", [directory]) == []
    assert (mirror.sync(directory), len(files(results))) == (first, 1)
    directory.write_json("run.json", directory.identity() | {"token": "another"})
    assert unsent([directory]) == [directory]
    assert mirror.sync(directory) != first
    assert len(files(results)) == 2


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_a_run_that_goes_on_waits(mirror, make_run, results, state):
    directory = make_run(state=state)
    assert mirror.sync(directory) == ""
    assert files(results) == []
    train(directory, 21, 30)
    finish(directory, 30)
    assert mirror.sync(directory)
    assert len(read(files(results)[0])[1]) == 30


def test_a_failed_run_says_why(mirror, make_run, results):
    directory = make_run(state="failed")
    mirror.sync(directory)
    run, _, _, found = read(files(results)[0])
    assert values(run.config.update)["run"]["failure"] == "error"
    assert [r.exit.exit_code for r in found if r.WhichOneof("record_type") == "exit"] == [1]


def test_importing_sends_to_it_alone_or_beside_mlflow(make_run, results, capsys):
    runs = [make_run(seed=seed) for seed in (0, 1)]
    finish(make_run(seed=2, state="interrupted"), 20, "interrupted")
    folder = runs[0].path.parent
    again = ["import", str(folder), "--results", str(results), "--mlflow", "none", "--also", "wandb"]
    assert main(again) == 0
    assert main(again) == 0
    assert capsys.readouterr().out == "2 runs are in Weights & Biases\n" * 2
    assert len(files(results)) == 2
    assert not (results / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("name", "mode", "missing", "said"),
    [
        (
            "trackio",
            "offline",
            False,
            "--also must be 'wandb', for Weights & Biases beside MLflow, not 'trackio'",
        ),
        ("WANDB", "offline", False, "not 'WANDB'"),
        ("wandb,mlflow", "offline", False, "not 'wandb,mlflow'"),
        ("wandb", "disabled", False, "WANDB_MODE must be online or offline, not 'disabled'"),
        ("wandb", "offline", True, "which is not installed: pip install 'workbench[wandb]'"),
    ],
)
def test_what_cannot_be_sent_to_is_one_sentence(
    make_run, results, monkeypatch, capsys, name, mode, missing, said
):
    monkeypatch.setenv("WANDB_MODE", mode)
    if missing:
        monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    path = str(make_run().path)
    assert main(["import", path, "--results", str(results), "--mlflow", "none", "--also", name]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


@pytest.fixture
def online(monkeypatch):
    """Points wandb to a port of this machine: online(port)."""

    def point(port):
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        wandb.teardown()  # it keeps the settings of its first start

    yield point
    wandb.teardown()


def test_without_a_key_it_says_how_to_get_one_and_asks_nothing(results, online):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        online(server.server_port)
        with pytest.raises(UserError, match="there is no API key: `wandb login` asks for one"):
            registry.reach(results)
        server.shutdown()


def test_nobody_answering_is_a_warning_that_names_the_command(make_run, results, online):
    directory = make_run()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        online(unused.getsockname()[1])
        with pytest.raises(UserError, match="does not answer"):
            registry.reach(results)
        warning = registry.forwarder("wandb", results, "mask", [directory]).close(patience=60)
    assert "1 run is not in Weights & Biases" in warning
    assert f"python -m workbench.tracking import {directory.path}" in warning
    assert "--mlflow none --also wandb" in warning
