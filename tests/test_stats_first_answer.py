"""The design of `make study`, simulated: what it would see, and how often its claims would be wrong.

`python -m pytest tests/test_stats_first_answer.py -s` prints the figures of `docs/statistics.md`. The
contrasts are those of `studies/mask_ratio.py`, in their order, with its number of seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
from stats_worlds import KINDS, STUDIES, World, estimates, p_of, slack, world_of

from workbench import stats
from workbench.study import spec
from workbench.study.plan import Options, make_plan

PILOTS = {(0.0, 0.0): 2.8, (0.5, 0.0): 7.8, (0.75, 0.0): 17.0, (0.9, 0.0): 18.4, (0.9, 0.5): 3.6}
"""R@1 of the pilot runs at this budget, by video and text ratio."""
HEADLINES = 3
"""Contrasts at the beginning of the order that the design is made for."""


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """Seeds, [contrasts, cells] weights in the order of the tests, and the ratios of each cell."""
    plan = make_plan(spec.load("mask_ratio"), Options(), tmp_path_factory.mktemp("data"))
    keys = [cell.key for cell in plan.cells]
    weights = np.zeros((len(plan.contrasts), len(keys)))
    for row, contrast in zip(weights, plan.contrasts, strict=True):
        for side, sign in (("of", 1), ("against", -1)):
            cells = contrast[side]["cells"]
            row[[keys.index(key) for key in cells]] = sign / len(cells)
    return len(plan.seeds), weights, [(c.axes["video_ratio"], c.axes["text_ratio"]) for c in plan.cells]


def claims(world: World, weights: np.ndarray, seed: int) -> np.ndarray:
    """[studies, contrasts] whether each is claimed, by the fixed order."""
    found = [stats.in_order(p_of(estimated)) < 0.05 for estimated in estimates(world, weights, seed)]
    return np.concatenate(found)


@pytest.mark.parametrize(("spread", "least"), [(6.0, 0.95), (9.0, 0.75)])
def test_effects_like_those_of_the_pilots_are_seen(design, spread, least):
    seeds, weights, cells = design
    recall = [PILOTS[cell] for cell in cells]
    world = world_of("equal spread", recall, seeds=seeds, spread=(spread,) * len(cells))
    seen = claims(world, weights, 51).mean(0)
    print(
        f"\npower, seeds spread by {spread:g} points near 40 %: {np.round(100 * seen)} of {STUDIES} studies"
    )
    assert (seen[:HEADLINES] >= least - slack(least)).all()


NULLS = {
    "nothing differs": [20.0] * 5,
    "the video matters, the text does not": [5.0, 10.0, 20.0, 30.0, 30.0],
    "a little is as good as most": [5.0, 20.0, 20.0, 20.0, 4.0],
}
"""R@1 by cell, in the order of the plan."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "at" not in KINDS[kind]])
@pytest.mark.parametrize("null", NULLS)
def test_claims_are_wrong_in_at_most_five_percent_of_studies(design, null, kind):
    seeds, weights, _ = design
    world = world_of(kind, NULLS[null], seeds=seeds)
    truth = weights @ world.recall()
    wrong = np.where(np.abs(truth) < 1e-6, claims(world, weights, 61), False).any(-1).mean()
    print(f"\n{null}, {kind}: {100 * wrong:.1f} %")
    assert wrong <= 0.05 + slack(0.05)
