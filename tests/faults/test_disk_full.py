"""A full disk: the last good state stays, the message names the path, and once there is space it goes on."""

import errno
import os
import subprocess
import sys

import pytest
import torch
from disks import largest_file, may_mount, small_disk
from quick import QuickStudy
from real import environment, record, trials, until
from servers import check
from small import run_config

from workbench.addresses import sqlite
from workbench.config import DataConfig
from workbench.data import prepare
from workbench.data.store import FrameStore
from workbench.tracking.__main__ import main as track
from workbench.tracking.mlflow import Mirror
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train.checkpoint import Progress
from workbench.train.run import classify

pytestmark = pytest.mark.timeout(900)
CONFIG = run_config()


@pytest.fixture(scope="session")
def mountable(tmp_path_factory):
    if not may_mount(tmp_path_factory.mktemp("mount") / "try"):
        pytest.skip("this process may not mount a tmpfs")


@pytest.fixture
def disk(mountable, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def part(width=64, steps=1):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.Linear(width, width))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, width)).sum().backward()
        optimizer.step()
    return model, optimizer


class TestCheckpoint:
    def save(self, folder, step):
        model, optimizer = part(steps=step)
        checkpoint.save(folder, model, optimizer, Progress(step=step), CONFIG)
        return model

    def goes_on(self, folder, error, leftovers):
        """The failure is a disk's and has a path; step 1 is in force; nothing half-written lies about."""
        assert classify(error) == "disk"
        assert str(folder) in str(error)
        assert {p.name for p in folder.iterdir()} == {"last-1.safetensors", "last.json"} | leftovers
        model, optimizer = part(steps=0)
        assert checkpoint.resume(folder, model, optimizer, CONFIG).step == 1
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), part()[0].parameters(), strict=True))
        wanted = self.save(folder, 2)
        assert checkpoint.resume(folder, model, optimizer, CONFIG).step == 2
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), wanted.parameters(), strict=True))

    @pytest.mark.parametrize("leave", [0, 4096, 40960])
    def test_on_a_full_disk(self, disk, leave):
        folder = disk.path / "run" / "checkpoints"
        self.save(folder, 1)
        disk.fill(leave)
        with pytest.raises(OSError, match="No space left") as caught:
            self.save(folder, 2)
        disk.free()
        self.goes_on(folder, caught.value, set())

    def test_with_room_for_the_tensors_but_not_for_the_record(self, disk):
        folder = disk.path / "run" / "checkpoints"
        self.save(folder, 1)
        size = -(-(folder / "last-1.safetensors").stat().st_size // 4096) * 4096
        disk.fill(leave=size)
        with pytest.raises(OSError, match=r"\.json") as caught:
            self.save(folder, 2)
        disk.free()
        self.goes_on(folder, caught.value, {"last-2.safetensors"})

    def test_beyond_the_largest_file(self, tmp_path):
        self.save(tmp_path, 1)
        with largest_file(20_000), pytest.raises(OSError, match="File too large") as caught:
            self.save(tmp_path, 2)
        self.goes_on(tmp_path, caught.value, set())


class TestMetrics:
    def write(self, run, first, last):
        for step in range(first, last + 1):
            run.append_metrics({"step": step, "train/loss": 0.5, "train/lr": 0.1, "seconds": 1.5})

    def goes_on(self, run, error):
        assert classify(error) == "disk"
        assert str(run.file("metrics.jsonl")) in str(error)
        again = RunDir(run.path)
        rows, torn = again.read_metrics()
        steps = [row["step"] for row in rows]
        assert steps == list(range(1, len(steps) + 1))
        assert torn <= 1
        again.keep_metrics(until_step=5)
        self.write(again, 6, 20)
        assert [row["step"] for row in again.read_metrics().rows] == list(range(1, 21))
        assert again.read_metrics().torn == 0

    def test_on_a_full_disk(self, disk):
        run = RunDir(disk.path / "run")
        run.create()
        self.write(run, 1, 5)
        disk.fill()
        with pytest.raises(OSError, match="No space left") as caught:
            self.write(run, 6, 1000)
        disk.free()
        self.goes_on(run, caught.value)

    def test_beyond_the_largest_file_a_row_that_fits_by_half_is_an_error(self, tmp_path):
        run = RunDir(tmp_path / "run")
        run.create()
        self.write(run, 1, 5)
        size = run.file("metrics.jsonl").stat().st_size
        with largest_file(size + 10), pytest.raises(OSError, match="File too large") as caught:
            self.write(run, 6, 6)
        assert run.file("metrics.jsonl").stat().st_size == size + 10
        self.goes_on(run, caught.value)


class TestFrameStore:
    DATA = DataConfig(clips=16, frames=4, size=32)

    def refused(self, root, *, limit=0):
        """The sentence with which the preparation ends, in a process of its own since it may be killed."""
        done = subprocess.run(
            [sys.executable, "-c", PREPARE, str(root), str(limit)],
            env=environment(), capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 3, done.stderr
        return done.stdout

    def is_made(self, root, told):
        assert str(root) in told
        assert not list(root.rglob("store.json")), "no half store looks like a whole one"
        store = FrameStore.open(prepare(self.DATA, root=root, progress=False))
        assert len(store.frames) == len(store.clip_ids)
        assert store.skipped == []
        assert all(frames.any() for frames in store.frames)

    def test_with_room_for_the_videos_but_not_for_the_frames(self, disk):
        first = prepare(self.DATA, root=disk.path / "first", progress=False)
        disk.fill(leave=sum(p.stat().st_blocks * 512 for p in first.parent.rglob("*.mp4")) + 3 * 4096)
        told = self.refused(disk.path / "data")
        assert "No space left" in told
        disk.free()
        self.is_made(disk.path / "data", told)

    @pytest.mark.parametrize("leave", [0, 40960])
    def test_without_room_for_the_videos(self, disk, leave):
        disk.fill(leave)
        told = self.refused(disk.path / "data")
        disk.free()
        self.is_made(disk.path / "data", told)

    def test_beyond_the_largest_file(self, tmp_path):
        told = self.refused(tmp_path / "data", limit=100_000)
        assert "File too large" in told
        self.is_made(tmp_path / "data", told)


PREPARE = """
import resource, signal, sys
from pathlib import Path
from workbench.config import DataConfig
from workbench.data import prepare
from workbench.errors import UserError
from workbench.tracking.files import disk_full
if limit := int(sys.argv[2]):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    prepare(DataConfig(clips=16, frames=4, size=32), root=Path(sys.argv[1]), progress=False)
except UserError as error:
    print(error)
    raise SystemExit(3)
except OSError as error:
    print(error)
    raise SystemExit(3 if disk_full(error) else 4)
"""


class TestStudy:
    """Optuna's database, MLflow's and the records lie on the same disk that fills up."""

    def test_in_the_middle_it_stops_with_a_sentence_and_goes_on(self, disk, tmp_path):
        study = QuickStudy(disk.path / "results", FAKE_PAUSE="0.2")
        study.logfile = tmp_path / "study.log"
        study.start()
        until(lambda: any(run.file("metrics.jsonl").exists() for run in study.directories()))
        disk.fill()
        assert study.process.wait(300) == 2, study.log
        disk.free()
        [told] = [line for line in study.log.splitlines() if line.startswith("error: ")]
        assert str(disk.path) in told
        # Whoever writes first finds it: the run, Optuna's database or the runner, each in its own words.
        cause = told.replace(str(disk.path), "")
        assert "No space left" in cause or "is full" in cause or "disk I/O error" in cause, told
        assert "Traceback" not in study.log
        assert study.run() == 0, study.log
        assert study.whole() == 4
        done = [(key, seed) for key, seed, state in trials(study) if state == "COMPLETE"]
        assert len(set(done)) == len(done) == 4
        assert all(run.status().attempt == 1 for run in study.directories()), "it costs no attempt"
        check(sqlite(study.results / "mlflow.db"), study)

    def test_from_the_start_it_is_refused_with_a_sentence(self, disk, tmp_path):
        study = QuickStudy(disk.path / "results")
        study.logfile = tmp_path / "study.log"
        disk.fill()
        assert study.run("--mlflow", "none") == 2, study.log
        assert study.log.startswith("error: ")
        assert study.log.count("\n") == 1
        assert str(disk.path) in study.log
        disk.free()
        assert study.run("--mlflow", "none") == 0, study.log
        assert study.whole() == 4


def test_a_mirror_that_finds_no_space_is_one_sentence_and_completed_later(tmp_path, mountable, capsys):
    """MLflow's database alone lies on the disk that is full."""
    study = QuickStudy(tmp_path / "results")
    assert study.run("--mlflow", "none") == 0, study.log
    with small_disk(tmp_path / "disk") as disk:
        address = sqlite(disk.path / "mlflow.db")
        Mirror(study.results, address)
        disk.fill()
        words = ["import", str(study.results / "runs"), "--results", str(study.results), "--mlflow", address]
        assert track(words) == 2
        err = capsys.readouterr().err
        assert "full" in err
        assert "Traceback" not in err
        disk.free()
        assert track(words) == 0
        check(address, study)


def test_a_real_run_that_cannot_save_fails_as_disk_and_then_ends_like_any_other(tiny, undisturbed, clips):
    """`python -m workbench.train` with a limit that the records keep and the checkpoint does not."""
    run = undisturbed.directories()[0]
    copy = RunDir(tiny.results / "runs" / "tiny" / run.path.name)
    copy.create()
    for name in ("config.json", "run.json"):
        copy.file(name).write_bytes(run.file(name).read_bytes())
    words = [sys.executable, "-m", "workbench.train", str(copy.path), "--data-root", str(clips)]
    words += ["--device", "cpu", "--save-every", "0"]
    with largest_file(200_000):  # which the process inherits
        failed = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=600)
    assert failed.returncode == 74, failed.stderr
    status = copy.status()
    assert (status.state, status.failure) == ("failed", "disk")
    assert "File too large" in status.reason
    assert str(copy.file("checkpoints")) in status.reason
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert record(copy) == record(run)


def test_every_way_of_not_being_able_to_write_has_the_class_disk():
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        assert classify(OSError(code, os.strerror(code))) == "disk"
    assert classify(OSError(errno.ENOENT, "gone")) == "error"
