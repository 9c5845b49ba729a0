"""The run table: one row for each run, read from the run directories alone (without MLflow and torch)."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from workbench.config import DataConfig, OptimConfig, RunConfig
from workbench.metrics import score
from workbench.tracking.cache.frames import FrameFile, Source
from workbench.tracking.cache.rows import RowFile, Signature, signature
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
"""The columns that every table has, independent of the runs."""

SAVE_SECONDS = 60.0
"""Between two writings of the kept rows by somebody who looks again and again at runs that go on."""
MENDING = "mend it, or delete its folder to run it again"
"""What to do about a damaged record, behind a semicolon."""
_SETTINGS = {"": RunConfig, "data": DataConfig, "optim": OptimConfig}
"""Parts of a configuration whose settings are known without torch."""
_VERSION = 1
_BUILT = 1
"""Version of the code that builds tables from rows."""
_SCHEMA = {"row": pl.String()}
"""The row as JSON, since its columns hang on the rows beside it."""


def load_runs(results: Path | str, study: str | None = None) -> pl.DataFrame:
    """One row a run, of one study or of all, ordered by study and run.

    Columns: those of `COLUMNS`, then `axis.<name>`, `config.<dotted>`, `metric.<name>` and
    `env.<name>`. A column whose values mix words and numbers becomes words. A run whose files cannot
    be read has the state `unreadable` and the reason. Runs that have not changed since they were read
    last come from a file beside them, see `workbench.tracking.cache`.
    """
    root = Path(results) / "runs"
    if study is not None:
        return RunTable(results, study).read()
    rows: list[Mapping[str, Any]] = []
    for name in sorted(e.name for e in _entries(root) if e.is_dir()):
        kept = _file(root / name)
        known = _kept(kept)
        found = _study_rows(root / name, known)
        kept.add(_changed(found, known))
        rows += (_parsed(found[run]) for run in sorted(found))
    return _frame(rows)


class _Kept(NamedTuple):
    """One run as it was read from its files."""

    signature: Signature
    row: str
    """As JSON."""


class RunTable:
    """The run table of one study, for whoever looks again and again: only what has changed is read."""

    def __init__(self, results: Path | str, study: str) -> None:
        self._folder = Path(results) / "runs" / check_name(study, "study name")
        self._file = _file(self._folder)
        self._built = FrameFile(self._folder, "built", _BUILT)
        self._known: dict[str, _Kept] | None = None
        self._frame: pl.DataFrame | None = None
        self._sources: dict[str, Source] = {}
        """Sources of the rows of the frame, by run directory, in order."""
        self._unkept = False
        """Whether the frame was built as a whole since one was kept."""
        self._saved: dict[str, _Kept] = {}
        self._saved_at = -math.inf
        self.ended = ""
        """Changes with every run that ends or is gone, not with those that are under way; set by `read`."""

    def read(self) -> pl.DataFrame:
        """As `load_runs`; the same object as before while no run has changed."""
        if self._known is None:
            self._known = self._saved = _kept(self._file)
            self._frame, self._sources = self._built.read()
        rows = self._known = _study_rows(self._folder, self._known)
        before, self._frame = self._frame, self._table(rows)
        if self._frame is not before or not self.ended:
            self.ended = _ended(rows, self._frame)
        new = _changed(rows, self._saved)
        if (new or self._unkept) and time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._file.add(new)
            if self._unkept:
                self._built.write(self._frame, self._sources)
            self._saved, self._saved_at, self._unkept = rows, time.monotonic(), False
        return self._frame

    def _table(self, rows: Mapping[str, _Kept]) -> pl.DataFrame:
        """The table of these rows: the one that is known where it is of the very same.

        A run that goes on reports every few seconds: other numbers, but the same fields of the same types, so
        that the columns stay as they are and its row alone is replaced.
        """
        frame, known = self._frame, self._sources
        if frame is not None and rows.keys() == known.keys():
            changed = {n: _parsed(row) for n, row in rows.items() if row.signature != known[n].signature}
            if all(_fields(row) == known[name].fields for name, row in changed.items()):
                self._sources |= {n: Source(rows[n].signature, known[n].fields) for n in changed}
                return _patched(frame, list(known), changed) if changed else frame
        every = {name: _parsed(rows[name]) for name in sorted(rows)}
        self._sources = {name: Source(rows[name].signature, _fields(row)) for name, row in every.items()}
        self._unkept = True
        return _frame(list(every.values()))


def unknown_settings(names: Iterable[str]) -> str:
    """A sentence on settings of a run that this version does not have, without a full stop; empty where there
    are none: what such a run was trained with, and whether it is like the others, cannot be told.

    names: dotted ones of its configuration, as of `RunDir.flat_config`; of recipes and stages nothing is
    said.
    """
    known = {part: {"type", *(field.name for field in fields(kind))} for part, kind in _SETTINGS.items()}
    odd = []
    for name in names:
        part, _, setting = name.partition(".")
        if part not in known[""]:
            odd.append(part)
        elif setting and part in known and setting.partition(".")[0] not in known[part]:
            odd.append(name)
    if not odd:
        return ""
    listed = ", ".join(dict.fromkeys(odd))
    return f"its config.json has {listed}, which this version does not know; {MENDING}"


def keep_row(run: Path) -> None:
    """Keeps the row of a run that has ended."""
    if any(seen := signature(str(run), FILES)):
        row = _Kept(seen, json.dumps(_row(run, run.parent.name)))
        _file(run.parent).add(_changed({run.name: row}, {}))


def _file(folder: Path) -> RowFile:
    return RowFile(folder, "table", _VERSION, _SCHEMA)


def _kept(file: RowFile) -> dict[str, _Kept]:
    rows = file.read().drop_nulls().select("run", "signature", "row")
    return {run: _Kept(tuple(seen), row) for run, seen, row in rows.iter_rows()}


def _changed(rows: Mapping[str, _Kept], known: Mapping[str, _Kept]) -> list[dict[str, Any]]:
    """The rows that are not those that were known, as they are kept."""
    return [
        {"run": name, "signature": list(row.signature), "row": row.row}
        for name, row in rows.items()
        if row is not known.get(name)
    ]


def _parsed(kept: _Kept) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(kept.row)
    return row


def _study_rows(folder: Path, known: Mapping[str, _Kept]) -> dict[str, _Kept]:
    """Signature and row of each run; the very object that was known where nothing has changed."""
    rows: dict[str, _Kept] = {}
    for entry in _entries(folder):
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        seen = signature(entry.path, FILES)
        if not any(seen[:3]):  # a directory that is no run
            continue
        old = known.get(entry.name)
        if old is None or old.signature != seen:
            old = _Kept(seen, json.dumps(_row(Path(entry.path), folder.name)))
        rows[entry.name] = old
    return rows


def _ended(rows: Mapping[str, _Kept], frame: pl.DataFrame) -> str:
    """Digest of the runs that are not under way."""
    found = hashlib.blake2b(digest_size=16)
    for name, state in frame.select("run", "state").iter_rows():
        if state != "running":
            seen = rows[name].signature if name in rows else ()  # a record may call itself anything
            found.update(f"{name} {seen}\n".encode())
    return found.hexdigest()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


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
    names, there = dict.fromkeys(COLUMNS), dict.fromkeys(chain.from_iterable(rows))
    for group in ("axis.", "config.", "metric.", "env."):
        names |= dict.fromkeys(name for name in there if name.startswith(group))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        dtype = COLUMNS.get(name) or _dtype(values)
        columns.append(pl.Series(name, _cast(values, dtype), dtype=dtype, strict=False))
    return pl.DataFrame(columns)


def _patched(
    frame: pl.DataFrame, names: Sequence[str], changed: Mapping[str, Mapping[str, Any]]
) -> pl.DataFrame:
    """The frame with other rows of the same fields. names: run directories in the order of its rows."""
    new = [
        pl.Series(name, _cast([row.get(name) for row in changed.values()], dtype), dtype=dtype, strict=False)
        for name, dtype in frame.schema.items()
    ]
    behind = {name: frame.height + i for i, name in enumerate(changed)}
    return frame.vstack(pl.DataFrame(new))[[behind.get(name, i) for i, name in enumerate(names)]]


def _fields(row: Mapping[str, Any]) -> str:
    """Digest of the names and types of the fields."""
    return _digest_of(tuple(row), tuple(map(type, row.values())))


@functools.lru_cache(maxsize=1024)
def _digest_of(names: tuple[str, ...], types: tuple[type, ...]) -> str:
    told = json.dumps([*names, *(kind.__name__ for kind in types)])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


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
