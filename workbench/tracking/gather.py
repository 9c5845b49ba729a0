"""Collects run directories of several machines in one folder of results.

Repeating it is safe: what is there already is left alone, a copy is compared with its source by SHA-256
before it takes its place, and what another process is writing is not touched. Nothing is deleted but a record
that a further one of the same run replaces.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from workbench.errors import UserError
from workbench.tracking.files import LOOKS_LOCK, Lock, check_link, check_name, wait_for_lock, write_atomic
from workbench.tracking.run_dir import RunDir

ENDED = ("complete", "pruned")
"""States of finished runs."""
HERE_ONLY = ("lock", "mlflow.json", "mlflow.lock", "wandb.json", "wandb.lock")
"""Files that only concern this machine: the owner of the run, and the trackers that have it."""
WAITING = ".gathering"
"""Folder of `results` for incomplete copies."""


@dataclass(frozen=True)
class Gathered:
    """The result for one run directory, as a word and a sentence.

    `outcome`: `copied`, `replaced`, `same`, `kept`, `busy` or `refused`.
    """

    path: Path
    outcome: str
    said: str = ""


def gather(sources: Sequence[Path], results: Path) -> list[Gathered]:
    """Copies every run directory at or below `sources` to its place in `results`.

    Of two records of one run that has ended the one in `results` stays. Of two that have not, the one that is
    further on stays: the higher attempt where both are of the same lease (`token`), else the higher step.
    What describes a study beside its runs is copied where `results` has none.

    Raises `UserError` where a source holds no run directory or is `results` itself.
    """
    for source in sources:
        if source.resolve() == results.resolve():
            raise UserError(f"{source} is the folder into which runs are gathered; name another")
    with tqdm(find_runs(sources), unit="run", disable=not sys.stderr.isatty()) as bar:
        gathered = [_gather_one(directory, results) for directory in bar]
    shutil.rmtree(results / WAITING, ignore_errors=True)
    return gathered


def find_runs(paths: Sequence[Path]) -> list[RunDir]:
    """The run directories at or below some folders, each once, without copies that are still being made.

    Raises `UserError` for a folder that holds none.
    """
    found: dict[Path, RunDir] = {}
    for path in paths:
        files = sorted(path.rglob("run.json")) if path.is_dir() else []
        files = [file for file in files if WAITING not in file.parts]
        if not files:
            raise UserError(f"there is no run directory at or below {path}")
        found |= {file.parent.resolve(): RunDir(file.parent) for file in files}
    return list(found.values())


def _gather_one(source: RunDir, results: Path) -> Gathered:
    try:
        identity = source.identity("study", "key", "token")
        status = source.status()
        target = RunDir.of(results, identity["study"], identity["key"], identity["seed"])
        if status is None or status.state == "running" or source.alive():
            return Gathered(
                source.path, "busy", f"{source.path} is still running; gather it once it has ended"
            )
        digests = _digests(source.path)
        if target.file("run.json").exists() and _digests(target.path) == digests:
            return Gathered(source.path, "same")
        there = target.path.exists()
        if (lock := target.try_lock() if there else None) is None and there:
            said = f"{target.path} is being worked on; gather {source.path} later"
            return Gathered(source.path, "busy", said)
        with lock or nullcontext():
            return _take(source, digests, target, results, lock)
    except UserError as error:
        return Gathered(source.path, "refused", f"{source.path} was not gathered: {error}")


def _take(
    source: RunDir, digests: dict[str, str], target: RunDir, results: Path, lock: Lock | None
) -> Gathered:
    """Copies a run that the results do not have so; lock: of the directory there, None without one."""
    known = target.file("run.json").exists()
    if known and (why := _stays(target, source)):
        return Gathered(source.path, "kept", f"{target.path} stays: {why}")
    _copy(source, digests, target, results, lock)
    if not known:
        return Gathered(source.path, "copied")
    return Gathered(source.path, "replaced", f"{target.path} is now the further record of {source.path}")


def _stays(target: RunDir, source: RunDir) -> str:
    """Why the record in the results is not replaced by that of the source; empty where it is."""
    ours, theirs = target.status(), source.status()
    if ours is None or theirs is None:
        return ""
    same = target.identity("token")["token"] == source.identity("token")["token"]
    if ours.state in ENDED:
        other = "" if same else f", and {source.path} is another machine's of the same run"
        return f"it is {ours.state}{other}"
    if theirs.state in ENDED:
        return ""
    mine = (ours.attempt if same else 0, ours.step)
    others = (theirs.attempt if same else 0, theirs.step)
    return "" if others > mine else f"it is as far on ({ours.state} at step {ours.step}) or further"


def _copy(source: RunDir, digests: dict[str, str], target: RunDir, results: Path, lock: Lock | None) -> None:
    """A copy that is compared before it takes its place; the former record stays until then.

    The place is left to a worker who has begun the run in the meantime.
    """
    waiting = results / WAITING
    waiting.mkdir(parents=True, exist_ok=True)
    copy = waiting / f"{target.path.parent.name}.{target.path.name}"
    shutil.rmtree(copy, ignore_errors=True)
    try:
        for name in digests:
            place = copy / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path / name, place)
        if _digests(copy) != digests:
            raise UserError("its files changed while they were copied; repeat the command")
        target.path.parent.mkdir(parents=True, exist_ok=True)
        former = waiting / f"{copy.name}.former"
        if lock is not None:
            target.path.rename(former)
        elif target.path.exists():
            raise UserError(f"{target.path} was begun while {source.path} was copied; repeat the command")
        try:
            copy.rename(target.path)  # fails where a worker has begun the run just now
        except OSError:
            if former.exists():
                former.rename(target.path)
            raise
        if lock is not None:
            lock.release()  # before its file goes: NFS keeps what is open
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{error.filename or copy}: {error.strerror}") from error
    _describe(source.path.parent, target.path.parent)


def _describe(source: Path, target: Path) -> None:
    """Copies `study.json`, descriptions of plans and study files where the results have none, and adds the
    looks at claims that were taken there, which are looks at these runs too."""
    if theirs := _list(source / "looks.json"):
        with wait_for_lock(target / LOOKS_LOCK):
            ours = _list(target / "looks.json")
            if more := [look for look in theirs if look not in ours]:
                write_atomic(target / "looks.json", json.dumps(ours + more) + "\n")
    for file in (source / "study.json", *source.glob("asked-*")):
        name = check_name(file.name, "file name")
        if file.is_file() and not file.is_symlink() and not (target / name).exists():
            write_atomic(target / name, file.read_bytes())


def _list(path: Path) -> list[Any]:
    """The list in a JSON file; empty where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a run directory that other machines may have, by its relative name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in HERE_ONLY or path.name.startswith("."):
            continue
        check_link(path, folder)
        if path.is_file():
            with open(path, "rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
