"""Checkpoints within a quota, and runs that are killed while they finish: nothing is lost or done twice."""

import multiprocessing
import os
import pkgutil
import signal
import sys
from dataclasses import replace

import pytest
from quick import QuickStudy
from small import recipe_module, run_config, shrink

from workbench.config import DataConfig, OptimConfig
from workbench.errors import UserError
from workbench.runner.quota import WEIGHTS, Collector, parse_size
from workbench.study.spec import Study
from workbench.tracking.run_dir import RunDir

pytestmark = pytest.mark.timeout(900)

# A fork of this process itself could not train where a test before has: autograd's threads do not survive it.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["workbench.train.run"])


class TestQuota:
    """Five runs of three cells with weights of 1000 bytes each, beside one that is interrupted."""

    VALUES = (("a", 0, 50.0), ("a", 1, 40.0), ("b", 0, 60.0), ("b", 1, 10.0), ("c", 0, 20.0))

    @pytest.fixture
    def runs(self, tmp_path):
        found = {}
        for cell, seed, value in self.VALUES:
            run = found[cell, seed] = self.run(tmp_path, cell, seed, "complete")
            run.write_json("summary.json", {"val/t2v_r1": value})
            run.file("checkpoints").joinpath(WEIGHTS).write_bytes(b"w" * 1000)
        run = found["c", 1] = self.run(tmp_path, "c", 1, "interrupted")
        for name in ("last-8.safetensors", "last-4.safetensors"):
            run.file("checkpoints").joinpath(name).write_bytes(b"w" * 900)
        for name in ("last.json", "previous.json"):
            run.file("checkpoints").joinpath(name).write_bytes(b"{" * 100)
        return found

    def run(self, results, cell, seed, state):
        run = RunDir.of(results, "quota", cell, seed)
        run.file("checkpoints").mkdir(parents=True)
        run.write_json("run.json", {"study": "quota", "key": cell, "seed": seed})
        run.set_status(state)
        return run

    def left(self, results, size, direction="maximize"):
        """Cell and seed of the runs that keep their weights."""
        study = Study(question="?", configure=run_config, direction=direction, name="quota")
        Collector(study, results, size)
        kept = sorted((results / "runs" / "quota").glob(f"*/checkpoints/{WEIGHTS}"))
        return [path.parents[1].name.replace("-s", "") for path in kept]

    @pytest.mark.parametrize(
        ("size", "kept"),
        [
            ("none", ["a0", "a1", "b0", "b1", "c0"]),
            ("7KB", ["a0", "a1", "b0", "b1", "c0"]),
            ("6.9KB", ["a0", "a1", "b0", "c0"]),
            ("5KB", ["a0", "b0", "c0"]),
            ("4KB", ["a0", "b0"]),
            ("3KB", ["b0"]),
            ("1KB", ["b0"]),
        ],
    )
    def test_the_worst_go_first_and_the_best_never(self, runs, tmp_path, size, kept, capsys):
        assert self.left(tmp_path, size) == kept
        needed = {p.name for p in runs["c", 1].file("checkpoints").iterdir()}
        assert needed == {"last-8.safetensors", "last-4.safetensors", "last.json", "previous.json"}
        out, err = capsys.readouterr()
        assert ("removed the weights of" in out) == (len(kept) < 5)
        assert ("take 3e-06 GB, more than --checkpoint-quota 1KB" in err) == (size == "1KB")

    def test_where_less_is_better_the_smallest_value_is_the_best(self, runs, tmp_path):
        assert self.left(tmp_path, "3KB", direction="minimize") == ["b1"]

    def test_what_a_kill_left_in_a_complete_run_goes_first(self, runs, tmp_path):
        left = runs["a", 0].file("checkpoints") / "last-9.safetensors"
        left.write_bytes(b"w" * 5000)
        assert self.left(tmp_path, "7KB") == ["a0", "a1", "b0", "b1", "c0"]
        assert not left.exists()

    def test_a_pruned_run_needs_no_checkpoint_and_a_failed_one_does(self, runs, tmp_path):
        runs["c", 1].set_status("failed", failure="error")
        assert self.left(tmp_path, "7KB") == ["a0", "a1", "b0", "b1", "c0"]
        assert len(list(runs["c", 1].file("checkpoints").iterdir())) == 4
        runs["c", 1].set_status("pruned")
        assert self.left(tmp_path, "5KB") == ["a0", "a1", "b0", "b1", "c0"]
        assert list(runs["c", 1].file("checkpoints").iterdir()) == []

    def test_a_run_with_a_damaged_record_is_left_alone(self, runs, tmp_path):
        runs["b", 1].file("status.json").write_text("{")
        assert self.left(tmp_path, "1KB") == ["b0", "b1"]

    @pytest.mark.parametrize("content", ["{", "{}", '{"val/t2v_r1": NaN}'])
    def test_weights_that_nobody_can_judge_are_kept_since_they_may_be_the_best(self, runs, tmp_path, content):
        runs["b", 0].file("summary.json").write_text(content)
        assert self.left(tmp_path, "1KB") == ["a0", "b0"]

    @pytest.mark.parametrize(("text", "size"), [("5GB", 5e9), ("1.5 mb", 1.5e6), ("none", float("inf"))])
    def test_sizes(self, text, size):
        assert parse_size(text) == size

    @pytest.mark.parametrize("text", ["", "5", "-1GB", "5GB more", "GB", "nan", "1e3MB"])
    def test_what_is_no_size_is_refused(self, text):
        with pytest.raises(UserError, match="--checkpoint-quota must be a size"):
            parse_size(text)


