"""Several processes that share each batch of a run: equal numbers, decided together, resumed to the bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from small import recipe_module, recipe_names, run_config
from test_execute import data_root, environment, make_run, without_clock  # noqa: F401 - a fixture
from toys import Config as ToyConfig
from two_processes import traces

from workbench.config import Budget, OptimConfig, Stage
from workbench.data.loader import Loader
from workbench.errors import UserError
from workbench.runner.work import Machine
from workbench.tracking.run_dir import RunDir
from workbench.train.run import main
from workbench.train.session import check
from workbench.train.world import place

HERE = Path(__file__).parent
LIMIT = 240
JOBS = [
    *(f"{name} float64 4" for name in recipe_names() if recipe_module(name).Recipe.DISTRIBUTED),
    *("mac float64 50", "simvtp float64 50", "mac float32 5", "simvtp float32 5"),
]


def start(*words):
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=HERE,
        env=environment() | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """Exit code and output; whatever it started is killed where it takes too long."""
    try:
        out, _ = process.communicate(timeout=LIMIT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out


@pytest.fixture(scope="module")
def shared(store, tmp_path_factory):
    """What two processes give for all jobs."""
    out = tmp_path_factory.mktemp("shared") / "traces.json"
    path = store.frames.filename
    code, said = finish(start("two_processes.py", Path(path).parent, out, *JOBS))
    assert code == 0, said
    return json.loads(out.read_text())


@pytest.mark.parametrize("job", JOBS)
def test_two_processes_train_as_one_does(job, shared, store):
    [(_, one)] = traces(store, [job]).items()
    tolerance = 1e-8 if "float64" in job else 1e-5
    assert len(one) == len(shared[job]) == int(job.split()[2])
    for alone, together in zip(one, shared[job], strict=True):
        assert together == pytest.approx(alone, rel=tolerance, abs=tolerance)
        assert together["pflops"] == pytest.approx(alone["pflops"], rel=1e-12), "budgets are the same"


def test_they_agree_and_those_that_disagree_about_the_run_are_refused(shared):
    assert shared["agreement"] == {
        "stop": True, "go on": False, "sum": 3.0, "asked": [False, False],
        "refused": "the processes of this run disagree about the checkpoint: it must be the same",
    }  # fmt: skip


def test_each_process_reads_its_rows_of_the_batch(store, vocabulary):
    from workbench.data.sampling import frames_of

    text = vocabulary.encode(store.splits["train"].captions)
    whole = Loader(store, text, batch_size=8, seed=3).batch(1)
    parts = [Loader(store, text, batch_size=8, seed=3, rank=rank, size=2).batch(1) for rank in range(2)]
    assert torch.equal(torch.cat([part.video for part in parts]), whole.video)
    assert torch.equal(torch.cat([part.text.tokens for part in parts]), whole.text.tokens)
    assert torch.equal(torch.cat([part.index for part in parts]), whole.index)
    import numpy as np

    from workbench.config import DataConfig

    data = DataConfig(frames=2, size=16, stored=4, sampling="random")
    clips = np.arange(6)
    drawn = frames_of(store.frames, clips, data, np.random.default_rng(0))
    half = frames_of(store.frames, clips, data, np.random.default_rng(0), slice(3, 6))
    assert np.array_equal(half, drawn[3:])


STAGES = (Stage(budget=Budget(unit="steps", amount=120)),)


def words(run, data):
    return ["-m", "workbench.train", run.path, "--data-root", data, "--device", "cpu"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory, data_root):  # noqa: F811
    """A run of two processes of which the second was killed, and what the first wrote of it."""
    run = make_run(tmp_path_factory.mktemp("killed"), stages=STAGES, evaluations=2)
    process = start(*words(run, data_root), "--processes", "2", "--save-every", "0")
    try:
        end = time.monotonic() + LIMIT
        while not any(row["step"] > 20 for row in run.read_metrics().rows):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.02)
        pid = process.pid
        members = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(members[1]), signal.SIGKILL)
        code, _ = finish(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return run, code


class TestCommand:
    def test_a_killed_process_ends_the_attempt_with_its_reason(self, killed):
        run, code = killed
        status = run.status()
        assert code == 1
        assert (status.state, status.failure) == ("failed", "killed")
        assert status.reason == "process 1 of 2 ended by SIGKILL"
        assert not run.alive()

    def test_it_resumes_to_the_bit_as_torchrun_trains_at_once(self, killed, data_root, tmp_path):  # noqa: F811
        run = RunDir(tmp_path / "runs" / "test" / "again")
        shutil.copytree(killed[0].path, run.path)
        code, out = finish(start(*words(run, data_root), "--processes", "2"))
        assert code == 0, out
        whole = make_run(tmp_path / "whole", stages=STAGES, evaluations=2)
        torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
        code, out = finish(start(*torchrun, "--rdzv-endpoint=localhost:0", *words(whole, data_root)))
        assert code == 0, out
        assert without_clock(run) == without_clock(whole)
        for one in (run, whole):
            assert one.read_json("environment.json")["processes"] == 2
            assert one.status().state == "complete"
        same = {name for name in whole.summary() if not name.startswith(("speed/", "cost/peak"))}
        assert {n: run.summary()[n] for n in same} == {n: whole.summary()[n] for n in same}

    def test_it_resumes_with_one_process_too(self, killed, data_root, tmp_path):  # noqa: F811
        run = RunDir(tmp_path / "runs" / "test" / "again")
        shutil.copytree(killed[0].path, run.path)
        assert main([str(word) for word in words(run, data_root)[2:]]) == 0
        assert run.status().state == "complete"
        assert run.read_json("environment.json")["earlier"][0]["processes"] == "2"
        steps = [row["step"] for row in run.read_metrics().rows if "train/loss" in row]
        assert steps == sorted(set(steps))
        assert steps[-1] == 120


class TestRefusals:
    def test_what_cannot_be_shared_is_refused(self, tmp_path, data_root, capsys, monkeypatch):  # noqa: F811
        run = make_run(tmp_path, optim=OptimConfig(batch_size=15))
        command = [str(run.path), "--data-root", str(data_root)]
        for options, said in (
            (["--processes", "2"],
             "a batch must have the same number of rows for each of 2 processes, at least 2, not 15 in all"),
            (["--processes", "0"], "--processes must be 1 or more, not 0"),
            (["--processes", "5", "--device", "cuda:1"],
             "5 processes take a GPU each: --device must be auto, cpu or cuda, not 'cuda:1'"),
            (["--processes", "5", "--device", "cuda"],
             f"5 processes need a GPU each; there are {torch.cuda.device_count()}"),
        ):  # fmt: skip
            assert main([*command, *options]) == 2
            assert capsys.readouterr().err == f"error: {said}\n"
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main([*command, "--processes", "3"]) == 2
        assert "cannot be given under torchrun" in capsys.readouterr().err
        assert run.status() is None

    def test_a_recipe_that_does_not_gather_is_refused(self):
        config = run_config(ToyConfig(), tasks=("pair_retrieval",))
        check(config)
        with pytest.raises(UserError, match="toys cannot share a batch between processes; give it one"):
            check(config, 2)

    def test_the_cores_are_divided(self, monkeypatch):
        before = torch.get_num_threads()
        try:
            for name, value in {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
                monkeypatch.setenv(name, value)
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
            torch.set_num_threads(4)
            assert place("cpu") == torch.device("cpu")
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)

    def test_a_study_hands_the_number_on(self, tmp_path):
        run = RunDir(tmp_path)
        assert "--processes" not in Machine(data_root=tmp_path).arguments(run)
        assert Machine(data_root=tmp_path, processes=2).arguments(run)[-2:] == ["--processes", "2"]
