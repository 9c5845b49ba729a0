"""Metrics under random ranks in a gallery, and whether the best cell of a study differs from them.

Legend: V = clips of the gallery, Q = its captions, c = captions of a clip, K = the K of R@K.

The null hypothesis is that ranks do not depend on contents: the clip of a caption is random. Then the right
clip of a caption is among the first K of V with probability K / V, and of a clip's c captions the best is
among the first K of Q with probability 1 - C(Q - c, K) / C(Q, K).

The captions of a clip need not be independent, nor the seeds of a cell: a model that has learned nothing
still has favourites, such as the brightest clip, and may have them for every caption and with every seed. So
captions of one clip are assumed to hit or to miss together, with all seeds, and a mean over seeds is tested
like one run. This is the case with the widest distribution; if seeds are independent it costs power but adds
no errors (`docs/statistics_validity.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import UserError
from workbench.stats.inputs import Array

Side = Literal["t2v", "v2t"]
"""Text-to-video: each caption searches the clips; video-to-text: each clip searches the captions."""

DRAWS = 20_000
"""Simulated galleries for the mean rank; recalls are exact."""
TRAINS = 0.999
"""Level of `Null.threshold`: one of a thousand runs that learned nothing is better."""
_NEGLIGIBLE = 1e-20
"""Probabilities below this change no p that is shown."""


@dataclass(frozen=True, kw_only=True)
class Null:
    """The distribution of a metric under random ranks."""

    support: Array
    """[S] values that the metric takes, ascending, in its own units."""
    share: Array
    """[S] their probabilities."""
    draws: int
    """Number of simulated galleries; 0 if the probabilities are exact."""
    higher_is_better: bool

    @property
    def mean(self) -> float:
        """What random ranks reach on average."""
        return float(self.support @ self.share / self.share.sum())

    def p(self, value: float) -> float:
        """One-sided: the probability of a value at least as good as this one."""
        return float(self._tails(np.array([value]))[0])

    def threshold(self, level: float = TRAINS) -> float:
        """The value that random ranks are better than with probability 1 - level at most."""
        better = self._tails(self.support) - self.share / self.share.sum()  # strictly better than each value
        fits = self.support[better <= 1 - level + 1e-12]
        return float(fits[0] if self.higher_is_better else fits[-1])

    def needed(self, alpha: float) -> float | None:
        """The worst value whose p is below alpha; None if even the best value's is not."""
        fits = self.support[self._tails(self.support) < alpha]
        if not fits.size:
            return None
        return float(fits[0] if self.higher_is_better else fits[-1])

    def _tails(self, values: Array) -> Array:
        """[n] probabilities of at least as good, the simulated ones with the value itself counted in."""
        slack = 1e-9 * max(1.0, float(np.abs(self.support).max()))  # means are rounded
        if self.higher_is_better:
            start = np.searchsorted(self.support, values - slack)
            tail = np.append(np.cumsum(self.share[::-1])[::-1], 0.0)[start]
        else:
            stop = np.searchsorted(self.support, values + slack, side="right")
            tail = np.append(0.0, np.cumsum(self.share))[stop]
        tail = np.minimum(1.0, tail / self.share.sum())
        return (tail * self.draws + 1) / (self.draws + 1) if self.draws else tail


@dataclass(frozen=True, kw_only=True)
class FromChance:
    """Comparison of the best of some cells with random ranks."""

    cell: str
    """The best cell."""
    value: float
    """Its mean over seeds, in the metric's units."""
    expected: float
    """What random ranks reach on average."""
    needed: float | None
    """Value from which the best of so many cells differs significantly from chance; None if no value does."""
    p: float
    """Probability of a value at least as good in one cell that learned nothing."""
    p_adjusted: float
    """p after Bonferroni's correction, because the best of several cells is tested."""
    cells: int
    significant: bool
    """Whether the adjusted p is below 1 - level."""


def recall(captions: ArrayLike, k: int, side: Side) -> Null:
    """R@K in percent under random ranks, exactly.

    captions: [V] number of captions of each clip of the gallery.
    Raises UserError for a clip without captions, and for K below 1.
    """
    counts = _checked(captions)
    if k < 1:
        raise UserError(f"R@K needs a K of at least 1, not {k}")
    together = counts if side == "t2v" else np.ones_like(counts)
    share = _sum_of_hits(together, hit_chances(counts, k, side))
    support = 100.0 * np.arange(len(share)) / together.sum()
    return Null(support=support, share=share, draws=0, higher_is_better=True)