def test_a_study_keeps_its_quota_and_does_nothing_again(tmp_path):
    study = QuickStudy(tmp_path / "results")
    assert study.run("--mlflow", "none") == 0, study.log
    for run in study.directories():
        run.file("checkpoints").mkdir()
        run.file("checkpoints").joinpath(WEIGHTS).write_bytes(b"w" * 1000)
    assert study.run("--mlflow", "none", "--checkpoint-quota", "2KB") == 0, study.log
    kept = [r for r in study.directories() if r.file("checkpoints").joinpath(WEIGHTS).exists()]
    assert sorted(run.identity()["cell"] for run in kept) == ["decay=0.3", "decay=0.6"], (
        "the best of each cell"
    )
    assert "removed the weights of 2 runs to stay within --checkpoint-quota 2KB" in study.log
    assert [len((run.path / "starts.txt").read_text().split()) for run in study.directories()] == [1] * 4
    assert study.run("--checkpoint-quota", "much") == 2
    assert "error: --checkpoint-quota must be a size such as 500MB or 5GB, or none, not 'much'" in study.log


class TestKilledWhileItFinishes:
    """SIGKILL between the last step and the end of the record, at one point after another."""

    @pytest.fixture
    def make_run(self, tmp_path, clips):
        recipe = shrink(recipe_module("mac").Config())
        data = DataConfig(clips=64, frames=4, size=32)
        config = run_config(recipe, steps=12, data=data, optim=OptimConfig(batch_size=16))

        def make(name, **changes):
            chosen = replace(config, **changes)
            run = RunDir.of(tmp_path / name, "test", chosen.key(), chosen.seed)
            run.create()
            run.write_config(chosen)
            run.write_json("run.json", {"study": "test", "key": chosen.key(), "seed": chosen.seed})
            return run

        return make

    @pytest.fixture
    def train(self, clips):
        def train(run, *before):
            """Exit code of the run in a process of its own; `before` is a function with its arguments."""
            child = FRESH.Process(target=train_after, args=(run.path, clips, before))
            child.start()
            child.join()
            return child.exitcode

        return train

    def test_at_every_point_in_a_row_no_step_is_trained_again(self, make_run, train):
        whole, run = make_run("whole"), make_run("killed")
        assert train(whole) == 0
        points = [
            ("workbench.train.run", "measure", "before"),
            ("workbench.train.checkpoint", "finish", "before"),
            ("workbench.train.checkpoint", "finish", "after"),
            ("workbench.tracking.run_dir:RunDir", "write_json", "after summary.json"),
            ("workbench.train.checkpoint", "drop", "before"),
        ]
        rows = None
        for place, name, when in points:
            assert train(run, kill_at, place, name, when) == -signal.SIGKILL, (name, when)
            seen = run.read_metrics().rows
            assert rows is None or seen == rows, "not even the clock of a step differs"
            rows = seen
            assert (run.status().state == "complete") == (name == "drop")
        assert train(run) == 0
        assert run.read_metrics().rows == rows
        same = {k: v for k, v in whole.summary().items() if not k.startswith(("speed/", "cost/peak"))}
        assert same.items() <= run.summary().items()
        weights = [r.file("checkpoints/model.safetensors").read_bytes() for r in (run, whole)]
        assert weights[0] == weights[1]
        names = [sorted(p.name for p in r.file("checkpoints").iterdir()) for r in (run, whole)]
        assert names == [["model.safetensors"]] * 2
        assert not run.file("cost.json").exists()

    def test_a_checkpoint_of_another_key_is_refused_and_the_difference_named(self, make_run, train):
        run, other = make_run("one"), make_run("other", optim=OptimConfig(batch_size=16, lr=0.5))
        assert train(run, kill_at, "workbench.train.run", "measure", "before") == -signal.SIGKILL
        run.file("checkpoints").rename(other.file("checkpoints"))
        assert train(other) == 2
        status = other.status()
        assert (status.state, status.failure) == ("failed", "data")
        assert "another configuration (optim.lr: 0.001 -> 0.5)" in status.reason

    @pytest.mark.parametrize("left", ["half", "nothing"])
    def test_a_torn_checkpoint_gives_way_to_the_one_before(self, make_run, train, left):
        whole, run = make_run("whole"), make_run("torn")
        assert train(whole) == 0
        assert train(run, save_at_every_step) == -signal.SIGKILL
        last = max(run.file("checkpoints").glob("last-*"), key=lambda p: int(p.stem.partition("-")[2]))
        content = last.read_bytes()
        last.write_bytes(content[: len(content) // 2 if left == "half" else 0])
        assert train(run) == 0
        assert f"warning: the weights {last} cannot be read" in (run.path / "printed.txt").read_text()
        weights = [r.file("checkpoints/model.safetensors").read_bytes() for r in (run, whole)]
        assert weights[0] == weights[1]


def train_after(path, clips, before):
    """Trains the run at `path` in this process, once `before` was called, a function with its arguments."""
    os.dup2(os.open(path / "printed.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if before:
        before[0](*before[1:])
    from workbench.train import run

    sys.exit(run.main([str(path), "--data-root", str(clips), "--device", "cpu"]))


def kill_at(place, name, when):
    """From now on this process dies before or after a function is called (of `write_json`: for a file)."""
    place = pkgutil.resolve_name(place)
    original = getattr(place, name)

    def deadly(*arguments, **options):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = original(*arguments, **options)
        if when == "after" or arguments[1] == when.removeprefix("after "):
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(place, name, deadly)


def save_at_every_step():
    """Checkpoints after every step, and dies before the evaluation on the test split."""
    from workbench.train import run

    original = run.train
    run.train = lambda session, **options: original(session, **(options | {"save_every": -1.0}))
    kill_at("workbench.train.run", "measure", "before")
