"""`python -m workbench.train RUN_DIR` as a process of its own, on real video files."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import recipe_module, run_config, shrink

from workbench.config import Budget, DataConfig, OptimConfig, Stage
from workbench.data import prepare
from workbench.data.store import FrameStore
from workbench.masking.video import PerFrameMasking
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train.loop import NotFinite, train
from workbench.train.run import classify, main
from workbench.train.session import open_session

ROOT = Path(__file__).parents[1]
STEPS = 160


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """A small world of real H.264 clips, made once for the whole session."""
    root = tmp_path_factory.mktemp("data")
    prepare(data(), root=root, progress=False)
    return root


def data():
    return DataConfig(clips=64, frames=4, size=32)


def config(**changes):
    recipe = shrink(recipe_module("mac").Config(video_masking=PerFrameMasking(ratio=0.5)))
    last = Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=5))
    stages = (Stage(budget=Budget(unit="steps", amount=STEPS)), last)
    defaults = {"data": data(), "stages": stages, "optim": OptimConfig(batch_size=16), "evaluations": 4}
    return run_config(recipe, **(defaults | changes))


def make_run(results, **changes):
    chosen = config(**changes)
    run = RunDir.of(results, "test", chosen.key(), chosen.seed)
    run.create()
    run.write_config(chosen)
    run.write_json("run.json", {"study": "test", "key": chosen.key(), "seed": chosen.seed, "attempt": 2})
    return run


def command(run_dir, data_root, *options):
    words = [sys.executable, "-m", "workbench.train", str(run_dir), "--data-root", str(data_root)]
    return words + ["--device", "cpu", *options]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def execute(run_dir, data_root, *options):
    return subprocess.run(
        command(run_dir, data_root, *options), env=environment(), capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def complete(tmp_path_factory, data_root):
    """A run that went through at once, and what it printed."""
    run = make_run(tmp_path_factory.mktemp("whole"))
    return run, execute(run.path, data_root)


def without_clock(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.read_metrics().rows]


class TestCompleteRun:
    def test_it_ends_well_and_says_so(self, complete):
        run, done = complete
        assert done.returncode == 0, done.stderr
        status = run.status()
        assert (status.state, status.failure, status.attempt) == ("complete", None, 2)
        assert status.step == status.steps == STEPS + 5
        assert not run.alive()
        assert "step 40: val/t2v_r1 " in done.stdout

    def test_the_record_is_complete(self, complete):
        run, _ = complete
        names = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
        assert names == {
            "config.json", "run.json", "environment.json", "metrics.jsonl", "summary.json", "status.json",
            "ranks.npz", "embeddings.npz", "mask_preview.png", "tokenizer.json", "lock",
            "checkpoints/model.safetensors",
        }  # fmt: skip

    def test_metrics_are_complete_lines(self, complete):
        rows, torn = complete[0].read_metrics()
        assert torn == 0
        steps = [row["step"] for row in rows if "train/loss" in row]
        assert steps == sorted(set(steps)), "no step twice"
        assert [row["step"] for row in rows if "val/t2v_r1" in row][:4] == [40, 80, 120, 160]
        assert sum("test/stage0_t2v_r1" in row for row in rows) == 1
        assert not any("not_finite" in row for row in rows)
        assert rows[-1]["pflops"] > rows[0]["pflops"] > 0

    def test_the_summary_has_quality_cost_and_speed(self, complete):
        summary = complete[0].summary()
        ranks = [f"{d}_{m}" for d in ("t2v", "v2t") for m in ("r1", "r5", "r10", "medr", "meanr")]
        assert {f"{s}/{r}" for s in ("val", "test", "test") for r in ranks} <= set(summary)
        assert {
            "cost/train_pflops", "cost/train_gflops_per_clip", "cost/video_gflops_per_clip",
            "cost/text_gflops_per_clip", "cost/video_passes", "cost/text_passes", "cost/video_tokens_in",
            "cost/video_tokens_out", "cost/peak_memory_gb", "cost/parameters_m", "speed/clips_per_s",
            "speed/step_ms", "speed/data_wait_share", "speed/train_seconds", "speed/eval_seconds",
            "speed/startup_seconds", "speed/total_seconds", "speed/mfu", "test/stage0_t2v_r1",
        } <= set(summary)  # fmt: skip
        assert all(np.isfinite(value) for value in summary.values())
        assert summary["cost/video_tokens_in"] == 2 * 16
        unmasked = 5
        tokens = (STEPS * 16 + unmasked * 32) / (STEPS + unmasked)
        assert summary["cost/video_tokens_out"] == pytest.approx(tokens), "the mean over both stages"
        assert 0 < summary["speed/mfu"] < 1
        assert 0 <= summary["speed/data_wait_share"] < 1
        parts = sum(summary[f"speed/{p}_seconds"] for p in ("train", "eval", "startup"))
        assert parts <= summary["speed/total_seconds"] + 0.1

    def test_ranks_and_embeddings_agree_with_the_summary(self, complete):
        run, _ = complete
        with np.load(run.file("ranks.npz"), allow_pickle=False) as ranks:
            assert ranks["t2v_rank"].dtype == np.int32
            assert len(ranks["t2v_rank"]) == len(ranks["t2v_id"]) == len(ranks["t2v_group"])
            assert 100 * (ranks["t2v_rank"] == 1).mean() == pytest.approx(run.summary()["test/t2v_r1"])
            assert 100 * (ranks["v2t_rank"] <= 5).mean() == pytest.approx(run.summary()["test/v2t_r5"])
            assert len(set(ranks["v2t_id"].tolist())) == len(ranks["v2t_rank"])
        with np.load(run.file("embeddings.npz"), allow_pickle=False) as found:
            assert found["video"].dtype == found["text"].dtype == np.float16
            assert len(found["text"]) == len(found["caption"]) == len(found["text_id"])
            norms = np.linalg.norm(found["video"].astype(np.float32), axis=1)
            assert np.allclose(norms, 1, atol=1e-2)

    def test_the_environment_is_recorded(self, complete):
        found = complete[0].read_json("environment.json")
        assert found["device"] == "cpu"
        assert found["data"] == "moving_shapes"
        assert len(found["data_digest"]) == 64
        assert found["decoder"].split()[0] in ("decord", "pyav")
        assert torch.__version__.startswith(found["torch"])
        assert found["precision"] in ("float32", "bfloat16")
        assert found["start"] == "video: random init, text: random init"
        assert {"device_name", "threads", "commit", "dirty", "hostname", "parameters"} <= set(found)

    def test_the_mask_preview_is_a_picture(self, complete):
        with Image.open(complete[0].file("mask_preview.png")) as picture:
            assert picture.format == "PNG"
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50

    def test_the_weights_give_the_embeddings(self, complete, data_root):
        run, _ = complete
        store = FrameStore.open(prepare(data(), root=data_root))
        session = open_session(run.config(), store, device=torch.device("cpu"))
        checkpoint.load_model(run.file("checkpoints"), session.recipe)
        found = session.judge("test")[""]["retrieval"].files["embeddings.npz"]
        with np.load(run.file("embeddings.npz")) as written:
            assert np.allclose(found["video"], written["video"], atol=2e-2)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_never_stopped(complete, tmp_path, data_root):
    whole, _ = complete
    run = make_run(tmp_path)
    process = subprocess.Popen(
        command(run.path, data_root), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: len(run.read_metrics().rows) >= 20 or process.poll() is not None)
        assert run.status().state == "running"
        assert run.alive()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 75
    finally:
        process.kill()
        process.communicate()
    status = run.status()
    assert (status.state, status.failure) == ("interrupted", None)
    assert f"step {status.step}" in status.reason or "stopped" in status.reason
    assert not run.file("summary.json").exists()
    assert run.file("checkpoints/last.json").exists()
    stopped_at = json.loads(run.file("checkpoints/last.json").read_text())["progress"]["step"]
    assert 20 <= stopped_at < STEPS

    done = execute(run.path, data_root)
    assert done.returncode == 0, done.stderr
    assert run.status().state == "complete"
    assert without_clock(run) == without_clock(whole)
    for name in ("ranks.npz", "embeddings.npz"):
        with np.load(run.file(name)) as one, np.load(whole.file(name)) as two:
            assert all(np.array_equal(one[k], two[k]) for k in one.files)
    weights = "checkpoints/model.safetensors"
    assert run.file(weights).read_bytes() == whole.file(weights).read_bytes()


def test_rows_after_the_last_checkpoint_of_a_killed_run_are_not_counted_twice(
    complete, tmp_path, data_root, execute_here
):
    run = make_run(tmp_path)
    store = FrameStore.open(prepare(data(), root=data_root))
    session = open_session(run.config(), store, device=torch.device("cpu"))
    rows = train(session, checkpoints=run.file("checkpoints"), save_every=0)
    for _ in range(30):
        step, row = next(rows)
        run.append_metrics({"step": step, **row})
    rows.close()
    run.file("metrics.jsonl").open("a").write('{"step": 31, "train/lo')  # torn by the kill
    assert execute_here(run.path)[0] == 0
    assert without_clock(run) == without_clock(complete[0])


def refused(code, errors, *words):
    """Exit code 2 and one sentence."""
    assert code == 2, errors
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    for word in words:
        assert word in line


def test_a_damaged_configuration_is_refused_and_nothing_is_written(tmp_path, data_root):
    (tmp_path / "config.json").write_bytes(b'{"type": "config.RunConfig", \xff')
    done = execute(tmp_path, data_root)
    refused(done.returncode, done.stderr, "config.json")
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.fixture
def execute_here(data_root, monkeypatch, capsys):
    """The same command in this process, with our own signal handlers left in place: code, output, errors."""
    monkeypatch.setattr("workbench.train.run.signal.signal", lambda number, handler: None)

    def run(run_dir):
        code = main(command(run_dir, data_root)[3:])
        return code, *capsys.readouterr()

    return run


def test_a_second_call_says_complete_and_does_nothing(complete, execute_here):
    run, _ = complete
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in run.path.rglob("*") if p.is_file()}
    code, out, _ = execute_here(run.path)
    assert code == 0
    assert "complete" in out
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in before} == before


def test_a_folder_without_a_configuration_is_refused_and_left_alone(tmp_path, execute_here):
    code, _, errors = execute_here(tmp_path / "nowhere")
    refused(code, errors, "config.json")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path, execute_here):
    run = make_run(tmp_path)
    with run.lock():
        code, _, errors = execute_here(run.path)
    refused(code, errors, "another process")
    assert run.status() is None


def test_a_batch_larger_than_the_data_is_made_as_large_as_the_data_and_recorded(tmp_path, execute_here):
    stages = (Stage(budget=Budget(unit="steps", amount=2)),)
    run = make_run(tmp_path, optim=OptimConfig(batch_size=65), stages=stages)
    assert execute_here(run.path)[0] == 0
    assert run.summary()["train/batch_size"] == 64


def test_other_data_than_the_configured_is_refused(tmp_path, execute_here):
    run = make_run(tmp_path, data=replace(data(), digest="0" * 64))
    code, _, errors = execute_here(run.path)
    refused(code, errors, "digest")
    assert run.status().failure == "data"


def test_a_diverging_run_fails_with_its_class_and_keeps_its_traceback(tmp_path, execute_here):
    run = make_run(tmp_path, optim=OptimConfig(batch_size=16, lr=1e30))
    code, _, errors = execute_here(run.path)
    assert code == 1
    assert "Traceback" in errors
    status = run.status()
    assert (status.state, status.failure) == ("failed", "not_finite")
    assert "not finite at step" in status.reason
    assert not run.file("summary.json").exists()


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, data_root, execute_here):
    run = make_run(tmp_path, optim=OptimConfig(batch_size=16, lr=1e30))
    other = config()
    session = open_session(
        other, FrameStore.open(prepare(data(), root=data_root)), device=torch.device("cpu")
    )
    checkpoint.save(run.file("checkpoints"), session.recipe, session.optimizer, session.progress, other)
    code, _, errors = execute_here(run.path)
    refused(code, errors, "optim.lr: 0.001 -> 1e+30")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NotFinite("x"), "not_finite"),
        (FloatingPointError(), "not_finite"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (OSError(errno.ENOSPC, "full"), "disk"),
        (OSError(errno.EROFS, "read-only"), "disk"),
        (OSError(errno.ENOENT, "gone"), "error"),
        (ValueError(), "error"),
    ],
    ids=repr,
)
def test_failures_are_classified(error, failure):
    assert classify(error) == failure
