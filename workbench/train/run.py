"""One run from its directory: read `config.json`, train, write the record. `python -m workbench.train`.

The run directory is the record: nothing here knows of studies or trackers. Exit codes: 0 complete,
1 failed (the reason is in `status.json`), 2 bad input, 74 the disk is full (the reason may be in the log
only), 75 asked to stop (the checkpoint is complete).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from workbench.config import DataConfig, RunConfig
from workbench.data import prepare
from workbench.data.store import FrameStore, is_ready, store_path
from workbench.distributed import Lost
from workbench.errors import UserError
from workbench.extensions import record as extensions
from workbench.project_paths import called
from workbench.tracking import code
from workbench.tracking.files import check_folder, disk_full
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint, environment
from workbench.train.heartbeat import Heartbeat, Stopwatch, Superseded
from workbench.train.loop import NotFinite, train
from workbench.train.record import describe, figures, keep, measure, recorded
from workbench.train.session import Interrupted, Session, check, open_session
from workbench.train.step.compiled import compiles
from workbench.train.world import World, check_place, launch, place

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
FAILED, DISK, INTERRUPTED = 1, 74, 75
_stop = False


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.processes == 1:
        return _main(options)
    try:
        return _launch(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _launch(options: argparse.Namespace) -> int:
    """Runs it in several processes of this machine, and settles a record that none of them could."""
    size, run = options.processes, _opened(options.run_dir)
    if size < 1:
        raise UserError(f"--processes must be 1 or more, not {size}")
    if "WORLD_SIZE" in os.environ:
        raise UserError(f"--processes {size} cannot be given under torchrun, which sets their number")
    check(run.config(), size)
    check_place(options.device, size)
    code = launch(size, lambda: _main(options), harmless=(0, INTERRUPTED))
    status = run.status()
    if code < 0 and status is not None and status.state == "running":
        reason = f"process 0 of {size} ended by {signal.Signals(-code).name}"
        run.set_status("failed", failure="killed", reason=reason)
    return code if code >= 0 else FAILED


def _main(options: argparse.Namespace) -> int:
    """Exit code of this process, alone or one of several."""
    try:
        run = _opened(options.run_dir)
        config = run.config()  # before the lock, which would make the folder
        device = place(options.device)
        world = World.join()
        with run.lock() if world.first else nullcontext():
            return _run(run, config, options, device, world)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # of the lock; what goes wrong later is settled by `_run`
        print(
            f"error: cannot write to {error.filename or options.run_dir} ({error.strerror})", file=sys.stderr
        )
        return DISK if disk_full(error) else 2


def _opened(path: Path) -> RunDir:
    """The run directory, with what it needs of the user's own files to be found."""
    run = RunDir(path)
    extensions.find_again(run.identity().get("own"), run.path)
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=called("train"), description="Train one run.")
    parser.add_argument("run_dir", type=Path, help="folder with the run's config.json")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("WORKBENCH_DATA", "results/data")),
        help="folder of prepared data (WORKBENCH_DATA)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds between checkpoints")
    parser.add_argument("--processes", type=int, default=1, help="number of processes that share each batch")
    return parser


def _run(
    run: RunDir, config: RunConfig, options: argparse.Namespace, device: torch.device, world: World
) -> int:
    """Runs and settles the status whatever happens; unforeseen errors keep their traceback in the log."""
    started = time.perf_counter()
    check_folder(options.data_root, "--data-root", writable=False)
    precision = _precision(run.file("checkpoints"), device)
    before = run.status()
    if before is not None and before.state == "complete":
        if world.first:
            print("this run is complete")
            _clean(run)
        return 0
    for number in STOP_SIGNALS:
        signal.signal(number, _ask_to_stop)
    identity = run.identity()
    if world.first:
        run.set_status("running", started=time.time(), attempt=identity.get("attempt", 1))
    watch = Stopwatch(started=started, before=before.spent if before is not None else 0.0)
    try:
        stores = {data: _store(data, options.data_root) for data in config.all_data}
        session = open_session(
            config,
            stores,
            device=device,
            precision=precision,
            runs=run.path.resolve().parents[1],
            resuming=(run.file("checkpoints") / checkpoint.LAST).exists(),
            world=world,
        )
        _train(run, session, options.save_every, watch)
    except Interrupted as error:
        _end(run, identity, world, "interrupted", str(error), spent=watch.spent)
        return INTERRUPTED
    except Superseded as error:
        print(f"gave up: {error}", file=sys.stderr)
        return INTERRUPTED
    except Lost as error:
        print(f"gave up: {error}", file=sys.stderr)
        if world.first:
            failure, reason = world.read_failure()
            _end(run, identity, world, "failed", reason, failure=failure)
        return FAILED
    except UserError as error:
        _end(run, identity, world, "failed", str(error), failure="data")
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the record says what and the log where
        traceback.print_exc()
        return _note_failure(run, identity, world, error)
    finally:
        run.close()
        world.leave()
    return 0


