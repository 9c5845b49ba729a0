"""Curves over budgets: intervals cover the truth, crossings are found, an order foretells what it may."""

import numpy as np
import pytest
from stats_worlds import batches, grid_world, slack

from workbench.errors import UserError
from workbench.stats import scaling

ARMS = ("half", "most", "all but a tenth")
BUDGETS = (0.005, 0.01, 0.02, 0.04)
DOUBLINGS = np.arange(4)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def bent(x):
    """[3, ...] R@1 of three arms that rise like an S, as models that begin to learn do."""
    return np.stack(
        [85 * logistic(1.5 * (x - 1.6)), 70 * logistic(1.3 * (x - 1.1)), 55 * logistic(1.2 * (x - 0.3))]
    )


CLEAR = tuple(map(tuple, bent(DOUBLINGS)))
"""The arm that is best with little is far ahead first, and far behind in the end."""
FAINT = ((3, 8, 24, 55), (5, 18, 42, 60), (6, 30, 48, 54))
"""It is ahead by 20 points once, and behind by as many as another seed moves it."""
APART = ((5, 8, 12, 16), (20, 30, 40, 50), (35, 50, 65, 80))
STUDIES = 200


def world(recall, **more):
    return grid_world([float(r) for arm in recall for r in arm], **({"seeds": 4, "clips": 200} | more))


def found(hits, sizes):
    """A grid of one simulated study, hits [cells, n, clips]."""
    sums = hits.reshape(len(ARMS), len(BUDGETS), *hits.shape[1:])
    seeds = tuple(range(hits.shape[1]))
    return scaling.Grid(
        arms=ARMS, budgets=BUDGETS, seeds=seeds, sums=sums, sizes=sizes, higher_is_better=True
    )


def studies(one, seed=7, count=STUDIES):
    for hits in batches(one, seed, count):
        for study in hits:
            yield found(study, one.sizes())


def true_crossing(one, a, b):
    recall = one.recall().reshape(len(ARMS), len(BUDGETS))
    difference = recall[a] - recall[b]
    x = np.linspace(*np.log2([BUDGETS[0], BUDGETS[-1]]), 20_001)
    along = np.interp(x, np.log2(BUDGETS), difference)
    return 2 ** x[np.flatnonzero(np.diff(np.sign(along)))[0]]


def bent_crossing(a, b):
    x = np.linspace(0, 3, 20_001)
    difference = bent(x)[a] - bent(x)[b]
    return BUDGETS[0] * 2 ** x[np.flatnonzero(np.diff(np.sign(difference)))[0]]


def inside(crossing, budget):
    return (crossing.low is None or crossing.low <= budget) and (
        crossing.high is None or budget <= crossing.high
    )


@pytest.mark.parametrize("recall", [FAINT, CLEAR])
def test_intervals_of_curves_slopes_and_crossings_cover_the_truth(recall):
    one = world(recall)
    truth = one.recall().reshape(len(ARMS), len(BUDGETS))
    x = np.log2(BUDGETS) - np.log2(BUDGETS).mean()
    slopes = truth @ x / np.square(x).sum()
    crossed = {(a, b): true_crossing(one, a, b) for a, b in ((0, 2), (1, 2))}
    counts = {name: [] for name in ("curve", "slope", "crossing", "bent crossing", "bounded", "seen")}
    for study in studies(one):
        for a, arm in enumerate(ARMS):
            points = scaling.curve(study, arm)
            counts["curve"] += [
                p.interval.low <= t <= p.interval.high for p, t in zip(points, truth[a], strict=True)
            ]
            rise = scaling.slope(study, arm)
            counts["slope"].append(rise.interval.low <= slopes[a] <= rise.interval.high)
        for (a, b), budget in crossed.items():
            at = scaling.crossing(study, ARMS[a], ARMS[b])
            counts["crossing"].append(not at.ahead and inside(at, budget))
            if recall is CLEAR:
                counts["bent crossing"].append(not at.ahead and inside(at, bent_crossing(a, b)))
            counts["bounded"].append(at.low is not None and at.high is not None)
            counts["seen"].append(at.at is not None)
    shares = {name: float(np.mean(hits)) for name, hits in counts.items() if hits}
    print({name: f"{100 * share:.1f} %" for name, share in shares.items()})
    for name in ("curve", "slope", "crossing"):
        assert shares[name] >= 0.95 - slack(0.05, STUDIES), name
    if recall is CLEAR:
        assert shares["seen"] > 0.9
        assert shares["bounded"] > 0.3, "an interval that is always all says nothing"
        assert shares["bent crossing"] >= 0.95 - slack(0.05, STUDIES), "straight lines are near enough"


