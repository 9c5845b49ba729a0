"""Many workers on one study in PostgreSQL: is a run lost or done twice, and how long does a claim take?

    python benchmarks/many_workers.py                 # 64 workers, 2,000 runs of ten seconds
    python benchmarks/many_workers.py --workers 8 --runs 100 --seconds 2
    python benchmarks/many_workers.py --hosts 4       # folders of their own, as of four machines

Starts a PostgreSQL of its own and `python -m workbench.study` with `--workers`. Everything is real
but the training, which sleeps. Workers of one host share a results folder, whose locks keep them apart; those
of several hosts have the database only. Printed are the runs that were lost or done twice, how long a claim
took (`Ledger.acquire`, from the first look at a run to its lease), how long a worker had no run between two,
and the time of all beside that of workers which would do nothing but sleep. Tables and pictures of the answer
are not made. Exit code 1 where a run is lost or doubled, or the median claim takes more than 50 ms. Needs the
extra `postgres` and Debian's `postgresql`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NAME = "sleepers"
SEEDS = 5
CLAIM = 0.05
"""Limit of the median claim in seconds."""
SECONDS = "SLEEPING_SECONDS"
STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study

def configure(trial):
    decay = trial.suggest_categorical("decay", {decays})
    warmup = trial.suggest_categorical("warmup", {warmups})
    stage = Stage(budget=Budget(unit="steps", amount=10))
    optim = OptimConfig(weight_decay=decay, warmup=warmup)
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=64))

STUDY = Study(question="Is anything lost?", configure=configure, baseline={{"decay": 0.0, "warmup": 0.0}})
"""


