"""Cached data from a results folder, for all sessions of the process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from workbench.answer.study_record import StudyRecord, load, smoke_cells
from workbench.errors import UserError
from workbench.tracking.cache.queries import QueryValues
from workbench.tracking.files import check_name
from workbench.tracking.runs import RunTable

REFRESH = 2.0
"""Seconds for which data count as fresh."""
QUICK = 0.1
"""Seconds of a look at the run directories; where it takes longer, the next one waits so much longer, so that
looking takes a twentieth of one core at most."""
KEPT = 32
"""Answers and curves kept in memory."""

Version = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A study as it was read."""

    at: float
    """Time of reading, by the monotonic clock."""
    table: pl.DataFrame
    asked: StudyRecord | None
    problem: str
    """Why `asked` is missing."""
    smoke: frozenset[str]
    """Keys of cells that smoke tests alone have asked for."""
    description: tuple[int, int]
    """Time and size of `study.json`."""
    took: float
    """Seconds that the look took."""
    version: Version
    """Changes with `study.json` and with every run that ends."""

    @property
    def stale_at(self) -> float:
        """When it is time to look again."""
        return self.at + REFRESH * max(1.0, self.took / QUICK)


class Store:
    """What was read from one results folder. Safe to share between threads, none of which waits for what
    another one computes unless it needs the same."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._lock = threading.Lock()
        self._studies: dict[str, _Study] = {}
        self._kept: OrderedDict[Any, _Kept] = OrderedDict()

    def studies(self) -> tuple[str, ...]:
        """Names of the studies that have runs or a description, in alphabetical order."""
        try:
            folders = [path for path in (self.results / "runs").iterdir() if path.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(path.name for path in folders if _is_name(path.name) and _holds(path)))

    def study(self, name: str) -> Seen:
        """The study as it is now, or was a moment ago."""
        with self._lock:
            if name not in self._studies:
                self._studies[name] = _Study(RunTable(self.results, name))
            study = self._studies[name]
        # While somebody else looks again, what is known is still good enough.
        if study.lock.acquire(blocking=study.seen is None):
            try:
                if study.seen is None or time.monotonic() > study.seen.stale_at:
                    study.seen = self._look(name, study)
            finally:
                study.lock.release()
        assert study.seen is not None
        return study.seen

    def queries(self, name: str) -> QueryValues:
        """What has been read of the queries of a study that was looked at."""
        return self._studies[name].queries

    def kept(self, key: Any, version: Any, make: Callable[[], Any]) -> Any:
        """What `make` returned last under this version."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        with kept.lock:  # of this key alone: others are looked up meanwhile
            if kept.version != version:
                kept.value = make()
                kept.version = version
            return kept.value

    def _look(self, name: str, study: _Study) -> Seen:
        began = time.monotonic()
        description = _signature(self.results / "runs" / name / "study.json")
        table = study.table.read()
        before = study.seen
        if before is not None and before.description == description != (0, 0):
            asked, problem = before.asked, before.problem
        else:
            asked, problem = self._asked(name)
        # Another plan writes its description before its runs begin.
        known = before is not None and before.description == description and before.table is table
        smoke = before.smoke if before is not None and known else smoke_cells(self.results, name)
        now = time.monotonic()
        return Seen(
            at=now, table=table, asked=asked, problem=problem, smoke=smoke, description=description,
            # The first look reads what later ones only glance at.
            took=now - began if before is not None else 0.0,
            version=(description, study.table.ended),
        )  # fmt: skip

    def _asked(self, name: str) -> tuple[StudyRecord | None, str]:
        try:
            return load(self.results, name), ""
        except UserError as error:
            return None, str(error)


@dataclass
class _Study:
    table: RunTable
    queries: QueryValues = field(default_factory=QueryValues)
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: Seen | None = None


@dataclass
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    version: Any = None
    value: Any = None


@st.cache_resource(show_spinner=False, max_entries=4)
def open_store(results: str) -> Store:
    """The store of a folder, one in a process."""
    return Store(Path(results))


def _signature(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _holds(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:  # it has gone since the list was made
        return False


def _is_name(name: str) -> bool:
    try:
        check_name(name, "study name")
    except UserError:
        return False
    return True
