"""Fills the caches at the end of each run, so that later readers need not read thousands of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from workbench.errors import UserError
from workbench.metrics import Queries
from workbench.tracking.cache.curves import keep_evaluations
from workbench.tracking.cache.queries import keep_queries
from workbench.tracking.curves import read_evaluations
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import keep_row


class Leased(Protocol):
    """The part of a lease that is needed: the run directory."""

    @property
    def directory(self) -> RunDir: ...


class Keeper:
    """Watches the runs of a study, and keeps of each that ends what answers and views read.

    queries: where the queries of the study's metric lie; None for one that is no mean over queries.
    """

    def __init__(self, queries: Queries | None) -> None:
        self._queries = queries

    def started(self, lease: Leased) -> None:
        pass

    def progressed(self, lease: Leased, share: float) -> None:
        pass

    def ended(self, lease: Leased, outcome: Any, over: bool) -> None:
        keep(lease.directory, self._queries)

    def waiting(self, entries: Sequence[Any]) -> None:
        pass


def keep(run: RunDir, queries: Queries | None) -> None:
    """Keeps what can be read of a run that has ended; what is damaged is told by whoever reads it."""
    try:
        keep_row(run.path)
        keep_evaluations(run.path, read_evaluations)
        if queries is not None:
            keep_queries(run, queries)
    except (OSError, UserError, ArithmeticError, LookupError, TypeError, ValueError):
        return
