"""A loss of power, a restored copy, another machine: what a run goes on with is what it was begun with."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import recipe_module, run_config, shrink

from workbench import data as datasets
from workbench.config import Budget, DataConfig, OptimConfig, Stage
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train import run as execute

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def make_run(tmp_path):
    """A run of two short stages, not yet begun."""
    last = Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=2))
    stages = (Stage(budget=Budget(unit="steps", amount=8)), last)
    config = run_config(
        shrink(recipe_module("mac").Config()),
        data=DataConfig(clips=64, frames=4, size=32),
        stages=stages,
        optim=OptimConfig(batch_size=16),
        evaluations=2,
    )

    def make(name):
        run = RunDir.of(tmp_path / name, "test", config.key(), config.seed)
        run.create()
        run.write_config(config)
        run.write_json("run.json", {"study": "test", "key": config.key(), "seed": config.seed, "token": "t"})
        return run

    return make


@pytest.fixture
def train(clips):
    def train(run, before=lambda: None, *, device="cpu", save_every="120"):
        """Exit code of the run in a forked process, which does `before` first."""
        if (child := os.fork()) == 0:
            try:
                before()
                words = [str(run.path), "--data-root", str(clips)]
                os._exit(execute.main([*words, "--device", device, "--save-every", save_every]))
            finally:
                os._exit(70)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return train


def die_before_the_test():
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    execute.measure = die


def numbers(run):
    return {k: v for k, v in run.summary().items() if not k.startswith(("speed/", "cost/peak"))}


def test_rows_are_on_disk_before_every_checkpoint(make_run, train, tmp_path):
    """What fsync had reached whenever a checkpoint took its place, told by the run itself."""
    run, told = make_run("run"), tmp_path / "told"
    synced = {"size": 0}

    def listen():
        fsync, swap = os.fsync, os.replace

        def noted(fd):
            fsync(fd)
            if os.readlink(f"/proc/self/fd/{fd}").endswith("metrics.jsonl"):
                synced["size"] = os.fstat(fd).st_size

        def replaced(source, target):
            if Path(target).name == checkpoint.LAST:
                written = run.file("metrics.jsonl").stat().st_size
                with open(told, "a") as file:
                    file.write(f"{written} {synced['size']}\n")
            swap(source, target)

        os.fsync, os.replace = noted, replaced

    assert train(run, listen, save_every="0") == 0
    pairs = [tuple(map(int, line.split())) for line in told.read_text().splitlines()]
    assert len(pairs) >= 10
    assert [written for written, _ in pairs] == [reached for _, reached in pairs]


def test_a_record_that_lost_its_last_rows_never_passes_an_earlier_validation_for_the_last(
    make_run, train, capfd
):
    whole, run = make_run("whole"), make_run("run")
    assert train(whole) == 0
    assert train(run, die_before_the_test) == -signal.SIGKILL
    lines = run.file("metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] < 9]
    assert any("val/t2v_r1" in line for line in kept)
    assert any("test/stage0_t2v_r1" in line for line in kept)
    run.file("metrics.jsonl").write_text("".join(kept))
    assert train(run) == 0
    assert "the validation of step 10 is not on record, measured again" in capfd.readouterr().err
    assert numbers(run) == numbers(whole)
    [last] = [row for row in run.read_metrics().rows if row["step"] == 10]
    assert last["val/t2v_r1"] == whole.summary()["val/t2v_r1"]


def test_a_lost_test_between_stages_is_left_out_and_said_so(make_run, train, capfd):
    run = make_run("run")
    assert train(run, die_before_the_test) == -signal.SIGKILL
    lines = run.file("metrics.jsonl").read_text().splitlines(keepends=True)
    run.file("metrics.jsonl").write_text("".join(line for line in lines if "test/stage0" not in line))
    assert train(run) == 0
    assert "the test after stage 0 is not on record and left out" in capfd.readouterr().err
    assert not [name for name in run.summary() if name.startswith("test/stage")]


class TestWhereItWasBegun:
    """Fault 24: device, precision, words and code of a checkpoint are those that go on, or it is said."""

    @pytest.fixture
    def begun(self, make_run, train):
        """A run killed with its last checkpoint written; changes what that says of where it was made."""
        run = make_run("begun")
        assert train(run, die_before_the_test) == -signal.SIGKILL

        def changed(**place):
            path = run.file("checkpoints/last.json")
            record = json.loads(path.read_text())
            record["place"] |= place
            path.write_text(json.dumps(record))
            return run

        return changed

    def test_the_checkpoint_says_where_it_was_made(self, begun):
        run = begun()
        place, environment = checkpoint.origin(run.file("checkpoints")), run.read_json("environment.json")
        assert place["device"] == "cpu"
        assert place["precision"] == environment["precision"]
        assert place["commit"].startswith(environment["commit"])
        assert len(place["vocabulary"]) == 64

    def test_another_kind_of_device_is_refused_and_nothing_is_changed(self, begun, train, capfd):
        run = begun(device="cuda")
        before = run.status()
        assert train(run) == 2
        assert (
            "the run was begun on cuda and cannot go on on cpu: give --device cuda" in capfd.readouterr().err
        )
        assert run.status() == before

    def test_it_goes_on_in_the_precision_in_which_it_was_begun(self, begun, train):
        other = {"float32": "bfloat16", "bfloat16": "float32"}
        run = begun()
        precision = other[checkpoint.origin(run.file("checkpoints"))["precision"]]
        assert train(begun(precision=precision)) == 0
        found = run.read_json("environment.json")
        assert found["precision"] == precision
        assert "earlier" not in found

    def test_other_words_are_refused(self, begun, train):
        run = begun(vocabulary="0" * 64)
        assert train(run) == 2
        assert (run.status().state, run.status().failure) == ("failed", "data")
        assert "knows other words" in run.status().reason

    def test_other_code_is_said_aloud_and_kept(self, begun, train, capfd):
        run = begun(commit="0" * 40, device_name="Abacus")
        assert train(run, die_before_the_test) == -signal.SIGKILL
        assert "warning: going on where it was not begun" in capfd.readouterr().err
        assert train(run) == 0
        [earlier] = run.read_json("environment.json")["earlier"]
        assert (earlier["commit"], earlier["device_name"]) == ("0" * 40, "Abacus")


def test_a_checkpoint_from_before_places_were_noted_is_still_resumed(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    config = replace(run_config(), seed=3)
    checkpoint.save(tmp_path, model, optimizer, checkpoint.Progress(step=4), config)
    record = json.loads((tmp_path / "last.json").read_text())
    del record["place"]
    (tmp_path / "last.json").write_text(json.dumps(record))
    assert checkpoint.origin(tmp_path) == {}
    assert checkpoint.resume(tmp_path, model, optimizer, config, "f" * 64).step == 4


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
def test_a_bare_node_accepts_the_gaps_of_a_store_that_was_made_and_makes_none_itself(
    make_run, tmp_path, monkeypatch, made
):
    asked = []

    def prepare(data, *, root, allow_bad_eval):
        asked.append(allow_bad_eval)
        raise EOFError("far enough")

    config = make_run("run").config()
    described = replace(config, data=datasets.describe(config.data).data)
    root = tmp_path / "data"
    if made:
        datasets.prepare(described.data, root=root, progress=False)
    monkeypatch.setattr(execute, "prepare", prepare)
    with pytest.raises(EOFError):
        execute._store(described.data, root)
    assert asked == [made]


@pytest.mark.parametrize("what", ["a file as run", "a file as data", "a folder one may not write to"])
def test_ordinary_mistakes_are_one_sentence(what, make_run, tmp_path, capsys):
    run, file = make_run("run"), tmp_path / "file"
    file.write_text("x")
    words = {
        "a file as run": [str(file), "--data-root", str(tmp_path)],
        "a file as data": [str(run.path), "--data-root", str(file)],
        "a folder one may not write to": [str(run.path), "--data-root", "/proc/nowhere"],
    }[what]
    assert execute.main([*words, "--device", "cpu"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_run_whose_directory_vanishes_ends_and_makes_it_not_anew(make_run, train):
    run = make_run("run")

    def vanish():
        test = execute.measure

        def without_it(*arguments):
            shutil.rmtree(run.path)
            return test(*arguments)

        execute.measure = without_it

    assert train(run, vanish) == execute.INTERRUPTED
    assert not run.path.exists()
