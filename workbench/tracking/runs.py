"""The run table: one row a run, read from the run directories alone (no MLflow, no torch)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from workbench.metrics import score
from workbench.tracking.files import check_name
from workbench.tracking.run_dir import RunDir

FILES = ("run.json", "status.json", "summary.json", "environment.json")
"""A row changes only when one of these does; `config.json` never does."""

COLUMNS: dict[str, pl.DataType] = {
    "run": pl.String(),
    "study": pl.String(),
    "key": pl.String(),
    "seed": pl.Int64(),
    "cell": pl.String(),
    "attempt": pl.Int64(),
    "recipe": pl.String(),
    "state": pl.String(),
    "failure": pl.String(),
    "reason": pl.String(),
    "step": pl.Int64(),
    "steps": pl.Int64(),
    "started": pl.Float64(),
    "updated": pl.Float64(),
    "seconds": pl.Float64(),
}
"""The columns that every table has, whatever the runs hold."""

CACHE = ".table.json"
SAVE_SECONDS = 60.0
"""Between two writings of the cache by somebody who looks again and again at runs that go on."""
_VERSION = 1


def load_runs(results: Path | str, study: str | None = None) -> pl.DataFrame:
    """One row a run, of one study or of all, ordered by study and run.

    Columns: those of `COLUMNS`, then `axis.<name>`, `config.<dotted>`, `metric.<name>` and
    `env.<name>`. A column whose values mix words and numbers becomes words. A run whose files cannot
    be read has the state `unreadable` and the reason. Runs that have not changed since the last call
    come from a cache beside them.
    """
    root = Path(results) / "runs"
    if study is not None:
        return RunTable(results, study).read()
    names = sorted(e.name for e in _entries(root) if e.is_dir())
    tables = []
    for name in names:
        rows, changed = _study_rows(root / name)
        if changed:
            _write_cache(root / name / CACHE, rows)
        tables.append(rows)
    return _frame([table[run]["row"] for table in tables for run in sorted(table)])


class RunTable:
    """The run table of one study, for whoever looks again and again: only what has changed is read."""

    def __init__(self, results: Path | str, study: str) -> None:
        self._folder = Path(results) / "runs" / check_name(study, "study name")
        self._known: dict[str, Any] | None = None
        self._frame: pl.DataFrame | None = None
        self._unsaved = False
        self._saved_at = -math.inf
        self.ended = ""
        """Changes with every run that ends or is gone, not with those that are under way; set by `read`."""

    def read(self) -> pl.DataFrame:
        """As `load_runs`; the same object as before while no run has changed."""
        rows, changed = _study_rows(self._folder, self._known)
        if self._frame is None or changed:
            patched = None if self._frame is None else _patched(self._frame, self._known or {}, rows)
            if patched is None:
                patched = _frame([rows[name]["row"] for name in sorted(rows)])
            self._frame = patched
            self.ended = _ended(rows)
        self._known = rows
        self._unsaved = self._unsaved or changed
        if self._unsaved and time.monotonic() - self._saved_at >= SAVE_SECONDS:
            _write_cache(self._folder / CACHE, rows)
            self._unsaved, self._saved_at = False, time.monotonic()
        return self._frame


def _study_rows(folder: Path, known: dict[str, Any] | None = None) -> tuple[dict[str, Any], bool]:
    """Signature and row of each run, and whether anything differs from what was known (or cached)."""
    cached = _read_cache(folder / CACHE) if known is None else known
    rows: dict[str, dict[str, Any]] = {}
    changed = False
    for entry in _entries(folder):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        signature = _signature(entry.path)
        if signature is None:
            continue
        old = cached.get(entry.name)
        if old is None or old["signature"] != signature:
            old = {"signature": signature, "row": _row(Path(entry.path), folder.name)}
            changed = True
        rows[entry.name] = old
    return rows, changed or len(rows) != len(cached)


def _ended(rows: Mapping[str, Any]) -> str:
    """Digest of the runs that are not under way."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(rows):
        if rows[name]["row"].get("state") != "running":
            found.update(f"{name} {rows[name]['signature']}\n".encode())
    return found.hexdigest()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _signature(path: str) -> list[int] | None:
    """Times and sizes of the files that make up a row; None for a directory that is no run."""
    signature: list[int] = []
    for name in FILES:
        try:
            stat = os.stat(f"{path}/{name}")
        except FileNotFoundError:
            signature += (0, 0)
        else:
            signature += (stat.st_mtime_ns, stat.st_size)
    return signature if any(signature[:2]) else None


def _row(path: Path, study: str) -> dict[str, Any]:
    run = RunDir(path)
    row: dict[str, Any] = {"run": path.name, "study": study}
    try:
        identity, status = run.identity(), run.read_json("status.json")
        known = {name: identity.get(name) for name in ("key", "seed", "cell", "recipe", "attempt")}
        row |= known | {name: status[name] for name in COLUMNS if name in status}
        row |= _prefixed("axis", identity.get("axes", {}))
        row |= _prefixed("config", run.flat_config())
        row |= _prefixed("metric", {k: v for k, v in run.summary().items() if _is_told(k, v)})
        row |= _prefixed("env", run.read_json("environment.json"))
    except (ValueError, OSError, AttributeError) as error:
        row |= {"state": "unreadable", "reason": str(error)}
    return row


def _is_told(name: str, value: Any) -> bool:
    """No record is written with a score that is not finite: where one has it, it is damaged and no score."""
    return score(name) is None or not isinstance(value, float) or math.isfinite(value)


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Scalars under dotted names; nested objects are unfolded, lists become words."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _prefixed(f"{prefix}.{name}", value)
        else:
            found[f"{prefix}.{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    names = dict.fromkeys(COLUMNS)
    for group in ("axis.", "config.", "metric.", "env."):
        names |= dict.fromkeys(n for row in rows for n in row if n.startswith(group))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        dtype = COLUMNS.get(name) or _dtype(values)
        columns.append(pl.Series(name, _cast(values, dtype), dtype=dtype, strict=False))
    return pl.DataFrame(columns)


def _patched(frame: pl.DataFrame, known: Mapping[str, Any], rows: Mapping[str, Any]) -> pl.DataFrame | None:
    """The frame with the rows that have changed; None where that could change its columns.

    A run that goes on reports every few seconds: other numbers, but the same fields of the same types.
    """
    changed = [name for name, row in rows.items() if row is not known.get(name)]
    if set(rows) != set(known) or any(
        _fields(rows[name]["row"]) != _fields(known[name]["row"]) for name in changed
    ):
        return None
    new = pl.DataFrame(
        [
            pl.Series(name, _cast([rows[run]["row"].get(name) for run in changed], dtype), dtype=dtype)
            for name, dtype in frame.schema.items()
        ]
    )
    return frame.filter(~pl.col("run").is_in(changed)).vstack(new).sort("run")


def _fields(row: Mapping[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in row.items()}


def _dtype(values: Sequence[Any]) -> pl.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Boolean()
    if kinds == {int}:
        return pl.Int64()
    if kinds and kinds <= {int, float}:
        return pl.Float64()
    return pl.String()


def _cast(values: Sequence[Any], dtype: pl.DataType) -> list[Any]:
    if dtype != pl.String():
        return list(values)
    return [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]


def _read_cache(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return {}
    runs: dict[str, Any] = content["runs"]
    return runs


def _write_cache(path: Path, rows: Mapping[str, Any]) -> None:
    """In one step, but not synced: after a crash the cache may be lost, and is made again.

    Results that one may only read, or a full disk: the table is right without a cache.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_text(json.dumps({"version": _VERSION, "runs": rows}), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
