"""Claims, gates, power, factor effects and Pareto fronts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from workbench import stats
from workbench.errors import UserError
from workbench.stats import gates
from workbench.stats.components import Components
from workbench.stats.power import seeds_for_sign_flip

PARTS = Components(seed=9.0, query=600.0, rest=2000.0, seeds=3, clusters=500)


def cell(seeds, queries, mean, spread, seed=0):
    """Seed -> values with a given mean and a given spread between seeds; queries vary a lot."""
    rng = np.random.default_rng(seed)
    shift = spread * rng.standard_normal(seeds)
    return {s: mean + shift[s] + 20 * rng.standard_normal(queries) for s in range(seeds)}


def constant(*values):
    return dict(enumerate(values))


# Claims


def test_a_claim_names_winner_difference_interval_and_seeds():
    a, b = constant(48.0, 48.2, 48.4), constant(40.0, 40.3, 40.1)
    half = scipy_stats.t.isf(0.025, 2) * np.std([8.0, 7.9, 8.3], ddof=1) / np.sqrt(3)
    expected = f"(95 % interval {8.0667 - half:.1f} to {8.0667 + half:.1f}; 3 seeds)"
    assert stats.claim(stats.compare(a, b)) == f"A beats B by 8.1 points of R@1 {expected}"
    assert stats.claim(stats.compare(b, a)) == f"B beats A by 8.1 points of R@1 {expected}"


def test_a_claim_after_holm_says_over_how_many_comparisons():
    cells = {"base": constant(40.0, 40.3, 40.1, 40.2), "x": constant(48.0, 48.2, 48.4, 48.3)}
    cells["y"] = constant(40.5, 39.0, 41.0, 40.0)
    family = stats.compare_family(cells, "base")
    assert "holds after Holm over 2 comparisons" in stats.claim(family["x"])
    assert stats.claim(family["y"]).startswith("y and base cannot be told apart with 4 seeds")


def test_what_only_holm_forbids_is_said_to_be_so():
    rng = np.random.default_rng(1)
    cells = {f"c{i}": constant(*(40 + rng.standard_normal(5))) for i in range(12)}
    cells["base"] = constant(40.0, 40.1, 39.9, 40.0, 40.2)
    cells["x"] = constant(40.9, 40.5, 41.6, 40.4, 41.0)
    found = stats.compare_family(cells, "base")["x"]
    assert found.interval.excludes_zero()
    assert found.winner is None
    assert "not after Holm over 13 comparisons" in stats.claim(found)


def test_an_open_comparison_says_how_many_more_seeds_would_do():
    a, b = cell(3, 400, 45.0, 3.0, seed=1), cell(3, 400, 44.0, 3.0, seed=2)
    found = stats.compare(a, b)
    needed = stats.seeds_needed(found.components, 5.0)
    text = stats.claim(found, worth=5.0)
    assert "cannot be told apart with 3 seeds" in text
    assert text.endswith(f"about {needed - 3} more would be needed to see a difference of 5.0")
    assert text.startswith(f"A and B cannot be told apart with 3 seeds (difference {found.effect:.1f}")


def test_a_difference_that_would_have_been_seen_is_called_so():
    a, b = cell(8, 400, 45.0, 0.1, seed=1), cell(8, 400, 45.0, 0.1, seed=2)
    assert "a difference of 20.0 would have been seen" in stats.claim(stats.compare(a, b), 20.0)


def test_when_the_gallery_is_too_small_no_number_of_seeds_is_promised():
    rng = np.random.default_rng(0)
    taste = 60 * rng.standard_normal(40)
    a = {s: taste + rng.standard_normal(40) for s in range(5)}
    b = {s: rng.standard_normal(40) for s in range(5)}
    text = stats.claim(stats.compare(a, b), worth=2.0)
    assert "even 1,000 seeds would not do to see a difference of 2.0 with these 40 clips" in text


def test_sentences_for_one_seed_repeated_seeds_constants_and_identity():
    one = stats.compare({0: [100.0] * 50 + [0.0] * 50}, {0: [0.0] * 100})
    assert stats.claim(one).startswith("A and B cannot be told apart: one seed; in these trained")
    assert "A was ahead by 50.0 points of R@1" in stats.claim(one)
    same = stats.compare({s: [1.0, 2.0] for s in range(3)}, {s: [1.0, 0.0] for s in range(3)})
    assert "all seeds gave the same answers and count as one" in stats.claim(same)
    shifted = stats.compare(constant(1.0, 2.0), constant(0.0, 1.0), unit="ms")
    assert "differed by exactly 1.0 ms in each of 2 seeds" in stats.claim(shifted)
    equal = stats.compare(constant(1.0, 2.0), constant(1.0, 2.0))
    assert stats.claim(equal) == "A and B had the same results throughout, in all 2 seeds"


def test_a_negative_winner_is_reported_the_right_way_round():
    slow, fast = constant(20.0, 20.4, 20.2, 20.1), constant(10.0, 10.1, 10.3, 10.2)
    found = stats.compare(fast, slow, higher_is_better=False, unit="ms")
    assert stats.claim(found).startswith("A beats B by 10.0 ms (95 % interval 9.7 to")
    assert found.effect < 0


# Power


def test_the_smallest_p_halves_with_every_seed():
    assert [stats.smallest_p(n) for n in (1, 3, 5, 6, 10)] == [1, 0.25, 0.0625, 0.03125, 2 / 1024]
    assert stats.smallest_p(10, family=25) == pytest.approx(50 / 1024)
    assert stats.smallest_p(3, family=12) == 1.0
    with pytest.raises(UserError):
        stats.smallest_p(0)


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


# Gates


def test_too_few_seeds_for_the_sign_flip_test_are_named():
    assert gates.smallest_p_gate(3) == [
        ("The sign-flip test over 3 seeds cannot go below p = 0.25; it takes 6 seeds to get below 0.05.")
    ]
    text = gates.smallest_p_gate(6, family=25)[0]
    assert "p = 0.031, 0.78 after Holm over 25 comparisons; it takes 10 seeds" in text
    assert gates.smallest_p_gate(10, family=25) == []
    for family in range(1, 200):
        n = seeds_for_sign_flip(family, 0.05)
        assert stats.smallest_p(n, family) < 0.05 <= stats.smallest_p(n - 1, family)


def test_the_detectable_difference_is_stated_with_gallery_and_seeds():
    found = stats.compare(cell(3, 400, 45.0, 3.0, 1), cell(3, 400, 44.0, 3.0, 2))
    smallest = stats.detectable(found.components, 3)
    assert gates.detectable_gate(found) == [
        (
            f"With 3 seeds and 400 clips, one in five differences of {smallest:.3g} points of R@1 "
            "between A and B is missed, and more of the smaller ones."
        )
    ]
    two = stats.compare(cell(2, 400, 45.0, 9.0, 1), cell(2, 400, 44.0, 9.0, 2))
    assert gates.detectable_gate(two) == [
        "With 2 seeds and 400 clips, no difference between A and B could be seen."
    ]


def test_a_comparison_carries_its_own_gates():
    a, b = cell(3, 20, 45.0, 3.0, 1), cell(2, 20, 44.0, 3.0, 2)
    found = gates.comparison_gates(stats.compare(a, b))
    assert found[0] == "1 seed of A (2) left out: the other arm lacks it."
    assert any("Only 20 clips" in text for text in found)
    once = gates.comparison_gates(stats.compare({0: [1.0] * 50}, {0: [0.0] * 50}))
    assert "1 seed: nothing can be told from the luck of a seed." in once
    same = stats.compare({s: [1.0] * 50 for s in "01"}, {s: [0.0] * 50 for s in "01"})
    assert any("does the seed reach the training?" in text for text in gates.comparison_gates(same))


def test_unequal_seeds_and_budgets_are_named():
    assert gates.unequal_seeds({"a": [0, 1], "b": [1, 0]}) == []
    assert gates.unequal_seeds({"a": [0, 1], "b": [0, 1], "c": [0], "d": []}) == [
        "Unequal seeds: most cells have 0, 1, but not c (0), d (none); they are ranked beside cells with "
        "other seeds."
    ]
    assert gates.unequal_budgets({"a": "1 pflops", "b": "1 pflops"}) == []
    assert gates.unequal_budgets({"a": "1 pflops", "b": "2 pflops"}) == [
        "Unequal budgets, so differences may be due to training longer (1 pflops: a; 2 pflops: b)."
    ]
    assert gates.unequal_seeds({}) == gates.unequal_budgets({}) == []


def test_failed_and_missing_runs_are_told_apart_and_a_repaired_run_is_neither():
    found = gates.missing_cells(
        {"a": [0, 1], "b": [0, 1, 2]},
        {"a": [0, 1], "b": [0]},
        {"a": {1: "killed"}, "b": {1: "not_finite"}},
    )
    assert len(found) == 2
    assert found[0].startswith("1 of 5 runs failed")
    assert "b seed 1 (not_finite)" in found[0]
    assert found[1] == "1 of 5 runs are not done yet: b seed 2."
    assert gates.missing_cells({"a": [0]}, {"a": [0]}, {}) == []


def test_an_arm_that_differs_in_two_axes_is_confounded():
    alone = (
        "b differs from the baseline in 2 axes (ratio, strategy), so its effect cannot be put down to one of "
        "them."
    )
    diffs = {"a": ["ratio"], "b": ["strategy", "ratio"]}
    assert gates.confounded("a", {"a": ["ratio"]}) == []
    assert gates.confounded("b", diffs, ["x", "y"]) == [alone]
    assert gates.confounded("a", diffs) == [
        "1 of 2 compared cells differ from the baseline in two or more axes (b): their differences cannot be "
        "put down to one of them."
    ]
    assert gates.confounded("b", diffs | {x: ["ratio", "strategy"] for x in "cdef"})[1].startswith(
        "5 of 6 compared cells differ from the baseline in two or more axes (b, c, d and 2 more): "
    )


def test_an_axis_that_stands_for_several_settings_is_confounded_too():
    settings = [f"recipe.s{i}" for i in range(7)]
    assert gates.confounded("a", {"a": ["arm"]}, settings[:1]) == []
    assert gates.confounded("a", {"a": ["arm"]}, settings) == [
        "a differs from the baseline in 7 settings (recipe.s0, recipe.s1, recipe.s2, recipe.s3, recipe.s4 "
        "and 2 more), so its effect cannot be put down to one of them."
    ]


def test_runs_of_different_code_are_named():
    assert gates.unequal_code({"a": "commit 1", "b": "commit 1"}) == gates.unequal_code({}) == []
    assert gates.unequal_code({"a": "commit 1", "b": "commit 2", "c": "commit 2"}) == [
        "Runs were made by different versions of the code, which may make a difference: commit 1 (1 run), "
        "commit 2 (2 runs)."
    ]


def test_cost_on_different_machines_or_decoders_is_not_comparable():
    runs = {
        "r1": {"device_name": "cpu", "decoder": "decord 0.6.0"},
        "r2": {"device_name": "cpu", "decoder": "av 18.1"},
    }
    assert gates.unequal_hardware(runs) == [
        "Cost and speed are not comparable: runs differ in decoder: av 18.1 (1), decord 0.6.0 (1)."
    ]
    assert gates.unequal_hardware({"r1": runs["r1"]}) == []


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
    assert corner.p_adjusted < 0.05
    assert corner.p_adjusted >= corner.p
    assert len(found.effects) == 3 + 2 + 6


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
        "import sys, workbench.stats, workbench.stats.gates\n"
        "print([m for m in ('torch', 'optuna', 'mlflow', 'polars', 'statsmodels') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