@pytest.mark.parametrize("recall", [FAINT, APART, ((30, 30, 30, 30.5), (30, 30, 30, 30), (30, 30, 30, 29))])
def test_the_best_arm_is_among_the_candidates_and_an_order_agrees_as_far_as_is_said(recall):
    one = world(recall)
    truth = one.recall().reshape(len(ARMS), len(BUDGETS))
    top = truth.argmax(0)
    pairs = [(i, j) for i in range(3) for j in range(i)]
    order = np.array([np.sign(truth[i] - truth[j]) for i, j in pairs])
    share = (order[:, :-1] == order[:, -1:]).mean(0)
    kept, right, wide = [], [], []
    for study in studies(one):
        for k, at in enumerate(scaling.best(study)):
            kept.append(ARMS[top[k]] in at.candidates and at.best in at.candidates)
        found_shares = scaling.agreement(study)
        right.append(
            all(a.low - 1e-9 <= s <= a.high + 1e-9 for a, s in zip(found_shares, share, strict=True))
        )
        wide.append(np.mean([a.high - a.low for a in found_shares]))
    print(
        f"kept {100 * np.mean(kept):.1f} %, agreement {100 * np.mean(right):.1f} %, width {np.mean(wide):.2f}"
    )
    assert np.mean(kept) >= 0.95 - slack(0.05, STUDIES)
    assert np.mean(right) >= 0.95 - slack(0.05, STUDIES)
    if recall is APART:
        assert np.mean(wide) < 0.3, "what is far apart is told"


def exact(rows):
    """A grid whose cells are these numbers, with hardly any noise, so that all is told."""
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((len(rows), len(rows[0]), 3, 50))
    cells = np.array(rows, float)[:, :, None, None] + noise
    return scaling.Grid(
        arms=ARMS[: len(rows)], budgets=BUDGETS[: len(rows[0])], seeds=(0, 1, 2), sums=cells,
        sizes=np.ones(50), higher_is_better=True,
    )  # fmt: skip


def test_a_crossing_is_where_straight_lines_over_doublings_meet():
    study = exact([(0, 10, 20, 30), (20, 20, 20, 20)])
    at = scaling.crossing(study, *ARMS[:2])
    assert at.at == pytest.approx(0.02, rel=0.01)
    assert at.low <= at.at <= at.high
    assert at.high / at.low < 1.05
    study = exact([(0, 10, 20, 30), (25, 25, 25, 25)])
    at = scaling.crossing(study, *ARMS[:2])
    assert at.at == pytest.approx(0.02 * 2**0.5, rel=0.01)
    assert scaling.slope(study, ARMS[0]).mean == pytest.approx(10, abs=0.05)
    assert scaling.curve(study, ARMS[0])[2].mean == pytest.approx(20, abs=0.05)


def test_arms_that_do_not_cross_are_told_apart_and_may_meet_beyond():
    study = exact([(0, 10, 20, 30), (60, 60, 60, 60)])
    assert scaling.crossing(study, *ARMS[:2]).ahead == ARMS[1]
    assert scaling.crossing(study, *ARMS[:2]).at is None
    beyond = scaling.meeting(study, *ARMS[:2])
    assert beyond.at == pytest.approx(0.04 * 2**3, rel=0.01), "30 points at 10 a doubling"
    assert beyond.low < beyond.at < beyond.high
    parallel = scaling.meeting(exact([(0, 10, 20, 30), (60, 70, 80, 90.0)]), *ARMS[:2])
    assert parallel.at is None
    assert parallel.ahead == ARMS[1]


def test_a_lower_value_can_be_the_better_one():
    study = exact([(10, 9, 8, 7), (20, 19, 18, 17)])
    lower = scaling.Grid(**{**vars(study), "higher_is_better": False})
    assert [one.best for one in scaling.best(lower)] == [ARMS[0]] * 4
    assert scaling.crossing(lower, *ARMS[:2]).ahead == ARMS[0]
    assert [one.candidates for one in scaling.best(study)] == [(ARMS[1],)] * 4


def test_an_order_that_is_reversed_agrees_nowhere():
    study = exact([(0, 10, 20, 30), (1, 11, 19, 20), (2, 12, 18, 10)])
    shares = [(one.low, one.share, one.high) for one in scaling.agreement(study)]
    assert shares == [(0, 0, 0), (0, 0, 0), (1, 1, 1)]


def test_runs_become_a_grid_on_the_seeds_that_all_cells_have():
    runs = {
        (arm, budget): {seed: np.full(4, seed + budget) for seed in range(3)}
        for arm in "ab"
        for budget in (1.0, 2.0)
    }
    runs["a", 2.0] = {1: np.ones(4), 2: np.ones(4), 9: np.ones(4)}
    study = scaling.grid(runs)
    assert (study.arms, study.budgets, study.seeds) == (("a", "b"), (1.0, 2.0), (1, 2))
    assert study.sums.shape == (2, 2, 2, 4)
    for broken, message in (
        ({at: one for at, one in runs.items() if at != ("b", 2.0)}, "b at 2 is missing"),
        ({at: one for at, one in runs.items() if at[0] == "a"}, "two arms"),
        (runs | {("a", 2.0): {9: np.ones(4)}}, "two seeds"),
        ({(arm, budget - 1): one for (arm, budget), one in runs.items()}, "positive"),
    ):
        with pytest.raises(UserError, match=message):
            scaling.grid(broken)
