"""Power: the smallest detectable difference and the number of seeds that a difference needs.

Legend: n = seeds, C = clusters of queries (clips), m = comparisons in the family.
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

from workbench.errors import UserError
from workbench.stats.components import Components

POWER = 0.8
MOST_SEEDS = 1000
_GRID = (np.arange(400) + 0.5) / 400


def power(
    components: Components, difference: float, seeds: int, *, clusters: int | None = None,
    family: int = 1, level: float = 0.95,
) -> float:  # fmt: skip
    """Probability that the claim rule detects a true difference, given the variance components.

    The between-seed variance that a study of n seeds measures is itself random; the power is the average over
    its distribution (chi-square), which accounts for the few degrees of freedom.
    """
    clusters = components.clusters if clusters is None else clusters
    seed_part = (components.seed + components.rest / clusters) / seeds
    query_part = components.query / clusters
    true_error = np.sqrt(seed_part + query_part)
    if true_error == 0:
        return float(difference != 0)
    alpha = (1 - level) / family
    measured = seed_part * chdtri(seeds - 1, _GRID) / (seeds - 1)
    floor = components.rest / (clusters * seeds)  # as in `estimate`
    measured = np.maximum(measured, floor)
    from_seeds = -stdtrit(seeds - 1, alpha / 2)
    from_queries = -stdtrit(clusters - 1, alpha / 2) if clusters > 1 else 0.0
    half = (measured * from_seeds + query_part * from_queries) / np.sqrt(measured + query_part)
    seen = ndtr((difference - half) / true_error) + ndtr((-difference - half) / true_error)
    return float(seen.mean())


def detectable(
    components: Components, seeds: int, *, clusters: int | None = None,
    family: int = 1, level: float = 0.95, chance: float = POWER,
) -> float:  # fmt: skip
    """Smallest true difference that n seeds would detect with the given probability (80 %).

    family: tests that are corrected together; the worst case of Holm, judged at alpha / m. Needs two seeds.
    """
    if seeds < 2:
        raise UserError("a detectable difference needs at least two seeds")

    def missing(difference: float) -> float:
        return power(components, difference, seeds, clusters=clusters, family=family,
                     level=level) - chance  # fmt: skip

    if missing(np.finfo(float).tiny) > 0:
        return 0.0  # no variance
    low, high = 0.0, 1e-6
    while missing(high) < 0:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if missing(middle) < 0 else (low, middle)
    return high


def seeds_needed(
    components: Components, difference: float, *, family: int = 1, level: float = 0.95
) -> int | None:
    """Smallest number of seeds (2 to 1,000) with which `difference` is detectable, else None.

    None means that the queries, not the seeds, are the bottleneck, or that it takes over 1,000.
    """
    if not (np.isfinite(difference) and difference != 0):
        raise UserError(f"a difference to look for must be a number other than zero, not {difference!r}")

    def enough(n: int) -> bool:
        return power(components, abs(difference), n, family=family, level=level) >= POWER

    if not enough(MOST_SEEDS):
        return None
    low, high = 1, 2
    while not enough(high):
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
