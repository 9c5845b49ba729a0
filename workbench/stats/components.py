"""The interval over seeds and queries, and its p value.

Legend: n = seeds, C = clusters of queries (clips), `...` = any leading axes (contrasts).

A contrast of cells (such as arm minus baseline) is measured for every seed on every clip, so it is
a two-way table whose rows (seeds) and columns (clips) are both samples: retrain, or collect other
clips, and the number changes. Its model is

    x[s, c] = effect + seed[s] + clip[c] + rest[s, c]

and the variance of the estimated effect is `(MS_seed + MS_clip - MS_rest) / (n C)`, the analysis
known from studies with several readers and several cases (Obuchowski and Rockette 1995; Hillis,
Statistics in Medicine 26, 2007). With few seeds, MS_seed has few degrees of freedom, so the
critical value is the mean of two t quantiles, weighted by the two parts of the variance (Cochran,
Biometrics 20, 1964). `docs/statistics.md` shows by simulation why nothing simpler will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]

SMALLEST_P = 1e-12
"""p values below this are reported as this."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variance components of a contrast: squared units of the metric, for one seed on one clip."""

    seed: float
    """Between seeds, shared by all clips: shrinks with more seeds."""
    query: float
    """Between clips, shared by all seeds: shrinks with more clips only."""
    rest: float
    """Residual: shrinks with both."""
    seeds: int
    clusters: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Effects and their variance, one entry for each contrast."""

    effect: Array
    """[...]"""
    seed_part: Array
    """[...] variance that n - 1 degrees of freedom stand behind."""
    query_part: Array
    """[...] variance that C - 1 degrees of freedom stand behind."""
    mean_squares: tuple[Array, Array, Array]
    """Mean squares of seeds, clips and rest."""
    seeds: int
    clusters: int

    @property
    def error(self) -> Array:
        """[...] standard error of the effect."""
        return np.sqrt(self.seed_part + self.query_part)

    def at(self, index: int) -> Estimate:
        """The estimate of one contrast of a row."""
        seed, query, rest = (np.asarray(square[index]) for square in self.mean_squares)
        return Estimate(
            effect=np.asarray(self.effect[index]), seed_part=np.asarray(self.seed_part[index]),
            query_part=np.asarray(self.query_part[index]), mean_squares=(seed, query, rest),
            seeds=self.seeds, clusters=self.clusters,
        )  # fmt: skip

    def components(self) -> Components:
        """The components of a single contrast; estimates below zero are zero."""
        ms_seed, ms_query, ms_rest = (float(m) for m in self.mean_squares)
        return Components(
            seed=max(0.0, (ms_seed - ms_rest) / self.clusters),
            query=max(0.0, (ms_query - ms_rest) / self.seeds),
            rest=ms_rest,
            seeds=self.seeds,
            clusters=self.clusters,
        )


def estimate(sums: Array, sizes: Array) -> Estimate:
    """Effect and variance of contrasts measured on n >= 2 seeds.

    sums: [..., n, C], the contrast summed over the queries of each clip; sizes: [C], their number.
    With C = 1 (one number a run) only the seeds vary.
    """
    n, clusters = sums.shape[-2:]
    effect = sums.sum((-1, -2)) / (n * sizes.sum())
    # The mean over queries is a ratio when clips have unequal numbers of captions; this is its
    # linearisation. It leaves each seed's mean exactly as it is.
    x = effect[..., None, None] + (sums - effect[..., None, None] * sizes) / sizes.mean()
    by_seed, by_query = x.mean(-1), x.mean(-2)
    rounding = np.square(1e-12 * np.abs(x).max((-1, -2))) * n * clusters
    ms_seed = _above(clusters * by_seed.var(-1, ddof=1), rounding)
    if clusters == 1:
        zero = np.zeros_like(effect)
        return Estimate(
            effect=effect, seed_part=ms_seed / n, query_part=zero,
            mean_squares=(ms_seed, zero, zero), seeds=n, clusters=1,
        )  # fmt: skip
    ms_query = _above(n * by_query.var(-1, ddof=1), rounding)
    total = np.square(x - effect[..., None, None]).sum((-1, -2))
    rest = total - ms_seed * (n - 1) - ms_query * (clusters - 1)
    ms_rest = _above(rest / ((n - 1) * (clusters - 1)), rounding)
    # Three seeds can agree by luck. Their true variance cannot be below that of the rest, which is known
    # well, so the estimate is limited to it; otherwise lucky agreement would lead to claims.
    return Estimate(
        effect=effect,
        seed_part=np.maximum(ms_seed, ms_rest) / (n * clusters),
        query_part=np.maximum(ms_query - ms_rest, 0.0) / (n * clusters),
        mean_squares=(ms_seed, ms_query, ms_rest),
        seeds=n,
        clusters=clusters,
    )


def stacked(estimates: Sequence[Estimate], seeds: int, clusters: int) -> Estimate:
    """Single contrasts with equal numbers of seeds and clusters, as one row."""
    seed, query, rest = (np.array([e.mean_squares[k] for e in estimates]) for k in range(3))
    return Estimate(
        effect=np.array([e.effect for e in estimates]),
        seed_part=np.array([e.seed_part for e in estimates]),
        query_part=np.array([e.query_part for e in estimates]),
        mean_squares=(seed, query, rest), seeds=seeds, clusters=clusters,
    )  # fmt: skip


def _above(variance: Array, rounding: Array) -> Array:
    """The variances, with those that are only rounding errors set to zero."""
    return np.where(variance > rounding, variance, 0.0)


def half_width(est: Estimate, alpha: float | Array) -> Array:
    """[...] half the width of the 1 - alpha interval; zero where there is no variance at all."""
    quantile = _critical(np.asarray(alpha, dtype=float), est.seed_part, est.query_part,
                         est.seeds, est.clusters)  # fmt: skip
    return quantile * est.error


def p_values(est: Estimate) -> Array:
    """[...] the alpha at which the interval just touches zero; NaN where there is no variance."""
    with np.errstate(divide="ignore", invalid="ignore"):
        target = np.abs(est.effect) / est.error
    usable = np.isfinite(target)
    out = np.full(target.shape, np.nan)
    if not usable.any():
        return out
    from scipy.optimize import elementwise  # slow to import; cached answers do not need it

    t, seed, query = target[usable], est.seed_part[usable], est.query_part[usable]

    def excess(log_alpha: Array, t: Array, seed: Array, query: Array) -> Array:
        return t - _critical(np.exp(log_alpha), seed, query, est.seeds, est.clusters)

    low = np.full_like(t, np.log(SMALLEST_P))
    certain = excess(low, t, seed, query) >= 0  # beyond the smallest p: no root inside the bracket
    root = elementwise.find_root(
        excess, (low, np.zeros_like(t)), args=(np.where(certain, 0.0, t), seed, query)
    )
    out[usable] = np.where(certain, SMALLEST_P, np.exp(root.x))
    return out


def _critical(alpha: Array, seed: Array, query: Array, seeds: int, clusters: int) -> Array:
    """Cochran's critical value: the two t quantiles, weighted by their parts of the variance."""
    from_seeds = -stdtrit(seeds - 1, alpha / 2)
    if clusters == 1:
        return np.broadcast_to(from_seeds, np.broadcast_shapes(alpha.shape, seed.shape))
    from_queries = -stdtrit(clusters - 1, alpha / 2)
    total = seed + query
    weight = np.divide(seed, total, out=np.ones_like(total), where=total > 0)
    critical: Array = weight * from_seeds + (1 - weight) * from_queries
    return critical
