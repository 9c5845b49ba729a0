"""What there is to see: the studies in a results folder, and everything about the chosen one.

One store a process keeps what was read, for all sessions; files are looked at again after `REFRESH`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from workbench.errors import UserError
from workbench.figures.style import is_better_high
from workbench.report.answer import Answer, answer_of
from workbench.report.asked import Asked, load
from workbench.report.evidence import gather
from workbench.report.grouped import grouped
from workbench.stats.intervals import Kind
from workbench.tracking.files import check_name
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import RunTable, load_curves

REFRESH = 2.0
"""Seconds for which what was read counts as fresh."""
KEPT = 32
"""Answers and curves kept in memory."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The chosen study at one moment."""

    results: Path
    studies: tuple[str, ...]
    study: str
    """Empty when there is none."""
    table: pl.DataFrame
    """The run table of the study, see `workbench.tracking.runs.load_runs`."""
    asked: Asked | None
    """`study.json`; None where it is missing or unreadable, `problem` says why."""
    problem: str
    store: Store = field(repr=False)

    @property
    def done(self) -> pl.DataFrame:
        """The complete runs."""
        return self.table.filter(pl.col("state") == "complete")

    def metrics(self) -> list[str]:
        """Metrics that runs have on test, without the split, the study's own first."""
        names = [c.removeprefix("metric.test/") for c in self.table.columns if c.startswith("metric.test/")]
        own = self.asked.metric if self.asked is not None else "t2v_r1"
        return sorted(names, key=lambda name: name != own)

    def answer(
        self,
        *,
        metric: str | None = None,
        baseline: str | None = None,
        by: Sequence[str] | None = None,
        error: Kind = "seeds",
    ) -> Answer | None:
        """What the study says; None without `asked`.

        metric, baseline (key): others than the study's own; by: the axes whose values make a cell, all
        when None; error: what the intervals of the cells are about.
        """
        if self.asked is None:
            return None
        metric, baseline = metric or self.asked.metric, baseline or self.asked.baseline
        if by is not None and set(by) >= set(self.asked.axes):
            by = None
        asked = replace(
            self.asked, metric=metric, baseline=baseline,
            maximize=self.asked.maximize if metric == self.asked.metric else is_better_high(metric),
        )  # fmt: skip
        plan = (self.study, asked.metric, asked.baseline, asked.seeds, tuple(asked.cells))
        key = ("answer", plan, None if by is None else tuple(by), error)
        return self.store.kept(key, self.table, lambda: self._answer(plan, asked, by, error))

    def _answer(self, plan: Any, asked: Asked, by: Sequence[str] | None, error: Kind) -> Answer:
        # What the runs answered is read once, however it is then looked at.
        found = self.store.kept(("evidence", plan), self.table, lambda: gather(asked, self.results))
        if by is not None:
            asked, found = grouped(asked, found, by)
        return answer_of(asked, found, error)

    def curves(
        self, runs: Iterable[str] | None = None, metrics: Sequence[str] | None = None, points: int = 200
    ) -> pl.DataFrame:
        """Curves, thinned to about so many points each; see `workbench.tracking.runs.load_curves`."""
        names = tuple(self.table["run"].to_list() if runs is None else runs)
        key = ("curves", self.study, names, tuple(metrics or ()), points)
        wanted = None if metrics is None else list(metrics)
        return self.store.kept(
            key, self.table, lambda: load_curves(self.results, self.study, names, wanted, points)
        )

    def now(self) -> Runs:
        """The same study at this moment, for parts of a page that refresh by themselves."""
        return self.store.study(self.study, self.studies)

    def directory(self, run: str) -> RunDir:
        """The directory of a run, by its name (`KEY-sSEED`)."""
        return RunDir(self.results / "runs" / self.study / check_name(run, "run name"))


class Store:
    """What was read from one results folder. Safe to share between threads."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._lock = threading.RLock()
        self._tables: dict[str, RunTable] = {}
        self._read: dict[str, tuple[float, pl.DataFrame, Asked | None, str]] = {}
        self._kept: OrderedDict[Any, tuple[pl.DataFrame, Any]] = OrderedDict()

    def studies(self) -> tuple[str, ...]:
        """Names of the studies that have runs or a description, in alphabetical order."""
        try:
            folders = [path for path in (self.results / "runs").iterdir() if path.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(path.name for path in folders if _is_name(path.name) and any(path.iterdir())))

    def study(self, name: str, studies: tuple[str, ...]) -> Runs:
        """The study as it is now, or was a moment ago."""
        with self._lock:
            if name not in self._tables:
                self._tables[name] = RunTable(self.results, name)
            at, table, asked, problem = self._read.get(name, (0.0, pl.DataFrame(), None, ""))
            if time.monotonic() - at > REFRESH or not at:
                # What hangs on the table is computed again only when the table has changed.
                table = self._tables[name].read()
                asked, problem = self._asked(name)
                self._read[name] = (time.monotonic(), table, asked, problem)
        return Runs(
            results=self.results, studies=studies, study=name, table=table, asked=asked, problem=problem,
            store=self,
        )  # fmt: skip

    def kept(self, key: Any, table: pl.DataFrame, make: Callable[[], Any]) -> Any:
        """What `make` returns, kept as long as the table is the same object."""
        with self._lock:
            of, value = self._kept.get(key, (None, None))
            if of is not table:
                value = make()
            self._kept[key] = (table, value)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return value

    def _asked(self, name: str) -> tuple[Asked | None, str]:
        try:
            return load(self.results, name), ""
        except UserError as error:
            return None, str(error)


@st.cache_resource(show_spinner=False, max_entries=4)
def open_store(results: str) -> Store:
    """The store of a folder, one in a process."""
    return Store(Path(results))


def _is_name(name: str) -> bool:
    try:
        check_name(name, "study name")
    except UserError:
        return False
    return True
