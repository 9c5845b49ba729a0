"""Inputs of the statistics, one number for each query of each run, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import UserError

Array = NDArray[np.float64]

Runs = Mapping[int, ArrayLike]
"""The runs of one cell: seed -> values [Q], in the same order of queries for every run.
A metric without queries (cost, speed) is a single number or [1]."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The runs of one cell, seeds ascending, queries summed up within their clusters."""

    name: str
    seeds: tuple[int, ...]
    sums: Array
    """[n, C]"""
    sizes: Array
    """[C], queries in each cluster."""

    @property
    def means(self) -> Array:
        """[n], the metric of each run."""
        means: Array = self.sums.sum(1) / self.sizes.sum()
        return means

    def at(self, seeds: Sequence[int]) -> Array:
        """[len(seeds), C]"""
        return self.sums[[self.seeds.index(seed) for seed in seeds]]


def tabulate(runs: Runs, groups: Sequence[str] | None = None, *, name: str = "the cell") -> Table:
    """Checks the runs of one cell and sums the queries of each cluster.

    groups: [Q], the clip of each query; without it every query is a cluster of its own.
    Raises UserError for no runs, unequal numbers of queries, and values that are not finite.
    """
    if not runs:
        raise UserError(f"{name} has no runs to compare")
    seeds = tuple(sorted(runs))
    rows = [np.atleast_1d(np.asarray(runs[seed], dtype=float)) for seed in seeds]
    lengths = {row.shape for row in rows}
    if len(lengths) > 1 or rows[0].ndim != 1 or rows[0].size == 0:
        raise UserError(
            f"every run of {name} needs one value for each query, the same number in each run; "
            f"found shapes {', '.join(str(shape) for shape in sorted(lengths))}"
        )
    values = np.stack(rows)
    if not np.isfinite(values).all():
        bad = [str(s) for s, row in zip(seeds, rows, strict=True) if not np.isfinite(row).all()]
        raise UserError(f"{name} has values that are not finite (seed {', '.join(bad)})")
    if groups is None:
        return Table(name=name, seeds=seeds, sums=values, sizes=np.ones(values.shape[1]))
    if len(groups) != values.shape[1]:
        raise UserError(f"{name} has {values.shape[1]} queries but {len(groups)} group names")
    cluster = _clusters(tuple(groups))
    sizes = np.bincount(cluster).astype(float)
    # All runs at once: each has its own clusters, numbered after those of the previous run.
    places = cluster + len(sizes) * np.arange(len(values))[:, None]
    sums = np.bincount(places.ravel(), weights=values.ravel()).astype(float).reshape(len(values), -1)
    return Table(name=name, seeds=seeds, sums=sums, sizes=sizes)


@lru_cache(maxsize=4)
def _clusters(groups: tuple[str, ...]) -> NDArray[np.intp]:
    """[Q], the number of each query's cluster; a thousand cells share their queries."""
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def check_same_queries(tables: Sequence[Table]) -> None:
    """Raises UserError unless all cells answered the same number of queries."""
    first = tables[0]
    for table in tables[1:]:
        if not np.array_equal(table.sizes, first.sizes):
            raise UserError(
                f"{table.name} and {first.name} were tested on different queries "
                f"({table.sizes.sum():.0f} and {first.sizes.sum():.0f}); "
                "compare runs of the same test split"
            )