def _end(
    run: RunDir, identity: dict[str, Any], world: World, state: str, reason: str, **changes: Any
) -> None:
    """Writes how it ended; of several processes the first does, and is told what befell the others."""
    if not world.first:
        if state == "failed":
            world.report_failure(changes["failure"], reason)
    elif run.identity() == identity:  # else the record is another attempt's by now
        run.set_status(state, reason=reason, **changes)


def _note_failure(run: RunDir, identity: dict[str, Any], world: World, error: Exception) -> int:
    """Settles the status of a failed run; on a full disk that may not work either."""
    failure = classify(error)
    try:
        _end(run, identity, world, "failed", f"{type(error).__name__}: {error}"[:500], failure=failure)
    except OSError as full:
        if not disk_full(full):
            raise
        print(f"error: {full}", file=sys.stderr)
        return DISK
    return DISK if failure == "disk" else FAILED


def classify(error: BaseException) -> str:
    """The failure class of an error, one of `run_dir.FAILURES`."""
    if isinstance(error, NotFinite | FloatingPointError):
        return "not_finite"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out_of_memory"
    if disk_full(error):
        return "disk"
    return "error"


def _precision(checkpoints: Path, device: torch.device) -> torch.dtype:
    """That in which the run was begun, else the device's own; `UserError` on another kind of device.

    Half a run on a GPU and half on a processor would be neither: its speed, its cost and its rounding belong
    to no machine.
    """
    begun = checkpoint.origin(checkpoints)
    kind = begun.get("device", device.type)
    if kind != device.type:
        raise UserError(
            f"the run was begun on {kind} and cannot go on on {device.type}: give --device {kind}, or delete "
            f"{checkpoints} to start it anew"
        )
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return known.get(begun.get("precision", "")) or environment.pick_precision(device)


def _store(data: DataConfig, root: Path) -> FrameStore:
    # Whoever made the store has consented to its gaps; one that is made here has nobody's consent.
    made = bool(data.digest) and is_ready(store_path(data, root))
    try:
        path = prepare(data, root=root, allow_bad_eval=made)
    except OSError as error:
        if disk_full(error):
            raise
        raise UserError(f"cannot make the data in {root} ({error.strerror}: {error.filename})") from error
    store = FrameStore.open(path)
    if data.digest and store.digest != data.digest:
        raise UserError(f"the data in {path} has changed: expected digest {data.digest[:12]}")
    return store


