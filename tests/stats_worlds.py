"""Simulated studies in which the truth is known, for the tests that prove the statistics.

The model: a query is a hit when `cell + difficulty + taste + seed + luck > 0`, where difficulty is a query's
own (and partly shared by the captions of a clip), taste is a cell's own liking for a query, seed shifts all
queries of a run, partly alike for all cells, and luck is new for every run and query. All are normal, but the
seeds of a world with heavy tails, which are t with three degrees of freedom, scaled to the same variance.

STATS_STUDIES=10000 in the environment simulates ten times as many studies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from workbench.stats.components import estimate, p_values

STUDIES = int(os.environ.get("STATS_STUDIES", "1000"))
TASTE, LUCK, DIFFICULTY = 0.5, 0.7, 1.5
POINTS = 22.0
"""R@1 points that one unit of a seed's latent effect makes, near 40 %."""
BATCH = 50
_QUANTILES = (np.arange(2000) + 0.5) / 2000


def slack(share: float, studies: int = STUDIES) -> float:
    """What so many studies can show: 1.645 binomial standard errors."""
    return float(1.645 * np.sqrt(share * (1 - share) / studies))


@dataclass(frozen=True, kw_only=True)
class World:
    """What is true in a simulated study."""

    seeds: int
    seed_sd: tuple[float, ...]
    """Of each cell, in points of R@1 near 40 %, and constant on the latent (probit) scale."""
    cells: tuple[float, ...]
    """Latent quality of each cell; the first is the baseline."""
    captions: int = 1
    """Of a clip."""
    taste: float = TASTE
    clips: int = 500
    shared: float = 0.2
    """Part of the variance of seeds that all cells share."""
    heavy: bool = False
    """Whether the effects of seeds have heavy tails."""

    @property
    def queries(self) -> int:
        return self.clips * self.captions

    def latent(self) -> np.ndarray:
        return np.array(self.seed_sd) / POINTS

    def recall(self) -> np.ndarray:
        """[cells] expected R@1 in percent, over all seeds and queries there could be."""
        pairs = zip(self.cells, self.latent(), strict=True)
        return np.array([_recall(level, sd, self.taste, self.heavy) for level, sd in pairs])

    def draw(self, rng: np.random.Generator, studies: int) -> np.ndarray:
        """[studies, cells, n, clips] hits in percent, summed over the captions of a clip."""

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal((studies, *shape), dtype=np.float32)

        k, n, c, q = len(self.cells), self.seeds, self.clips, self.captions
        own = np.sqrt(np.float32(0.5)) if q > 1 else np.float32(1)
        query = DIFFICULTY * own * normal(1, 1, c, q)
        if q > 1:  # captions of a clip are alike
            query += DIFFICULTY * own * normal(1, 1, c, 1)
        shift = np.sqrt(1 - self.shared) * normal(k, n, 1, 1) + np.sqrt(self.shared) * normal(1, n, 1, 1)
        if self.heavy:  # one divisor for a seed of a cell: a t with three degrees of freedom
            shift = shift / np.sqrt(rng.chisquare(3, shift.shape))  # variance of t3 is 3
        level = np.array(self.cells)[:, None, None, None] + self.latent()[:, None, None, None] * shift
        fixed = query + np.float32(self.taste) * normal(k, 1, c, q)
        hits = np.float32(LUCK) * normal(k, n, c, q) > -(fixed + level.astype(np.float32))
        return 100.0 * hits.sum(-1, dtype=np.float32).astype(float)

    def sizes(self) -> np.ndarray:
        return np.full(self.clips, float(self.captions))


def _recall(level: float, seed_sd: float, taste: float, heavy: bool) -> float:
    """R@1 in percent, averaged over queries, luck and seeds (their middle quantiles)."""
    spread = np.sqrt(DIFFICULTY**2 + taste**2 + LUCK**2)
    if not heavy:
        return float(100 * scipy_stats.norm.cdf(level / np.sqrt(spread**2 + seed_sd**2)))
    seeds = scipy_stats.t.ppf(_QUANTILES, 3) / np.sqrt(3)
    return float(100 * scipy_stats.norm.cdf((level + seed_sd * seeds) / spread).mean())


def level_of(recall: float, seed_sd: float = 6.0, taste: float = TASTE, *, heavy: bool = False) -> float:
    """The latent quality of a cell with this expected R@1 in percent."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _recall(middle, seed_sd / POINTS, taste, heavy) < recall else (low, middle)
        )
    return low


def grid_world(recall: Sequence[float], *, seeds: int = 3, seed_sd: Sequence[float] = (), **options) -> World:
    """Cells with this expected R@1 in percent each, whatever the spread of their seeds."""
    sd = tuple(seed_sd) or (6.0,) * len(recall)
    heavy = bool(options.get("heavy", False))
    cells = tuple(level_of(r, s, heavy=heavy) for r, s in zip(recall, sd, strict=True))
    return World(seeds=seeds, seed_sd=sd, cells=cells, **options)


def batches(world: World, seed: int, studies: int = STUDIES) -> Iterator[np.ndarray]:
    """Some studies at a time, [batch, cells, n, clips]."""
    rng = np.random.default_rng([seed, world.seeds, int(10 * world.seed_sd[0])])
    for start in range(0, studies, BATCH):
        yield world.draw(rng, min(BATCH, studies - start))


KINDS = {
    "equal spread": {},
    "unequal spread": {"spread": (2.0, 10.0, 4.0, 8.0, 6.0, 6.0, 8.0, 3.0, 5.0, 7.0, 2.0, 9.0)},
    "heavy tails": {"heavy": True},
    "floor": {"at": 2.0},
    "ceiling": {"at": 97.0},
    "30 clips, 5 captions": {"clips": 30, "captions": 5},
    "correlated arms": {"shared": 0.8},
}
"""What may spoil a test. The spread of seeds is 6 points near 40 %, and constant on the probit scale."""


def world_of(kind: str, recall, **more) -> World:
    """recall: [cells] expected R@1 in percent; with `at` in the kind, all cells are there instead."""
    options = KINDS[kind] | more
    spread, at = options.pop("spread", ()), options.pop("at", None)
    recall = recall if at is None else [at] * len(recall)
    return grid_world(recall, seed_sd=spread[: len(recall)], **options)


def estimates(world: World, weights: np.ndarray, seed: int):
    """Batches of the estimates of these contrasts, [batch, tests]."""
    for hits in batches(world, seed):
        yield estimate(np.einsum("tk,bknc->btnc", weights, hits), world.sizes())


def p_of(found) -> np.ndarray:
    """p values; 1 where nothing varies and nothing differs."""
    p = p_values(found)
    return np.where(np.isnan(p), 1.0, p)
