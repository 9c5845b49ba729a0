"""Data for the views: the studies in a results folder, and the chosen one.

Results that depend only on ended runs are computed again only when another run ends, not whenever a running
one reports a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from app.store import Seen, Store, Version
from workbench import tasks
from workbench.answer.evidence import gather
from workbench.answer.grouped import grouped
from workbench.answer.results import Answer, answer_of
from workbench.answer.study_record import StudyRecord
from workbench.metrics import score
from workbench.report.rows import exact, readable
from workbench.stats.intervals import Kind
from workbench.tracking.curves import load_curves
from workbench.tracking.files import check_name
from workbench.tracking.run_dir import RunDir

USUAL_METRIC = "t2v_r1"
"""Metric of a study that does not define one, without a split."""
SMOKE = " (smoke test)"
"""Suffix of the cell of a smoke test."""

_SPINNING = ContextVar("spinning", default=False)


@contextmanager
def _spinner(text: str) -> Iterator[None]:
    """A spinner with a clock while something is computed; what is computed inside shows no second one."""
    if _SPINNING.get():
        yield
        return
    token = _SPINNING.set(True)
    try:
        with st.spinner(text, show_time=True):
            yield
    finally:
        _SPINNING.reset(token)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The chosen study at one time."""

    results: Path
    studies: tuple[str, ...]
    study: str
    """Empty when there is none."""
    table: pl.DataFrame
    """The run table of the study, see `workbench.tracking.runs.load_runs`."""
    asked: StudyRecord | None
    """`study.json`; None where it is missing or unreadable, `problem` says why."""
    problem: str
    smoke: frozenset[str]
    """Keys of cells that smoke tests alone have asked for."""
    version: Version
    """Changes with `study.json` and with every run that ends."""
    store: Store = field(repr=False)

    @staticmethod
    def of(store: Store, study: str, studies: tuple[str, ...]) -> Runs:
        """The study as it is now, or was a moment ago."""
        with _spinner("Reading the runs …"):
            seen = store.study(study)
        return Runs(
            results=store.results, studies=studies, study=study, table=_marked(seen), asked=seen.asked,
            problem=seen.problem, smoke=seen.smoke, version=seen.version, store=store,
        )  # fmt: skip

    def now(self) -> Runs:
        """The same study at this moment, for parts of a page that refresh by themselves."""
        return Runs.of(self.store, self.study, self.studies)

    @property
    def standing(self) -> frozenset[tuple[str, str]]:
        """Every run with its state: changes when one begins, and not with each step."""
        return frozenset(self.table.select("run", "state").iter_rows())

    @property
    def done(self) -> pl.DataFrame:
        """The complete runs."""
        return self.table.filter(pl.col("state") == "complete")

    @property
    def metric(self) -> str:
        """The study's own metric, without a split."""
        return self.asked.metric if self.asked is not None else USUAL_METRIC

    def metrics(self) -> list[str]:
        """Metrics that runs have on test, without the split, the study's own first."""
        names = [c.removeprefix("metric.") for c in self.table.columns if c.startswith("metric.")]
        scores = [name.removeprefix("test/") for name in names if (s := score(name)) and s.split == "test"]
        return sorted(scores, key=lambda name: name != self.metric)

    def name_of(self, key: str, cell: str | None) -> str:
        """What to call a cell. One that is not of the plan says so: its words may be those of one that is.

        cell: what its run says.
        """
        if self.asked is None:
            return cell or key
        if key in self.asked.labels:
            return self.asked.labels[key]
        return cell or key if key in self.smoke else f"{cell or key} (of another plan)"

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
        maximize = self.asked.maximize
        if metric != self.asked.metric:
            maximize = tasks.metric(f"test/{metric}").higher_is_better
        asked = replace(self.asked, metric=metric, baseline=baseline, maximize=maximize)
        if metric != self.asked.metric:  # the contrasts are registered for the study's own
            asked = replace(asked, contrasts=(), exploring=asked.registered)
        key = ("answer", metric, baseline, None if by is None else tuple(by), error)
        return self.kept(key, lambda: self._answer(asked, by, error))

    def _answer(self, asked: StudyRecord, by: Sequence[str] | None, error: Kind) -> Answer:
        # What the runs answered is read once, however it is then looked at.
        key = ("evidence", asked.metric, asked.baseline)
        found = self.kept(
            key, lambda: gather(asked, self.results, self._measured(asked), self.store.queries(self.study))
        )
        if by is not None:
            asked, found = grouped(asked, found, by)
        return answer_of(asked, found, error)

    def _measured(self, asked: StudyRecord) -> pl.DataFrame:
        """The runs; what a run costs has no split, and stands for both when it is looked at as a metric."""
        if "/" not in asked.metric:
            return self.table
        whole = pl.col(f"metric.{asked.metric}").cast(pl.Float64)
        return self.table.with_columns(
            whole.alias(f"metric.{split}/{asked.metric}") for split in ("val", "test")
        )

    def rows(self, answer: Answer) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The table of an answer as people read it, and with all digits."""
        asked = answer.asked
        key = ("rows", asked.metric, asked.baseline, asked.axes, answer.error)
        return self.kept(key, lambda: (readable(answer), exact(answer)))

    def curves(
        self, runs: Iterable[str] | None = None, metrics: Sequence[str] | None = None, points: int = 200
    ) -> pl.DataFrame:
        """Curves, thinned to about so many points each; see `workbench.tracking.curves.load_curves`."""
        names = tuple(self.table["run"].to_list() if runs is None else runs)
        wanted = None if metrics is None else list(metrics)
        # Those of running runs grow between two versions.
        growing = self.table.filter(pl.col("run").is_in(names) & (pl.col("state") != "complete"))
        return self.kept(
            ("curves", names, tuple(metrics or ()), points),
            lambda: load_curves(self.results, self.study, names, wanted, points),
            tuple(growing.select("run", "step", "updated").rows()),
        )

    def kept(self, key: Any, make: Callable[[], Any], besides: Any = None) -> Any:
        """What `make` returns, computed anew when `version` has changed; besides: or when this has."""

        def made() -> Any:
            with _spinner("Comparing the runs …"):
                return make()

        return self.store.kept((self.study, key), (self.version, besides), made)

    def directory(self, run: str) -> RunDir:
        """The directory of a run, by its name (`KEY-sSEED`)."""
        return RunDir(self.results / "runs" / self.study / check_name(run, "run name"))


def _marked(seen: Seen) -> pl.DataFrame:
    """The run table, where runs of a smoke test say so beside those of the study that is shown."""
    beside = seen.smoke - (set[str]() if seen.asked is None else set(seen.asked.labels))
    if not beside:
        return seen.table
    marked = pl.when(pl.col("key").is_in(sorted(beside))).then(pl.col("cell") + SMOKE).otherwise("cell")
    return seen.table.with_columns(marked.alias("cell"))
