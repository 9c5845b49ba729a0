"""The statistics proven on simulated studies in which the truth is known.

`python -m pytest tests/test_stats_simulation.py -s` prints the figures of `docs/statistics.md`;
STATS_STUDIES=10000 in the environment simulates ten times as many studies.

The worlds are those of `stats_worlds`: R@1 is near 40 %, the gallery has 500 clips, and the seeds' standard
deviation is 3 or 6 points. Bounds allow for what 1,000 studies can show: 1.645 binomial standard errors.
What families of tests and registered contrasts do is in `test_stats_families`.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stats_worlds import World, batches, slack

from workbench import stats
from workbench.stats.components import Components, estimate, half_width, p_values

CLIPS = 500
FAMILY = 12


def null_rates(world: World) -> dict[str, float]:
    """How often a study claims a difference that is not there."""
    p, loose = [], []
    for hits in batches(world, 1):
        found = estimate(hits[:, 1:] - hits[:, :1], world.sizes())
        p.append(p_values(found))
        loose.append(satterthwaite(found))
    adjusted = stats.holm(np.concatenate(p))
    return {
        "one": float(np.mean(np.concatenate(p)[:, 0] < 0.05)),
        "family": float(np.mean((adjusted < 0.05).any(-1))),
        "satterthwaite": float(np.mean((stats.holm(np.concatenate(loose)) < 0.05).any(-1))),
    }


def satterthwaite(found) -> np.ndarray:
    """The usual alternative to our critical value: one t with estimated degrees of freedom."""
    _, ms_query, ms_rest = found.mean_squares
    n, c = found.seeds, found.clusters
    rest = (ms_query / n / c) ** 2 / (c - 1) + (ms_rest / n / c) ** 2 / ((n - 1) * (c - 1))
    query = np.where(found.query_part > 0, rest, 0.0)
    df = found.error**4 / (found.seed_part**2 / (n - 1) + query)
    return 2 * scipy_stats.t.sf(np.abs(found.effect) / found.error, df)


def coverage(world: World) -> tuple[float, float]:
    """How often the 95 % interval of arm minus baseline holds the truth; its mean width."""
    truth = np.diff(world.recall())[0]
    inside, width = [], []
    for hits in batches(world, 2):
        found = estimate(hits[:, 1] - hits[:, 0], world.sizes())
        half = half_width(found, 0.05)
        inside.append(np.abs(found.effect - truth) <= half)
        width.append(2 * half)
    return float(np.mean(np.concatenate(inside))), float(np.mean(np.concatenate(width)))


@pytest.mark.parametrize("seed_sd", [3.0, 6.0])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_claim_rule_fires_in_at_most_five_percent_of_null_studies(seeds, seed_sd):
    cells = FAMILY + 1
    world = World(seeds=seeds, seed_sd=(seed_sd,) * cells, cells=(-0.45,) * cells)
    rates = null_rates(world)
    print(
        f"\nnull: {seeds:2d} seeds, sd {seed_sd:.0f}: one comparison {100 * rates['one']:.1f} %, "
        f"family of {FAMILY} after Holm {100 * rates['family']:.1f} % "
        f"(with Satterthwaite's t {100 * rates['satterthwaite']:.1f} %)"
    )
    assert rates["family"] <= 0.05
    assert rates["one"] <= 0.05 + slack(0.05)


WORLDS = {
    "sd 3": {"seed_sd": (3.0, 3.0)},
    "sd 6": {"seed_sd": (6.0, 6.0)},
    "sd 3, two captions a clip": {"seed_sd": (3.0, 3.0), "captions": 2, "clips": 250},
    "sd 6, two captions a clip": {"seed_sd": (6.0, 6.0), "captions": 2, "clips": 250},
    "sd 3, no taste": {"seed_sd": (3.0, 3.0), "taste": 0.0},
    "sd 2 against 6": {"seed_sd": (2.0, 6.0)},
    "R@1 of 4 against 7": {"seed_sd": (6.0, 6.0), "cells": (-3.1, -2.6)},
}


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, kind):
    options = {"cells": (-0.45, 0.05), **WORLDS[kind]}
    world = World(seeds=seeds, **options)
    share, width = coverage(world)
    print(f"\ncoverage: {seeds:2d} seeds, {kind}: {100 * share:.1f} %, width {width:.1f}")
    assert share >= 0.93 - slack(0.07)
    if seeds > 3:  # with three seeds the interval is too wide (docs/statistics.md), never too narrow
        assert share <= 0.97 + slack(0.03)


@pytest.mark.parametrize(("seeds", "stated"), [(3, 0.83), (5, 0.90), (10, 0.95)])
def test_the_plain_hierarchical_bootstrap_covers_as_little_as_is_stated(seeds, stated):
    """Why it is shown but decides nothing: too narrow with few seeds, as docs/statistics.md says."""
    studies = 200
    world = World(seeds=seeds, seed_sd=(6.0, 6.0), cells=(-0.45, 0.05))
    truth = np.diff(world.recall())[0]
    inside = []
    for hits in batches(world, 3, studies):
        for study in hits:
            base, arm = ({s: run[s] for s in range(seeds)} for run in study)
            found = stats.compare(arm, base, resamples=1000).bootstrap
            inside.append(found.low <= truth <= found.high)
    share = np.mean(inside)
    print(f"\nbootstrap: {seeds:2d} seeds: {100 * share:.1f} %")
    assert abs(share - stated) <= slack(stated, studies)


@pytest.mark.parametrize("family", [1, FAMILY])
@pytest.mark.parametrize("seeds", [3, 10])
def test_the_detectable_difference_is_seen_in_four_of_five_studies(seeds, family):
    parts = Components(seed=18.0, query=900.0, rest=2500.0, seeds=seeds, clusters=CLIPS)
    difference = stats.detectable(parts, seeds, family=family)
    rng = np.random.default_rng(4)
    seen = []
    for _ in range(20):
        table = (
            difference
            + np.sqrt(parts.seed) * rng.standard_normal((50, seeds, 1))
            + np.sqrt(parts.query) * rng.standard_normal((50, 1, CLIPS))
            + np.sqrt(parts.rest) * rng.standard_normal((50, seeds, CLIPS))
        )
        seen.append(p_values(estimate(table, np.ones(CLIPS))) < 0.05 / family)
    assert abs(np.mean(seen) - 0.8) < 3 * np.sqrt(0.8 * 0.2 / 1000)


def test_a_batch_of_studies_and_a_single_comparison_agree():
    world = World(seeds=5, seed_sd=(3.0,) * 3, cells=(-0.45,) * 3)
    hits = next(batches(world, 5, 1))
    found = estimate(hits[:, 1:] - hits[:, :1], np.ones(CLIPS))
    cells = {name: dict(enumerate(hits[0, i])) for i, name in enumerate("abc")}
    family = stats.compare_family(cells, "a", resamples=100)
    assert [family[x].p for x in "bc"] == pytest.approx(p_values(found)[0])
    assert [family[x].p_adjusted for x in "bc"] == pytest.approx(stats.holm(p_values(found))[0])
    for name in "bc":
        claimed = family[name].winner is not None
        assert claimed == (family[name].p_adjusted < 0.05)
