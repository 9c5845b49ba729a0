"""Cells with known means and spreads, for tests of sentences on comparisons."""

from functools import partial

import numpy as np

from workbench import stats

compare = partial(stats.compare, unit="points of R@1")
"""Of two cells whose values are recalls."""


def cell(seeds, queries, mean, spread, seed=0):
    """Seed -> values with a given mean and a given spread between seeds; queries vary a lot."""
    rng = np.random.default_rng(seed)
    shift = spread * rng.standard_normal(seeds)
    return {s: mean + shift[s] + 20 * rng.standard_normal(queries) for s in range(seeds)}


def constant(*values):
    return dict(enumerate(values))
