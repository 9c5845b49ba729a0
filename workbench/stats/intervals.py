"""Confidence intervals with their kind, the bootstrap, and the summary of one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from workbench.stats.components import Estimate, estimate, half_width
from workbench.stats.inputs import Array, Runs, Table, check_same_queries, tabulate

Kind = Literal["seeds", "queries", "seeds+queries"]

RESAMPLES = 5000
_CHUNK = 100
"""Resamples counted at once: their counts stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval and its kind, which names the source of variation that it covers."""

    low: float
    high: float
    level: float
    kind: Kind
    """`seeds`: other seeds, these queries; `queries`: other queries, these trained models;
    `seeds+queries`: both."""
    n: int
    """Number of independent units: seeds, or else clusters of queries."""

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def within(self, low: float | None, high: float | None) -> Interval:
        """The interval limited to the range of possible values; None for no limit."""
        least = self.low if low is None else max(self.low, low)
        most = self.high if high is None else min(self.high, high)
        return replace(self, low=least, high=most)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Summary of one cell: its mean over seeds with an interval."""

    mean: float
    interval: Interval | None
    """None for a single number that has neither seeds nor queries to vary."""


def summarise(
    runs: Runs,
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    rng: int | np.random.Generator = 0,
) -> Summary:
    """Mean of a cell with its t interval over seeds; for one seed, a bootstrap over queries."""
    return summarise_cells({"the cell": runs}, groups, level=level, resamples=resamples, rng=rng)["the cell"]


def summarise_cells(
    cells: Mapping[str, Runs],
    groups: Sequence[str] | None = None,
    *,
    kind: Kind = "seeds",
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
    resamples: int = RESAMPLES,
    rng: int | np.random.Generator = 0,
) -> dict[str, Summary]:
    """`summarise` of every cell; those that need draws of queries share them, so many take seconds.

    kind: what the intervals are about. With one seed only queries can vary, and they are drawn whatever
    the kind. bounds: the least and the largest value that the metric can have; no interval reaches beyond.
    The cells must have answered the same queries.
    """
    tables = {name: tabulate(runs, groups, name=name) for name, runs in cells.items()}
    drawn = [t for t in tables.values() if len(t.sizes) > 1 and (kind == "queries" or len(t.seeds) == 1)]
    draws: dict[str, Array] = {}
    if drawn:
        check_same_queries(drawn)
        found = query_draws(np.vstack([t.sums for t in drawn]), drawn[0].sizes, resamples, base_seed(rng))
        ends = np.cumsum([len(t.seeds) for t in drawn])
        parts = zip(drawn, np.split(found, ends[:-1], axis=1), strict=True)
        draws = {table.name: part.mean(1) for table, part in parts}
    return {name: _summary(table, draws.get(name), kind, level, bounds) for name, table in tables.items()}


def _summary(
    table: Table, draws: Array | None, kind: Kind, level: float, bounds: tuple[float | None, float | None]
) -> Summary:
    """draws: [B], the metric of the cell's runs on resampled queries."""
    means = table.means
    interval: Interval | None = None
    if draws is not None:
        interval = percentile_interval(draws, level, "queries", len(table.sizes))
    elif len(means) > 1 and kind == "seeds":
        interval = seed_interval(means, level)
    elif len(means) > 1 and kind == "seeds+queries":
        interval = both_interval(estimate(table.sums, table.sizes), level)
    return Summary(mean=float(means.mean()), interval=None if interval is None else interval.within(*bounds))


def both_interval(found: Estimate, level: float) -> Interval:
    """Interval of a single contrast over seeds and queries, or over seeds for one number a run."""
    half, effect = float(half_width(found, 1 - level)), float(found.effect)
    return Interval(
        low=effect - half, high=effect + half, level=level,
        kind="seeds+queries" if found.clusters > 1 else "seeds", n=found.seeds,
    )  # fmt: skip


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean without a quarter of the values at each end (rounded down, so none of
    fewer than four values is left out)."""
    ordered = np.sort(np.asarray(values, dtype=float))
    cut = int(0.25 * len(ordered))
    # Parted once more, so that numbers are added up in the order of scipy's `trim_mean`, to the last bit.
    return float(np.partition(ordered, (cut, len(ordered) - cut - 1))[cut : len(ordered) - cut].mean())


def seed_interval(values: Array, level: float) -> Interval:
    """t interval of the mean of one number a seed, [n] with n >= 2."""
    n, mean = len(values), float(values.mean())
    half = float(-stdtrit(n - 1, (1 - level) / 2) * values.std(ddof=1) / np.sqrt(n))
    return Interval(low=mean - half, high=mean + half, level=level, kind="seeds", n=n)


def percentile_interval(draws: Array, level: float, kind: Kind, n: int) -> Interval:
    """The middle `level` of bootstrap draws [B]."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, kind=kind, n=n)


def bootstrap_p(draws: Array) -> float:
    """Two-sided p of zero: twice the smaller tail of bootstrap draws [B], including zero itself."""
    tail = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    return float(min(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def base_seed(rng: int | np.random.Generator) -> int:
    """The seed from which all random streams of an analysis are derived."""
    return int(rng.integers(2**63)) if isinstance(rng, np.random.Generator) else rng


def query_draws(sums: Array, sizes: Array, resamples: int, seed: int) -> Array:
    """[resamples, R] the metric of R runs on resampled clusters, the same draw for every run.

    sums: [R, C]; sizes: [C].
    """
    rng = np.random.default_rng([seed, 0])
    clusters = len(sizes)
    rows = np.ascontiguousarray(np.vstack([sums, sizes]).T)  # [C, R + 1]
    out = np.empty((resamples, len(sums)))
    for start in range(0, resamples, _CHUNK):
        n = min(_CHUNK, resamples - start)
        index = rng.integers(0, clusters, (n, clusters)) + clusters * np.arange(n)[:, None]
        counts = np.bincount(index.ravel(), minlength=n * clusters).reshape(n, clusters)
        totals = counts.astype(float) @ rows
        out[start : start + n] = totals[:, :-1] / totals[:, -1:]
    return out


@lru_cache(maxsize=16)
def seed_draws(n: int, resamples: int, seed: int) -> Array:
    """[resamples, n] weights of resampled seeds; each row sums to one. Not to be written to: it is shared."""
    rng = np.random.default_rng([seed, 1, n])
    weights: Array = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    weights.flags.writeable = False
    return weights
