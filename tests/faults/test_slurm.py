"""`--slurm` with a real SLURM of one node: arrays, a stop before the time is up, and the queue again."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster import NotStarted, cluster, missing

from workbench.errors import UserError
from workbench.runner import slurm
from workbench.tracking.run_dir import RunDir

FAKE = Path(__file__).parents[1] / "study" / "fake_train.py"
STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    hidden = trial.suggest_categorical("hidden", [0.0, 0.25, 0.5, 0.75])
    stage = Stage(budget=Budget(unit="steps", amount=10))
    optim = OptimConfig(weight_decay=0.3 + hidden / 2)
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=64))

STUDY = Study(question="How much?", configure=configure, baseline={"hidden": 0.0})
"""
POSTGRES = "postgresql://me@host/db"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "fake.py").write_text(STUDY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE.parent), str(Path(__file__).parents[2])]))
    return tmp_path


def study(*arguments):
    command = [sys.executable, "-m", "workbench.study", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_dry_run_prints_the_script_and_writes_nothing(place):
    done = study(
        "fake", "--seeds", "2", "--workers", "3", "--slurm=--partition=gpu --time=1:00:00", "--dry-run",
        "--storage", POSTGRES,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "#SBATCH --array=1-3\n" in done.stdout
    assert "#SBATCH --partition=gpu --time=1:00:00\n" in done.stdout
    assert f"-m workbench.study fake --seeds 2 --storage {POSTGRES} &\n" in done.stdout
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
    assert not (place / "results").exists()


@pytest.mark.parametrize(
    ("options", "workers", "storage", "said"),
    [
        ("gpu", "", "", "--slurm must hold options of sbatch, such as"),
        ("--comment='half", "", "", "No closing quotation"),
        (
            "--array=1-9",
            "",
            "",
            "must not hold --array=1-9, which is set here: --workers is the number of jobs",
        ),
        ("--time=1", "auto", "", "--workers must be the number of jobs, 1 or more, not 'auto'"),
        ("--time=1", "4", "", "4 jobs may run on several machines, which cannot share an SQLite ledger"),
        ("--time=1", "4", "sqlite:///o.db", "4 jobs may run on several machines"),
        ("", "2", POSTGRES, "--slurm must hold options of sbatch"),
    ],
)
def test_wrong_inputs_are_one_sentence(place, options, workers, storage, said):
    with pytest.raises(UserError) as caught:
        slurm.script("fake", ["true"], options, workers, place / "results", storage)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["two\nlines", "back\\slash"])
def test_a_folder_whose_name_sbatch_cannot_read_is_refused(place, name):
    with pytest.raises(UserError, match="must have a path without line breaks and backslashes") as caught:
        slurm.script("fake", ["true"], "--time=1", "", place / name, "")
    assert "\n" not in str(caught.value)


def test_without_slurm_it_says_so(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place))
    done = study("fake", "--slurm=--time=1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --slurm needs sbatch on this machine; --dry-run prints")
    assert not (place / "results").exists()


@pytest.fixture(scope="module")
def slurm_cluster(tmp_path_factory):
    if why := missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("slurm")
    for above in folder.parents:  # munge looks whether others could change its folder
        if above.owner() == "root" and str(above).startswith("/tmp/"):
            above.chmod(0o755)
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(cluster(folder))
        except NotStarted as error:
            pytest.skip(str(error))
        yield environment


@pytest.mark.fault
def test_an_array_of_workers_does_every_run_once(place, monkeypatch, slurm_cluster, postgresql):
    monkeypatch.setenv("SLURM_CONF", slurm_cluster["SLURM_CONF"])
    done = study("fake", "--slurm=--partition=nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: SLURM refuses the job: ")
    assert "partition" in done.stderr
    assert done.stderr.count("\n") == 1
    submitted("2", postgresql, FAKE_PAUSE="0.05")
    wait_for_end()
    assert [run.status().state for run in runs()] == ["complete"] * 4
    assert [len((run.path / "starts.txt").read_text().split()) for run in runs()] == [1] * 4


@pytest.mark.fault
@pytest.mark.parametrize("name", ["two words", """it's 5%j of "all" #1: $HOME"""])
def test_logs_lie_in_a_folder_of_any_name(place, monkeypatch, slurm_cluster, name):
    monkeypatch.setenv("SLURM_CONF", slurm_cluster["SLURM_CONF"])
    results = place / name
    job = slurm.submit(slurm.script("fake", ["echo", "done"], "--time=1", "1", results, ""), results)
    until((log := results / "slurm" / f"fake-{job}_1.log").exists, timeout=60)
    until(lambda: log.read_text() == "done\n", timeout=60)


@pytest.mark.fault
def test_a_job_whose_time_is_nearly_up_saves_and_queues_again(place, monkeypatch, slurm_cluster):
    monkeypatch.setenv("SLURM_CONF", slurm_cluster["SLURM_CONF"])
    job = submitted("1", "", FAKE_PAUSE="200", FAKE_HURRY="hurry")
    until(lambda: any(run.read_metrics().rows for run in runs()))
    subprocess.run(["scancel", "--batch", "--signal=USR1", f"{job}_1"], check=True, timeout=60)
    until(lambda: any(run.status().state == "interrupted" for run in runs()))
    Path("hurry").touch()
    until(lambda: any("PENDING" in line for line in queued()))
    # SLURM holds a job that it queues again for two minutes, and for a second refuses its former credential.
    subprocess.run(["scontrol", "update", f"JobId={job}_1", "StartTime=now+5seconds"], check=True, timeout=60)
    wait_for_end()
    assert [run.status().state for run in runs()] == ["complete"] * 4
    for run in runs():
        steps = [row["step"] for row in run.read_metrics().rows if "train/loss" in row]
        assert steps == list(range(1, 11)), "no step is lost or trained twice"


def submitted(workers, storage, **environment):
    """Submits the study of `fake_train.py`, whose steps take as long as the test wants."""
    storage_words = ["--storage", storage] if storage else []
    command = [sys.executable, str(FAKE), "fake", "--mlflow", "none", *storage_words]
    text = slurm.script("fake", command, "--time=10:00", workers, Path("results"), storage)
    for name, value in environment.items():
        os.environ[name] = value
    try:
        return slurm.submit(text, Path("results"))
    finally:
        for name in environment:
            del os.environ[name]


def runs():
    return [RunDir(path.parent) for path in sorted(Path("results/runs/fake").glob("*/run.json"))]


def queued():
    command = ["squeue", "-h", "-o", "%i %T"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n")


def wait_for_end(timeout=240):
    until(lambda: len(runs()) == 4 and not any(queued()), timeout)


def until(condition, timeout=240):
    end = time.monotonic() + timeout
    while not condition():
        logs = "\n".join(path.read_text()[-500:] for path in Path("results/slurm").glob("*.log"))
        assert time.monotonic() < end, f"waited for too long: {queued()}\n{logs}"
        time.sleep(0.2)
