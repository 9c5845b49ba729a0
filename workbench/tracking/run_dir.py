"""The run directory: the complete record of one run.

Standard library and numpy only, because training writes it on bare GPU nodes and everything else
(study, MLflow, run table, dashboard) reads it. Files and their contents are listed in the README;
all but `metrics.jsonl` and `train.log` are replaced atomically, so a reader never sees half a file.
"""

from __future__ import annotations

import json
import math
import os
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile

from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.serial import unfold
from workbench.tracking.files import (
    Lock,
    check_link,
    check_name,
    inherited_lock,
    naming,
    try_lock,
    write_atomic,
)

STATES = ("running", "complete", "failed", "interrupted", "pruned")
"""States of a run. `pruned`: stopped by a search because it was poor; neither failed nor missing."""
FAILURES = ("not_finite", "out_of_memory", "data", "disk", "killed", "hang", "error")

MAX_NUMBER = 1e12
"""Upper bound of steps, process numbers and seconds since 1970 in valid records."""
MAX_UNPACKED_BYTES = 2 << 30
"""Bytes to which an archive of arrays may unpack; a small file that says more is no record of a run."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a run; times in seconds, `started` and `updated` since 1970."""

    state: str
    failure: str | None = None
    reason: str = ""
    step: int = 0
    steps: int = 0
    pid: int = 0
    attempt: int = 1
    started: float = 0.0
    updated: float = 0.0
    seconds: float = 0.0
    """Seconds on the training clock."""
    spent: float = 0.0
    """Seconds of all attempts, including start-up, evaluation and lost work."""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, not {self.state!r}")
        if self.failure is not None and self.failure not in FAILURES:
            raise ValueError(f"failure must be one of {', '.join(FAILURES)}, not {self.failure!r}")
        for name in ("step", "steps", "pid", "attempt", "started", "updated", "seconds", "spent"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not -MAX_NUMBER < value < MAX_NUMBER:
                raise TypeError(f"{name} must be a number below {MAX_NUMBER:.0e}, not {str(value)[:40]!r}")


class Metrics(NamedTuple):
    """Rows of `metrics.jsonl` in order, and how many lines could not be read (a torn last one)."""

    rows: list[dict[str, Any]]
    torn: int


class RunDir:
    """One run: its files, its status, its lock. Creating the object touches nothing."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._metrics_fd = -1

    @classmethod
    def of(cls, results: Path, study: str, key: str, seed: int) -> RunDir:
        """The directory of a run inside `results`; names and links that leave it are refused."""
        runs = results / "runs"
        folder = runs / check_name(study, "study name")
        path = folder / check_name(f"{key}-s{seed}", "run name")
        check_link(folder, runs)
        check_link(path, runs)
        return cls(path)

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def file(self, name: str) -> Path:
        """Path of a file of this run; `name` may have folders; neither it nor a link leaves the directory."""
        path = self.path
        for part in name.split("/"):
            path = path / check_name(part, "file name")
            check_link(path, self.path)
        return path

    def create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    # Small JSON files

    def write_json(self, name: str, value: Any) -> None:
        """Replaces the file atomically; numpy scalars become numbers, NaN and infinity raise."""
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(value, indent=2, default=_plain, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in a JSON file, empty when there is none; `UserError` when it is damaged."""
        path = self.file(name)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError, OSError) as error:  # numbers of 5,000 digits, a folder, ...
            raise UserError(f"{path} is not readable JSON: {getattr(error, 'strerror', error)}") from error
        if not isinstance(value, dict):
            raise UserError(f"{path} must hold a JSON object")
        return value

    def read_arrays(self, name: str, *arrays: str) -> list[np.ndarray]:
        """Arrays of an `.npz` file by their names; nothing is unpickled.

        Raises `FileNotFoundError` where there is no such file, `UserError` where it is damaged.
        """
        path = self.file(name)
        try:
            found = np.load(path, allow_pickle=False)
            if not isinstance(found, NpzFile):
                raise ValueError("it is a single array")
            with found:
                entries = found.zip.infolist() if found.zip else []
                size = sum(entry.file_size for entry in entries)
                if size > MAX_UNPACKED_BYTES:
                    raise ValueError(f"it would unpack to {size} bytes")
                if missing := set(arrays) - set(found.files):
                    raise ValueError(f"it has no {', '.join(sorted(missing))}")
                return [found[array] for array in arrays]
        except FileNotFoundError:
            raise
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise UserError(f"{path} is damaged: {error}") from error

    def write_config(self, config: RunConfig) -> None:
        write_atomic(self.file("config.json"), config.to_json())

    def config(self) -> RunConfig:
        """The run's configuration, seed included; imports its recipe (and so torch)."""
        path = self.file("config.json")
        try:
            return RunConfig.from_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{self.path} is not a run directory: it has no config.json") from error
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not text: {error}") from error

    def flat_config(self) -> dict[str, Any]:
        """The configuration under dotted names, as `workbench.config.flatten`, without importing it."""
        return dict(unfold("", self.read_json("config.json")))

    def identity(self, *needed: str) -> dict[str, Any]:
        """`run.json`: study, key, seed, cell, axes, attempt, token, recipe; empty when there is none.

        Raises `UserError` where one of `needed` (and with them the seed) is not what it should be.
        """
        found = self.read_json("run.json")
        if not isinstance(found.get("axes", {}), dict):
            raise UserError(f"{self.file('run.json')} has axes that are not an object")
        for name in (*needed, "seed") if needed else ():
            kind = {"seed": int, "axes": dict}.get(name, str)
            if type(found.get(name)) is not kind:
                raise UserError(f"{self.file('run.json')} has no valid {name}")
        return found

    def summary(self) -> dict[str, Any]:
        """Final metrics; empty until the run is complete."""
        return self.read_json("summary.json")

    def log_tail(self, longest: int = 16_384) -> str:
        """The end of `train.log`: whole lines of up to so many bytes, or the end of a longer one."""
        try:
            with open(self.file("train.log"), "rb") as file:
                start = max(0, os.fstat(file.fileno()).st_size - longest)
                file.seek(start)
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return text.partition("\n")[2] or text if start else text

    # Metrics

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Adds one line, handed to the system in a single write unless the disk is full; `OSError` then.

        Values that are not finite are left out and their names listed under `not_finite`.
        """
        plain = {k: v if isinstance(v, str) else _plain(v) for k, v in row.items()}
        bad = [k for k, v in plain.items() if isinstance(v, float) and not math.isfinite(v)]
        line = {k: v for k, v in plain.items() if k not in bad}
        if bad:
            line["not_finite"] = bad
        rest = (json.dumps(line) + "\n").encode()
        with naming(self.file("metrics.jsonl")):
            if self._metrics_fd < 0:
                self._metrics_fd = self._open_metrics()
            while rest:  # the last bytes of a disk take a part of it, and only the next write fails
                rest = rest[os.write(self._metrics_fd, rest) :]

    def flush(self) -> None:
        """Waits until the rows so far are on disk: a checkpoint may not outlive the rows before it."""
        if self._metrics_fd >= 0:
            with naming(self.file("metrics.jsonl")):
                os.fsync(self._metrics_fd)

    def close(self) -> None:
        """Closes `metrics.jsonl` after flushing it to disk."""
        if self._metrics_fd >= 0:
            self.flush()
            os.close(self._metrics_fd)
            self._metrics_fd = -1

    def read_metrics(self, names: Iterable[str] | None = None, starts: Iterable[str] = ()) -> Metrics:
        """All rows so far, also while they are being written.

        names: of metrics, or how they start; rows with none of them are left out unparsed.
        """
        try:
            lines = self.file("metrics.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return Metrics([], 0)
        except OSError as error:
            raise UserError(f"{self.file('metrics.jsonl')} cannot be read: {error.strerror}") from error
        wanted = [json.dumps(name).encode() for name in names or ()]
        wanted += [json.dumps(start)[:-1].encode() for start in starts]
        if names is not None or wanted:
            lines = [line for line in lines if any(name in line for name in wanted)]
        rows = [row for line in lines if (row := _row(line)) is not None]
        return Metrics(rows, sum(bool(line.strip()) for line in lines) - len(rows))

    def keep_metrics(self, until_step: int) -> None:
        """Drops rows after `until_step`, which a run resumed from a checkpoint will write again."""
        self.close()
        rows = self.read_metrics().rows
        kept = [json.dumps(row) + "\n" for row in rows if row.get("step", 0) <= until_step]
        write_atomic(self.file("metrics.jsonl"), "".join(kept))

    def _open_metrics(self) -> int:
        path = self.file("metrics.jsonl")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")  # a torn line must not swallow the next one
        return fd

    # Status

    def status(self) -> Status | None:
        """The last written status, None before the run has started."""
        fields = self.read_json("status.json")
        if not fields:
            return None
        known = {k: v for k, v in fields.items() if k in Status.__dataclass_fields__}
        try:
            return Status(**known)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.file('status.json')} is not the status of a run: {error}") from error

    def set_status(self, state: str, **changes: Any) -> Status:
        """Writes the status: what was known before, with `changes` and the present time.

        `pid` defaults to the calling process; going on clears an earlier failure.
        """
        now = time.time()
        before = self.status() or Status(state=state, started=now)
        changes = {"failure": None, "reason": "", "pid": os.getpid(), "updated": now} | changes
        status = replace(before, state=state, **changes)
        self.write_json("status.json", asdict(status))
        return status

    # Lock

    def try_lock(self) -> Lock | None:
        """The lock of this run, or None while another process holds it.

        A lock that the starting process handed down (`WORKBENCH_LOCK_FD`) counts as held by us.
        """
        path = self.file("lock")
        if (lock := inherited_lock(path)) is not None:
            return lock
        self.create()
        return try_lock(path)

    def lock(self) -> Lock:
        """The lock of this run; `UserError` while another process holds it."""
        if (lock := self.try_lock()) is None:
            raise UserError(f"another process is working on {self.path}; wait for it or stop it")
        return lock

    def alive(self) -> bool:
        """Whether some process on this machine holds the lock."""
        if not self.file("lock").exists():
            return False
        if (lock := self.try_lock()) is None:
            return True
        lock.release()
        return False


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _plain(value: Any) -> Any:
    """numpy and torch scalars as Python numbers, without importing either."""
    if value is None or isinstance(value, bool | int | float | list):
        return value
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a run's record")
