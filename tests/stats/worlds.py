"""Simulated studies in which the truth is known: binary hits, lucky seeds, queries that are hard for all.

A query is a hit when `cell + difficulty + taste + seed + luck > 0`, as in `tests/stats_worlds.py`;
the seed's part is the same on val and on test, whose queries are different ones.
"""

import numpy as np
from scipy.stats import norm
from stats_worlds import BATCH, DIFFICULTY, LUCK, POINTS, STUDIES, TASTE

EQUAL = -0.45
"""Latent quality of a cell with an R@1 of about 40 %."""


def recall(cells, seed_sd):
    """[k] expected R@1 in percent, over all seeds and queries there could be."""
    spread = DIFFICULTY**2 + TASTE**2 + LUCK**2 + (seed_sd / POINTS) ** 2
    return 100 * norm.cdf(np.asarray(cells) / np.sqrt(spread))


def hits(rng, cells, seeds, seed_sd, clips, splits=1, studies=STUDIES):
    """Batches of a list with [S, k, n, clips] hits in percent for each split."""
    for start in range(0, studies, BATCH):
        size, k = min(BATCH, studies - start), len(cells)

        def normal(*shape, size=size):
            return rng.standard_normal((size, *shape), dtype=np.float32)

        shift = np.sqrt(0.8) * normal(k, seeds, 1) + np.sqrt(0.2) * normal(1, seeds, 1)
        level = np.asarray(cells)[:, None, None] + seed_sd / POINTS * shift
        found = []
        for _ in range(splits):
            fixed = level + DIFFICULTY * normal(1, 1, clips) + TASTE * normal(k, 1, clips)
            found.append(100.0 * (np.float32(LUCK) * normal(k, seeds, clips) > -fixed.astype(np.float32)))
        yield found