def _train(run: RunDir, session: Session, save_every: float, watch: Stopwatch) -> None:
    checkpoints, world = run.file("checkpoints"), session.world
    compiled = compiles(session.config.optim, session.device)
    facts = environment.describe(session.device, session.precision, world.size, compiled=compiled)
    facts |= extensions.facts(session.config)
    session.origin = _origin(session, facts)
    begun = checkpoint.origin(checkpoints)
    with world.in_turn():  # a damaged checkpoint is put aside by the first
        resumed = checkpoint.resume(
            checkpoints, session.recipe, session.optimizer, session.config, session.origin["vocabulary"]
        )
    if resumed is not None:
        session.progress = resumed
    at = session.progress
    world.check_alike(_alike(session, facts))
    if not world.first:
        for _ in train(session, stop=lambda: _stop):
            continue
        return
    run.keep_metrics(at.step)
    known = {_signature(row) for row in run.read_metrics().rows if row.get("step") == at.step}
    if resumed is not None and session.config.init_from:
        session.started_from = run.read_json("environment.json").get("init_from", [])
    facts |= code.keep(run, extensions.record(session.config))
    describe(run, session, facts, _earlier(run, session, begun if resumed is not None else {}))
    at.startup_seconds += watch.attempt
    heartbeat = Heartbeat(run, session, watch, lambda: _stop)

    def flush() -> None:
        keep(run, session)

    rows = train(session, checkpoints=checkpoints, save_every=save_every, stop=heartbeat, flush=flush)
    for step, row in rows:
        line = {"step": step, **row}
        # Else recorded between the checkpoint and the end of that attempt.
        if _signature(line) not in known:
            run.append_metrics(line)
        if scores := [f"{name} {value:.1f}" for name, value in row.items() if name.startswith("val/")]:
            print(f"step {step}: {scores[0]}", flush=True)
    session.alone()  # the others have nothing left to do
    heartbeat.check_owner()
    # Whatever interrupts the evaluation on the test split, nothing has to be trained again.
    flush()
    checkpoint.save(checkpoints, session.recipe, session.optimizer, at, session.config, session.origin)
    _finish(run, session, heartbeat, world.size)


def _alike(session: Session, facts: Mapping[str, object]) -> dict[str, str]:
    """What all processes of a run must have in common, by its name."""
    return {
        "the configuration": session.config.to_json(),
        "the versions of code and libraries": str(
            [facts["commit"], facts["torch"], facts["precision"], facts.get("own")]
        ),
        "the data": str([store.digest for store in session.stores.values()]),
        "the checkpoint": str([session.progress.step, session.origin["vocabulary"]]),
        "the weights": str([float(p.detach().double().sum()) for p in session.recipe.parameters()]),
    }


def _origin(session: Session, facts: Mapping[str, object]) -> dict[str, str]:
    """What a checkpoint tells of where it was made."""
    words = session.vocabulary.tokenizer.to_str().encode()
    made = {name: str(facts[name]) for name in ("device_name", "precision", "torch", "hostname", "processes")}
    made |= {"own": str(facts["own"])} if "own" in facts else {}
    commit = f"{facts['commit']}{' with changes' if facts['dirty'] else ''}"
    vocabulary = hashlib.sha256(words).hexdigest()
    return made | {"device": session.device.type, "commit": commit, "vocabulary": vocabulary}


def _earlier(run: RunDir, session: Session, begun: Mapping[str, str]) -> list[dict[str, str]]:
    """Where the steps before the checkpoint were trained, as far as that differs from here; said aloud."""
    if not begun:
        return []
    earlier: list[dict[str, str]] = run.read_json("environment.json").get("earlier", [])
    changed = {n: v for n, v in begun.items() if n != "hostname" and session.origin.get(n) != v}
    if changed and begun not in earlier:
        earlier = [*earlier, dict(begun)]
        names = ", ".join(f"{n}: {v} -> {session.origin.get(n)}" for n, v in changed.items())
        print(f"warning: going on where it was not begun ({names})", file=sys.stderr)
    return earlier


def _signature(row: dict[str, Any]) -> tuple[int, frozenset[str]]:
    return row["step"], frozenset(row)


def _finish(run: RunDir, session: Session, heartbeat: Heartbeat, processes: int) -> None:
    """Measures the test split once, writes what is left of the record, and only then calls it complete."""
    summary = recorded(run, session, heartbeat)
    rows = run.read_metrics().rows
    summary |= measure(run, session, heartbeat, heartbeat.check_owner)
    summary |= session.hidden_shares() | figures(session, rows, heartbeat.watch.spent, processes)
    heartbeat.check_owner()
    checkpoint.finish(run.file("checkpoints"), session.recipe)
    run.write_json("summary.json", summary)
    at = session.progress
    run.set_status("complete", step=at.step, steps=at.step, seconds=at.seconds, spent=heartbeat.watch.spent)
    _clean(run)


def _clean(run: RunDir) -> None:
    """Removes what only a resume would need; until the run is complete that may yet happen."""
    checkpoint.drop(run.file("checkpoints"))
    run.file("cost.json").unlink(missing_ok=True)


def _ask_to_stop(number: int, frame: object) -> None:
    global _stop
    _stop = True