def mean_rank(captions: ArrayLike, side: Side, rng: int = 0) -> Null:
    """The mean rank under random ranks, from 20,000 simulated galleries; arguments as in `recall`."""
    counts = _checked(captions)
    generator = np.random.default_rng([rng, 3])
    clips, queries = len(counts), int(counts.sum())
    total = np.zeros(DRAWS)
    for c, number in zip(*np.unique(counts, return_counts=True), strict=True):
        below = _first_of(c, queries, queries - int(c) + 1)  # the distribution function of a clip's own rank
        for _ in range(int(number)):
            if side == "t2v":
                total += c * generator.integers(1, clips, DRAWS, endpoint=True)
            else:
                total += 1 + np.searchsorted(below, generator.random(DRAWS))
    asked = queries if side == "t2v" else clips
    return Null(
        support=np.sort(total / asked), share=np.full(DRAWS, 1 / DRAWS), draws=DRAWS, higher_is_better=False
    )


def best_from_chance(scores: Mapping[str, float], null: Null, level: float = 0.95) -> FromChance:
    """Test of whether the best cell is better than the best of as many cells with random ranks.

    scores: cell -> its mean over seeds, in the metric's units; every cell that the best was chosen among.
    Raises UserError without cells, and for scores that are not finite.
    """
    if not scores or not np.isfinite(list(scores.values())).all():
        raise UserError(f"telling the best cell from chance needs a number for each cell, not {dict(scores)}")
    cell = (max if null.higher_is_better else min)(scores, key=lambda name: scores[name])
    p = null.p(scores[cell])
    adjusted = min(1.0, len(scores) * p)
    return FromChance(
        cell=cell, value=scores[cell], expected=null.mean, needed=null.needed((1 - level) / len(scores)),
        p=p, p_adjusted=adjusted, cells=len(scores), significant=adjusted < 1 - level,
    )  # fmt: skip


def hit_chances(captions: ArrayLike, k: int, side: Side) -> Array:
    """[V] the probability that a query of each clip has its right answer among the first K."""
    counts = _checked(captions)
    if side == "t2v":
        return np.full(len(counts), min(1.0, k / len(counts)))
    return _first_of(counts, int(counts.sum()), k)[..., -1]


def _first_of(captions: ArrayLike, queries: int, places: int) -> Array:
    """[..., places] the probability that the best of c captions ranks at most 1, 2, ... among Q in all.

    It has a worse one than k when the first k are all others: the product of (Q - c - i) / (Q - i), i < k.
    """
    i = np.arange(min(places, queries))
    others = np.asarray(captions)[..., None]
    miss = np.cumprod(np.maximum(queries - others - i, 0) / (queries - i), axis=-1)
    return np.asarray(1.0 - miss, dtype=np.float64)


def _sum_of_hits(weights: Array, chances: Array) -> Array:
    """[sum of weights + 1] probabilities of the sum of independent hits that count `weights` [V] each."""
    share = np.ones(1)
    kinds, numbers = np.unique(np.stack([weights, chances]), axis=1, return_counts=True)
    for (weight, chance), number in zip(kinds.T, numbers, strict=True):
        step, before = int(weight), share
        share = np.zeros(len(before) + step * int(number))
        for hits, probability in enumerate(_binomial(int(number), chance)):
            if probability > _NEGLIGIBLE:
                share[step * hits : step * hits + len(before)] += probability * before
    return share


def _binomial(n: int, p: float) -> Array:
    """[n + 1] probabilities of so many of n independent hits: each by its ratio to the one before, from the
    likeliest to both sides."""
    if not 0 < p < 1:
        return np.eye(1, n + 1, n if p else 0)[0]
    k, likeliest = np.arange(n), min(n, int((n + 1) * p))
    ratio = (n - k) / (k + 1) * (p / (1 - p))
    below, above = np.cumprod(1 / ratio[:likeliest][::-1])[::-1], np.cumprod(ratio[likeliest:])
    share = np.concatenate([below, [1.0], above])
    return np.asarray(share / share.sum(), dtype=np.float64)


def _checked(captions: ArrayLike) -> Array:
    counts = np.asarray(captions, dtype=float)
    if counts.ndim != 1 or not counts.size or not (counts >= 1).all() or (counts != counts.round()).any():
        raise UserError("a gallery must have clips, each with a whole number of captions of at least 1")
    return counts
