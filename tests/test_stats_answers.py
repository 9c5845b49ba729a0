"""Power, factor effects and Pareto fronts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from workbench import stats
from workbench.errors import UserError
from workbench.stats.components import Components

PARTS = Components(seed=9.0, query=600.0, rest=2000.0, seeds=3, clusters=500)


def cell(seeds, queries, mean, spread, seed=0):
    """Seed -> values with a given mean and a given spread between seeds; queries vary a lot."""
    rng = np.random.default_rng(seed)
    shift = spread * rng.standard_normal(seeds)
    return {s: mean + shift[s] + 20 * rng.standard_normal(queries) for s in range(seeds)}


def constant(*values):
    return dict(enumerate(values))


# Power


def test_the_power_of_a_plain_t_test_is_that_of_the_noncentral_t():
    parts = Components(seed=4.0, query=0.0, rest=0.0, seeds=5, clusters=1)
    for n, difference in ((3, 8.0), (5, 3.0), (12, 1.5)):
        shift = difference / np.sqrt(4 / n)
        edge = scipy_stats.t.isf(0.025, n - 1)
        exact = scipy_stats.nct.sf(edge, n - 1, shift) + scipy_stats.nct.cdf(-edge, n - 1, shift)
        assert stats.power(parts, difference, n) == pytest.approx(exact, abs=0.003)


def test_the_detectable_difference_shrinks_with_seeds_and_clips_and_grows_with_the_family():
    by_seeds = [stats.detectable(PARTS, n) for n in (2, 3, 5, 10, 100)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert stats.detectable(PARTS, 5, clusters=5000) < stats.detectable(PARTS, 5)
    assert stats.detectable(PARTS, 5, family=12) > stats.detectable(PARTS, 5)
    assert stats.power(PARTS, stats.detectable(PARTS, 5), 5) == pytest.approx(0.8, abs=1e-4)
    # Many seeds leave the noise of the gallery: (1.96 + 0.84) standard errors.
    limit = stats.detectable(PARTS, 100_000)
    assert limit == pytest.approx(2.80 * np.sqrt(600 / 500), rel=0.01)


def test_seeds_needed_is_the_first_number_that_suffices():
    n = stats.seeds_needed(PARTS, 5.0)
    assert stats.detectable(PARTS, n) <= 5.0 < stats.detectable(PARTS, n - 1)
    assert stats.seeds_needed(PARTS, -5.0) == n
    assert stats.seeds_needed(PARTS, 5.0, family=12) > n
    assert stats.seeds_needed(PARTS, 1.0) is None
    with pytest.raises(UserError):
        stats.seeds_needed(PARTS, 0.0)
    with pytest.raises(UserError):
        stats.detectable(PARTS, 1)


# Factor effects


def grid(seeds=4, queries=30):
    """Additive but for one cell; seeds shift whole blocks."""
    rng = np.random.default_rng(3)
    block = 5 * rng.standard_normal(seeds)
    out = {}
    for i, ratio in enumerate((0.5, 0.75, 0.9)):
        for j, strategy in enumerate(("random", "tube")):
            mean = 40 + 3 * i - 2 * j + (6 if (i, j) == (2, 1) else 0)
            out[ratio, strategy] = {s: mean + block[s] + rng.standard_normal(queries) for s in range(seeds)}
    return out


def test_effects_are_differences_from_the_grand_mean_and_blocks_cancel():
    found = stats.factor_effects(grid(), ["ratio", "strategy"])
    truth = np.array([[40, 38], [43, 41], [46, 50.0]])
    main = truth.mean(1) - truth.mean()
    by_key = {(e.factors, e.levels): e for e in found.effects}
    for i, ratio in enumerate((0.5, 0.75, 0.9)):
        effect = by_key[("ratio",), (ratio,)]
        assert effect.effect == pytest.approx(main[i], abs=0.3)
        assert effect.interval.low < main[i] < effect.interval.high
        assert effect.interval.high - effect.interval.low < 1.5  # block spread of 5 has gone
        assert (effect.interval.kind, effect.interval.n) == ("seeds+queries", 4)
    both = truth - truth.mean(1, keepdims=True) - truth.mean(0) + truth.mean()
    corner = by_key[("ratio", "strategy"), (0.9, "tube")]
    assert corner.effect == pytest.approx(both[2, 1], abs=0.3)
    assert (corner.p_adjusted, found.family) == (None, None)  # tested with all else that an answer says
    _, tested = stats.adjust_together([], found, stats.Family(effects=7))
    corner = tested.effects[-1]
    assert corner.p < corner.p_adjusted < 0.05
    assert corner.claimed_interval.low > 0
    assert len(found.effects) == 3 + 2 + 6


def test_mirror_images_are_one_test():
    assert stats.distinct_tests({"a": 2}) == 1
    assert stats.distinct_tests({"a": 2, "b": 2}) == 3
    assert stats.distinct_tests({"a": 4, "b": 2, "fixed": 1}) == 4 + 1 + 4
    assert stats.distinct_tests({"a": 4, "b": 3}) == 4 + 3 + 12
    assert stats.distinct_tests({"a": 4, "b": 3}, apart=("b",)) == 4 + 12


def test_comparisons_and_distinct_effects_are_corrected_together():
    """By hand: Holm over the p values, those of mirror images once, and what is still to come."""
    cells = grid()
    found = stats.factor_effects(cells, ["ratio", "strategy"])
    names = {str(key): runs for key, runs in cells.items()}
    compared = list(stats.compare_family(names, str((0.5, "random")), resamples=50).values())
    family = stats.Family(comparisons=len(compared), effects=3 + 1 + 3, verdicts=2)
    comparisons, effects = stats.adjust_together(compared, found, family)
    one_each = [e for e in effects.effects if e.levels[-1] != "tube"]
    assert len(one_each) == 7
    everything = [*comparisons, *one_each]
    expected = stats.holm([*(x.p for x in everything), 1.0, 1.0])
    assert [x.p_adjusted for x in everything] == pytest.approx(expected[:-2].tolist())
    claims = [x for x in everything if x.claimed_interval is not None]
    assert 2 < len(claims) < len(everything)
    level = 1 - 0.05 * len(claims) / family.size
    assert {round(x.claimed_interval.level, 9) for x in claims} == {round(level, 9)}
    mirrored = [e.p_adjusted for e in effects.effects if e.levels[-1] == "tube"]
    assert mirrored == [e.p_adjusted for e in one_each if e.factors[-1] == "strategy"]


def test_effects_agree_with_sum_coded_regression():
    api = pytest.importorskip("statsmodels.formula.api")
    import pandas as pd

    cells = grid()
    rows = [{"y": np.mean(v), "r": r, "t": t} for (r, t), runs in cells.items() for v in runs.values()]
    fit = api.ols("y ~ C(r, Sum) * C(t, Sum)", pd.DataFrame(rows)).fit()
    found = stats.factor_effects(cells, ["r", "t"]).effects
    by_key = {(e.factors, e.levels): e.effect for e in found}
    assert by_key[("r",), (0.75,)] == pytest.approx(fit.params["C(r, Sum)[S.0.75]"])
    assert by_key[("t",), ("random",)] == pytest.approx(fit.params["C(t, Sum)[S.random]"])
    name = "C(r, Sum)[S.0.5]:C(t, Sum)[S.random]"
    assert by_key[("r", "t"), (0.5, "random")] == pytest.approx(fit.params[name])


def test_effects_of_one_number_a_run_have_the_t_interval_over_seeds():
    y = {("a",): constant(1.0, 2.0, 4.0), ("b",): constant(2.0, 5.0, 6.0)}
    first = stats.factor_effects(y, ["f"]).effects[0]
    theirs = scipy_stats.ttest_1samp([-0.5, -1.5, -1.0], 0)
    assert first.effect == -1.0
    assert first.p == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval()
    assert (first.interval.low, first.interval.high) == pytest.approx((low, high))
    assert first.interval.kind == "seeds"


def test_effects_of_one_seed_have_no_interval():
    cells = {key: {0: runs[0]} for key, runs in grid().items()}
    for effect in stats.factor_effects(cells, ["ratio", "strategy"]).effects:
        assert effect.interval is None
        assert effect.p is None


def test_only_seeds_of_every_cell_enter_the_effects():
    cells = grid()
    del cells[0.5, "tube"][3]
    found = stats.factor_effects(cells, ["ratio", "strategy"])
    assert found.seeds == (0, 1, 2)
    assert found.unused_seeds[0.9, "tube"] == (3,)
    assert (0.5, "tube") not in found.unused_seeds


def test_effects_do_not_depend_on_the_order_of_cells():
    cells = grid()
    turned = dict(reversed(list(cells.items())))
    assert stats.factor_effects(cells, ["a", "b"]) == stats.factor_effects(turned, ["a", "b"])


def test_an_incomplete_grid_is_refused():
    cells = grid()
    del cells[0.5, "tube"]
    with pytest.raises(UserError, match=r"full grid.*ratio = 0.5, strategy = tube"):
        stats.factor_effects(cells, ["ratio", "strategy"])
    with pytest.raises(UserError, match="one level for each"):
        stats.factor_effects(cells, ["ratio"])
    with pytest.raises(UserError, match="share no seed"):
        stats.factor_effects({("a",): {0: 1.0}, ("b",): {1: 1.0}}, ["f"])


# Pareto


def test_the_front_by_hand():
    cost = [1, 2, 2, 3, 3, 4, 1]
    quality = [10, 12, 11, 12, 15, 15, 10]
    assert stats.pareto_front(cost, quality).tolist() == [1, 1, 0, 0, 1, 0, 1]
    assert stats.pareto_front([], []).tolist() == []
    with pytest.raises(UserError):
        stats.pareto_front([1.0], [np.nan])


def test_the_front_agrees_with_the_definition():
    rng = np.random.default_rng(0)
    cost, quality = rng.integers(0, 6, (200, 9)), rng.integers(0, 6, (200, 9))
    found = stats.pareto_front(cost, quality)
    for x, y, front in zip(cost, quality, found, strict=True):
        for i in range(9):
            beaten = (x <= x[i]) & (y >= y[i]) & ((x < x[i]) | (y > y[i]))
            assert front[i] == (not beaten.any())


def test_frequencies_say_how_sure_the_front_is():
    rng = np.random.default_rng(1)
    hard = rng.standard_normal(300)

    def runs(level):
        return {s: 100.0 * (hard + rng.standard_normal(300) < level) for s in range(3)}

    quality = {"cheap": runs(0.0), "twin": runs(0.0), "good": runs(1.0), "poor": runs(-1.0)}
    cost = {"cheap": 1.0, "twin": 1.1, "good": 3.0, "poor": 2.0}
    points = stats.pareto({k: constant(v, v, v) for k, v in cost.items()}, quality)
    assert points["cheap"].frequency == points["good"].frequency == 1.0
    assert points["poor"].frequency == 0.0
    assert not points["poor"].on_front
    assert 0.02 < points["twin"].frequency < 0.98
    turned = stats.pareto(
        {k: constant(v, v, v) for k, v in reversed(cost.items())},
        dict(reversed(quality.items())),
    )
    assert points == turned


def test_a_front_needs_cost_and_quality_of_the_same_seeds():
    with pytest.raises(UserError, match="not so: b"):
        stats.pareto({"a": {0: 1.0}, "b": {0: 1.0}}, {"a": {0: [1.0]}, "b": {1: [1.0]}})
    assert stats.pareto({}, {}) == {}


def test_the_statistics_load_neither_torch_nor_trackers():
    code = (
        "import sys, workbench.stats\n"
        "print([m for m in ('torch', 'optuna', 'mlflow', 'polars', 'statsmodels') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
