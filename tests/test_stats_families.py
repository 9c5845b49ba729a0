"""What an answer claims as a whole, in simulated studies in which the truth is known.

`python -m pytest tests/test_stats_families.py -s` prints the figures of `docs/statistics.md`. Without
contrasts all comparisons and effects are one family under Holm, mirror images once. With contrasts a fixed
order of four is tested on 4 x 2 cells with 3 seeds. Bounds are 5 % and 1.645 binomial standard errors.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from stats_worlds import KINDS, STUDIES, World, batches, estimates, p_of, slack, world_of

from workbench import stats
from workbench.stats.components import estimate, half_width

# The whole answer, without contrasts


def answer_tests(*levels: int) -> np.ndarray:
    """[tests, cells] weights of every distinct test: cells against the first, main effects, interactions."""
    cells = int(np.prod(levels))
    grid = np.eye(cells).reshape(*levels, cells)
    rows = [grid.reshape(cells, cells)[1:] - grid.reshape(cells, cells)[:1]]
    mean = grid.mean((0, 1))
    first, second = grid.mean(1) - mean, grid.mean(0) - mean
    both = grid - grid.mean(1, keepdims=True) - grid.mean(0, keepdims=True) + mean
    once = [n if n > 2 else 1 for n in levels]
    rows += [first[: once[0]], second[: once[1]], both[: once[0], : once[1]].reshape(-1, cells)]
    return np.concatenate(rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [(4, 3), (2, 2)])
def test_an_answer_without_contrasts_errs_in_at_most_five_percent_of_null_studies(levels, kind):
    weights = answer_tests(*levels)
    world = world_of(kind, [35.0] * weights.shape[1])
    p = np.concatenate([p_of(found) for found in estimates(world, weights, 21)])
    rate = float(np.mean((stats.holm(p) < 0.05).any(-1)))
    terms = [*levels, levels[0] * levels[1]] if levels != (2, 2) else [1, 1, 1]
    parts = np.split(p, np.cumsum([weights.shape[1] - 1, *terms])[:-1], axis=-1)
    apart = float(np.mean(np.any([(stats.holm(part) < 0.05).any(-1) for part in parts], axis=0)))
    print(
        f"\nnull, {levels[0]} x {levels[1]}, {kind}: whole answer {100 * rate:.1f} %, "
        f"a family for each term {100 * apart:.1f} %"
    )
    assert rate <= 0.05 + slack(0.05)


def test_the_weights_and_the_answer_of_a_study_agree():
    world = world_of("equal spread", [20.0, 35.0, 30.0, 45.0])
    hits = next(batches(world, 5, 1))
    found = estimate(np.einsum("tk,bknc->btnc", answer_tests(2, 2), hits), world.sizes())
    cells = {key: dict(enumerate(hits[0, i])) for i, key in enumerate(product("ab", "cd"))}
    effects = stats.factor_effects(cells, ["x", "y"])
    names = {"".join(key): runs for key, runs in cells.items()}
    compared = stats.compare_family(names, "ac", resamples=50).values()
    family = stats.Family(comparisons=3, effects=stats.distinct_tests({"x": 2, "y": 2}))
    assert family.size == len(answer_tests(2, 2))
    comparisons, effects = stats.adjust_together(compared, effects, family)
    expected = stats.holm(p_of(found)[0])
    assert [c.p_adjusted for c in comparisons] == pytest.approx(expected[:3].tolist())
    assert [e.p_adjusted for e in effects.effects[::2][:2]] == pytest.approx(expected[3:5].tolist())
    assert {round(e.p_adjusted, 9) for e in effects.effects[4:]} == {round(expected[5], 9)}


# Registered contrasts in a fixed order


CELLS = list(product([0.0, 0.5, 0.75, 0.9], [0.0, 0.25]))
"""Video ratio, text ratio."""


def contrast(axis: int, of: float, against: float) -> np.ndarray:
    """[cells] weights: cells with one value of an axis minus those with another."""
    sides = [np.array([float(cell[axis] == value) for cell in CELLS]) for value in (of, against)]
    return sides[0] / sides[0].sum() - sides[1] / sides[1].sum()


ORDER = np.stack([contrast(0, 0.9, 0), contrast(0, 0.9, 0.5), contrast(1, 0.25, 0), contrast(0, 0.9, 0.75)])
NULLS = {
    "nothing differs": [35, 35, 35, 35, 35, 35, 35, 35],
    "all null by an interaction": [20, 50, 30, 40, 40, 30, 50, 20],
    "first true, others null by an interaction": [10, 10, 30, 50, 40, 40, 50, 30],
    "two true, others null by an interaction": [5, 5, 20, 20, 40, 50, 50, 40],
    "three true, last null": [5, 2, 20, 10, 45, 22, 45, 22],
}
"""Expected R@1 of `CELLS`."""
CASES = [
    (null, kind) for null in NULLS for kind in KINDS if "at" not in KINDS[kind] or null == "nothing differs"
]
"""At the floor and at the ceiling nothing differs."""
REAL = [5, 2.5, 20, 10, 35, 17.5, 45, 22.5]


def in_order(world: World, seed: int) -> dict[str, np.ndarray]:
    """For each study: how many contrasts are claimed, whether one wrongly, and the shares of claims whose
    intervals miss the truth, plain and at the level of claims."""
    truth = ORDER @ world.recall()
    null = np.abs(truth) < 1e-6
    out = []
    for found in estimates(world, ORDER, seed):
        claims = (stats.in_order(p_of(found)) < 0.05).sum(-1)
        claimed = np.arange(len(ORDER)) < claims[:, None]
        wrong = claimed & (null | (np.sign(found.effect) != np.sign(truth)))
        alpha = np.broadcast_to(0.05 * np.maximum(claims, 1)[:, None] / len(ORDER), claimed.shape)
        missed = [claimed & (np.abs(found.effect - truth) > half_width(found, a)) for a in (0.05, alpha)]
        shares = [miss.sum(-1) / np.maximum(claims, 1) for miss in missed]
        out.append(np.stack([claims, wrong.any(-1), *shares]))
    names = ("claims", "wrong", "plain", "adjusted")
    return dict(zip(names, np.concatenate(out, axis=1), strict=True))


@pytest.mark.parametrize(("null", "kind"), CASES)
def test_a_fixed_order_errs_in_at_most_five_percent_of_studies(null, kind):
    found = in_order(world_of(kind, NULLS[null]), 31)
    wrong, plain, adjusted = (100 * found[name].mean() for name in ("wrong", "plain", "adjusted"))
    print(f"\n{null}, {kind}: wrong {wrong:.1f} %, claims missed by 95 % intervals {plain:.1f} %, "
          f"at their level {adjusted:.1f} %")  # fmt: skip
    assert found["wrong"].mean() <= 0.05 + slack(0.05)
    assert found["adjusted"].mean() <= 0.05 + slack(0.05)


@pytest.mark.parametrize(
    ("kind", "least"),
    [("equal spread", (0.97, 0.90, 0.85, 0.25)), ("correlated arms", (0.99, 0.99, 0.98, 0.6))],
)
def test_effects_like_real_ones_are_seen_in_this_order(kind, least):
    claims = in_order(world_of(kind, REAL), 41)["claims"]
    shares = [float(np.mean(claims > i)) for i in range(len(ORDER))]
    print(f"\npower, {kind}: {', '.join(f'{100 * share:.0f} %' for share in shares)} of {STUDIES} studies")
    assert all(share >= bound - slack(bound) for share, bound in zip(shares, least, strict=True))