def main(arguments: Sequence[str]) -> int:
    """Stands in for training: the fork servers call it. Imports no torch, draws nothing, sleeps."""
    from workbench.tracking.run_dir import RunDir

    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.append(number))
    run = RunDir(arguments[0])
    with run.lock():
        with open(run.path / "starts.txt", "a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        attempt = run.identity()["attempt"]
        run.write_json(
            "environment.json", {"data": "none", "data_digest": "0" * 64, "commit": "", "threads": 1}
        )
        run.set_status("running", step=0, steps=10, attempt=attempt)
        end = time.monotonic() + float(os.environ[SECONDS])
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            if stopped:
                run.set_status("interrupted")
                return 75
        row = {"stage": 0, "seconds": 1.0, "pflops": 0.01, "train/loss": 1.0, "val/t2v_r1": 10.0}
        run.append_metrics({"step": 10, **row})
        run.write_json("summary.json", {"val/t2v_r1": 10.0, "test/t2v_r1": 10.0, "speed/total_seconds": 10.0})
        run.set_status("complete", step=10, steps=10, seconds=1.0)
    return 0


def host(options: list[str]) -> int:
    """The study command of one machine, whose claims are timed into `claims/PID` of its results folder."""
    from workbench.runner import work
    from workbench.study import __main__ as command
    from workbench.study.ledger import Ledger

    claims = Path(options[options.index("--results") + 1]) / "claims"
    claims.mkdir(parents=True)
    acquire, one = Ledger.acquire, work._one

    def note(kind: str, **facts: Any) -> None:
        with open(claims / str(os.getpid()), "a", encoding="ascii") as file:
            file.write(json.dumps({"kind": kind} | facts) + "\n")

    def timed(ledger: Ledger, run: Any) -> Any:
        begin, used = time.monotonic(), time.process_time()
        lease = acquire(ledger, run)
        used, seconds = time.process_time() - used, time.monotonic() - begin
        note("claim" if lease else "none", begin=begin, seconds=seconds, used=used)
        return lease

    def noted(*arguments: Any) -> None:
        begin = time.monotonic()
        one(*arguments)
        note("run", begin=begin, seconds=time.monotonic() - begin)

    def unanswered(ledger: Ledger, *others: Any) -> int:
        return 0 if all(entry.state == "complete" for entry in ledger.entries()) else 3

    Ledger.acquire = timed  # type: ignore[method-assign]
    work._one, command._finish = noted, unanswered
    module = Path(__file__).stem
    return command.main([NAME, *options], module=module, prepare=lambda data, root, **rest: root)


def measure(options: argparse.Namespace, folder: Path, address: str) -> list[subprocess.Popen[bytes]]:
    """Starts all hosts and waits for them."""
    cells = options.runs // SEEDS
    warmups = next(n for n in range(math.isqrt(cells), 0, -1) if not cells % n)
    decays = [round(number / 1000, 3) for number in range(cells // warmups)]
    (folder / "studies").mkdir()
    (folder / f"studies/{NAME}.py").write_text(
        STUDY.format(decays=decays, warmups=[round(number / 100, 2) for number in range(warmups)])
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH_")}
    environment |= {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", SECONDS: f"{options.seconds:g}"}
    hosts = []
    for number in range(options.hosts):
        words = ["--workers", str(options.workers // options.hosts), "--seeds", str(SEEDS), "--device", "cpu"]
        words += ["--storage", address, "--mlflow", "none", "--results", str(folder / f"host{number}")]
        with open(folder / f"host{number}.log", "wb") as log:
            command = [sys.executable, __file__, "--as-host", *words]
            hosts.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
    for one in hosts:
        one.wait()
    return hosts


def report(options: argparse.Namespace, folder: Path, address: str) -> bool:
    """Prints what came of it; whether all is as it should be."""
    import optuna

    trials = optuna.load_study(study_name=NAME, storage=address).get_trials(deepcopy=False)
    done = Counter((t.user_attrs["key"], t.user_attrs["seed"]) for t in trials if t.state.name == "COMPLETE")
    starts: Counter[str] = Counter()
    for path in folder.glob(f"host*/runs/{NAME}/*/starts.txt"):
        starts[path.parent.name] += len(path.read_text(encoding="ascii").split())
    lost = options.runs - len(done)
    doubled = sum(n > 1 for n in done.values()) + sum(n > 1 for n in starts.values())
    notes = {
        path: [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
        for path in folder.glob("host*/claims/*")
    }
    claims = [note["seconds"] for those in notes.values() for note in those if note["kind"] == "claim"]
    used = [note["used"] for those in notes.values() for note in those if note["kind"] == "claim"]
    vain = [note["seconds"] for those in notes.values() for note in those if note["kind"] == "none"]
    idle, ends = [], []
    for those in notes.values():
        runs = [note for note in those if note["kind"] == "run"]
        ends += [(note["begin"], note["begin"] + note["seconds"]) for note in runs]
        idle += [b["begin"] - a["begin"] - a["seconds"] for a, b in pairwise(runs)]
    wall = max(end for _, end in ends) - min(begin for begin, _ in ends)
    ideal = math.ceil(options.runs / options.workers) * options.seconds
    print(
        f"{options.workers} workers on {options.hosts} host(s), {options.runs} runs of {options.seconds:g} s"
    )
    print(f"  lost {lost}, done twice {doubled}, {len(trials)} trials, {sum(starts.values())} starts")
    print(f"  claim: {spread(claims)}; {len(vain)} looks at runs that others had: {spread(vain)}")
    print(f"  processor time of a claim, without the server's: {spread(used)}")
    print(f"  from the end of a run to the next lease: {spread(idle)}")
    print(f"  first lease to last end: {wall:.0f} s, with sleeping alone {ideal:.0f} s", flush=True)
    return not lost and not doubled and median(claims) <= CLAIM


def spread(seconds: list[float]) -> str:
    """Median, 95th percentile and largest of some times."""
    if len(seconds) < 2:
        return "none"
    high = quantiles(seconds, n=20, method="inclusive")[-1]
    return f"median {1e3 * median(seconds):.1f} ms, p95 {1e3 * high:.1f} ms, most {1e3 * max(seconds):.0f} ms"


def benchmark() -> int:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--workers", type=int, default=64)
    found.add_argument("--runs", type=int, default=2000, help=f"a multiple of the {SEEDS} seeds")
    found.add_argument("--seconds", type=float, default=10.0, help="that each of them sleeps")
    found.add_argument("--hosts", type=int, default=1, help="results folders among which workers are divided")
    options = found.parse_args()
    if options.runs % SEEDS or options.workers % options.hosts:
        found.error(f"--runs is a multiple of {SEEDS}, and --workers one of --hosts")
    sys.path[:0] = [str(ROOT), str(ROOT / "tests/faults")]
    from postgres import programs, server

    if (installed := programs()) is None:
        found.error("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as name, server(installed) as running:
        folder, begin = Path(name), time.monotonic()
        hosts = measure(options, folder, running.address)
        if any(one.returncode for one in hosts):
            print("\n".join(path.read_text()[-2000:] for path in folder.glob("*.log")), file=sys.stderr)
        fine = report(options, folder, running.address)
        print(f"  with start and end of all processes {time.monotonic() - begin:.0f} s")
    return int(not fine or any(one.returncode for one in hosts))


if __name__ == "__main__":
    raise SystemExit(host(sys.argv[2:]) if sys.argv[1:2] == ["--as-host"] else benchmark())
