"""Comparison, summaries, resampling: hand-computed cases, agreement with scipy and statsmodels."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from workbench import stats
from workbench.errors import UserError
from workbench.stats.components import SMALLEST_P, estimate, half_width, p_values
from workbench.stats.intervals import query_draws, seed_draws


def hits(rng, seeds, queries, level=0.0):
    """One cell: seed -> hits in percent; some queries are hard for every seed."""
    hard = rng.standard_normal(queries)

    def run():
        seen = hard + rng.standard_normal(queries) + 0.2 * rng.standard_normal()
        return np.where(seen < level, 100.0, 0.0)

    return {seed: run() for seed in range(seeds)}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# Summaries


def test_the_interval_of_a_cell_is_the_t_interval_over_its_seeds():
    runs = {0: [40.0], 1: [43.0], 2: [46.0]}
    found = stats.summarise(runs)
    low, high = scipy_stats.t.interval(0.95, 2, 43.0, 3 / np.sqrt(3))
    assert found.mean == 43.0
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert (found.interval.kind, found.interval.n) == ("seeds", 3)


def test_the_interval_of_a_single_seed_is_about_queries_and_says_so():
    values = np.array([100.0] * 40 + [0.0] * 60)
    found = stats.summarise({3: values}).interval
    assert (found.kind, found.n) == ("queries", 100)
    assert (found.low, found.high) == pytest.approx((30.4, 49.6), abs=1.0)  # 40 +- 1.96 * 4.9


def test_a_single_number_has_no_interval():
    assert stats.summarise({0: 12.5}).interval is None


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    assert stats.iqm([8, 1, 2, 7, 3, 6, 4, 5]) == 4.5
    assert stats.iqm([0, 50, 52, 100]) == 51.0
    assert stats.iqm([1, 2, 6]) == 3.0


# Bootstrap


def test_the_query_bootstrap_agrees_with_scipy(rng):
    a, b = hits(rng, 1, 300, 0.3), hits(rng, 1, 300)
    ours = stats.compare(a, b, resamples=20_000).over_queries
    theirs = scipy_stats.bootstrap(
        (a[0], b[0]), lambda x, y, axis: x.mean(axis) - y.mean(axis), paired=True,
        method="percentile", n_resamples=20_000, rng=1,
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.5)


def test_captions_of_one_clip_are_resampled_together(rng):
    """Twenty copies of a query carry the information of one."""
    a, b = hits(rng, 1, 50, 0.3), hits(rng, 1, 50)
    alone = stats.compare(a, b)
    many = {0: np.repeat(a[0], 20)}, {0: np.repeat(b[0], 20)}
    grouped = stats.compare(*many, groups=[f"clip{i // 20:02d}" for i in range(1000)])
    blind = stats.compare(*many)
    assert (grouped.over_queries.low, grouped.over_queries.high) == (
        alone.over_queries.low,
        alone.over_queries.high,
    )
    assert grouped.clusters == 50
    assert blind.over_queries.high - blind.over_queries.low < 0.4 * (
        grouped.over_queries.high - grouped.over_queries.low
    )


def test_all_runs_share_the_same_draws_of_queries():
    sums = np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]])
    draws = query_draws(sums, np.ones(3), 50, 0)
    assert np.allclose(draws[:, 1], 2 * draws[:, 0])
    assert np.unique(draws[:, 0]).size > 3


def test_resampled_seeds_keep_their_number():
    weights = seed_draws(3, 100, 0)
    assert np.allclose(weights.sum(1), 1)
    assert set(np.round(3 * weights.ravel()).astype(int)) == {0, 1, 2, 3}


# The interval for seeds and queries


def test_the_mean_squares_are_those_of_a_two_way_analysis_of_variance(rng):
    formula = pytest.importorskip("statsmodels.formula.api")
    anova = pytest.importorskip("statsmodels.stats.anova")
    import pandas as pd

    table = rng.normal(size=(4, 12)) + rng.normal(size=(4, 1)) + rng.normal(size=12)
    long = pd.DataFrame([{"y": table[s, c], "s": s, "c": c} for s in range(4) for c in range(12)])
    theirs = anova.anova_lm(formula.ols("y ~ C(s) + C(c)", long).fit())
    ours = estimate(table, np.ones(12))
    expected = theirs["sum_sq"] / theirs["df"]
    assert [float(m) for m in ours.mean_squares] == pytest.approx(list(expected))
    assert ours.effect == pytest.approx(table.mean())


def test_with_one_number_a_run_the_interval_is_the_paired_t_interval():
    a, b = {0: 41.0, 1: 44.0, 2: 43.5, 3: 46.0}, {0: 40.0, 1: 41.0, 2: 42.0, 3: 41.0}
    found = stats.compare(a, b)
    theirs = scipy_stats.ttest_rel(list(a.values()), list(b.values()))
    interval = theirs.confidence_interval()
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx(interval)
    assert (found.interval.kind, found.over_queries) == ("seeds", None)


def test_a_two_by_two_table_by_hand():
    """Differences 0, 2 / 4, 10: mean 4, MS seed 36, MS clip 16, MS rest 4."""
    found = estimate(np.array([[0.0, 2.0], [4.0, 10.0]]), np.ones(2))
    assert [float(m) for m in found.mean_squares] == [36.0, 16.0, 4.0]
    assert float(found.seed_part) == 36 / 4
    assert float(found.query_part) == (16 - 4) / 4
    # Both quantiles have one degree of freedom, so the weights do not matter.
    assert float(half_width(found, 0.05)) == pytest.approx(12.7062 * np.sqrt(12), rel=1e-5)
    assert float(p_values(found)) == pytest.approx(2 * scipy_stats.t.sf(4 / np.sqrt(12), 1))
    parts = found.components()
    assert (parts.seed, parts.query, parts.rest) == (16.0, 6.0, 4.0)


def test_seeds_that_agree_by_luck_do_not_narrow_the_interval():
    table = np.array([[0.0, 100.0], [100.0, 0.0], [50.0, 50.0]])  # equal seed means
    found = estimate(table, np.ones(2))
    assert float(found.seed_part) == pytest.approx(float(found.mean_squares[2]) / 6)
    assert float(found.seed_part) > 0


def test_clips_with_unequal_numbers_of_captions_weigh_by_their_captions():
    a = {0: [100, 100, 100, 0], 1: [100, 100, 0, 0]}
    b = {0: [0, 0, 0, 0], 1: [0, 0, 100, 0]}
    found = stats.compare(a, b, groups=["x", "x", "x", "y"])
    assert found.effect == pytest.approx((300 - 0 + 200 - 100) / 8)
    assert found.clusters == 2


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_the_p_value_is_the_level_at_which_the_interval_touches_zero(rng, seeds):
    table = 10 + 20 * rng.normal(size=(50, seeds, 40)) + 8 * rng.normal(size=(50, seeds, 1))
    found = estimate(table + 10 * rng.normal(size=(50, 1, 40)), np.ones(40))
    p = p_values(found)
    assert np.allclose(half_width(found, p), np.abs(found.effect), rtol=1e-4)
    assert np.all(half_width(found, np.minimum(1.0, 1.01 * p)) < np.abs(found.effect))


def test_an_overwhelming_difference_has_the_smallest_p():
    table = 100.0 + np.random.default_rng(0).normal(size=(10, 500))
    assert float(p_values(estimate(table, np.ones(500)))) == SMALLEST_P


# Over seeds


@pytest.mark.parametrize("differences", [[1.0, 2.0, 3.0], [3.0, -1.0, 2.0, 2.0, 0.5], [0, 1, -1, 2]])
def test_the_sign_flip_test_tries_all_signs(differences):
    d = np.array(differences, dtype=float)
    flipped = [abs(np.mean(d * signs)) for signs in product((-1, 1), repeat=len(d))]
    assert stats.sign_flip(d) == pytest.approx(np.mean(np.array(flipped) >= abs(d.mean()) - 1e-12))


def test_the_sign_flip_test_reaches_its_smallest_p_when_all_seeds_agree():
    for n in (1, 3, 6, 10):
        assert stats.sign_flip(np.arange(1, n + 1)) == min(1.0, 2 / 2**n)


def test_twenty_seeds_do_not_take_a_million_flips():
    assert stats.sign_flip(np.full(20, 1.0) + np.arange(20) / 100) < 1e-4


# Holm


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.02, 0.02, 1.0], [0.2] * 5])
def test_holm_agrees_with_statsmodels(p):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    assert stats.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([[0.04, 0.01], [0.5, 0.6]]).tolist() == [[0.04, 0.02], [1.0, 1.0]]
    assert stats.holm([]).size == 0


def test_a_claim_has_the_interval_of_its_share_of_the_family_and_it_excludes_zero(rng):
    cells = {f"c{i}": hits(rng, 6, 80, level) for i, level in enumerate(np.linspace(0, 1.5, 9))}
    family = stats.compare_family(cells, "c0", resamples=100)
    claimed = [c.winner is not None for c in family.values()]
    assert any(claimed)
    assert not all(claimed)
    for c in family.values():
        assert c.family == stats.Family(comparisons=8)
        assert c.interval.excludes_zero() == (c.p < 0.05)
        assert (c.winner is not None) == (c.p_adjusted < 0.05) == (c.claimed_interval is not None)
        if c.claimed_interval is not None:
            assert c.claimed_interval.level == pytest.approx(1 - 0.05 * sum(claimed) / 8)
            assert c.claimed_interval.excludes_zero()
            assert c.claimed_interval.low < c.interval.low
            assert c.shown == c.claimed_interval


def test_under_holm_the_interval_of_a_claim_always_excludes_zero(rng):
    """Its p is below alpha R / m: checked where Holm's own steps are met as closely as they can be."""
    for m in range(1, 13):
        for claims in range(1, m + 1):
            edge = 0.05 / (m - np.arange(claims)) * (1 - 1e-9)
            adjusted = stats.holm([*edge, *[1.0] * (m - claims)])
            assert np.count_nonzero(adjusted < 0.05) == claims
            assert edge.max() < 1 - stats.claimed_level(claims, m, 0.95) + 1e-12
    p = rng.random((2000, 9)) ** 4
    claims = (stats.holm(p) < 0.05).sum(-1)
    largest = np.where(stats.holm(p) < 0.05, p, 0).max(-1)
    assert claims.max() > 3
    assert np.all(largest <= 1 - np.array([stats.claimed_level(r, 9, 0.95) for r in claims]))


def test_no_interval_leaves_the_range_of_the_metric():
    high, low = {0: [100.0] * 9 + [0.0], 1: [100.0] * 10}, {0: [0.0] * 10, 1: [0.0] * 7 + [100.0] * 3}
    found = stats.compare(high, low, reach=100.0)
    assert (found.interval.high, found.over_seeds.high) == (100.0, 100.0)
    assert stats.compare(high, low).interval.high > 100
    assert found.interval_at(0.999).low == -100.0
    cells = stats.summarise_cells({"a": high, "b": low}, bounds=(0.0, 100.0))
    assert (cells["a"].interval.high, cells["b"].interval.low) == (100.0, 0.0)
    grid = {(i, j): low if i == j else high for i in "ab" for j in "ab"}
    effect = stats.factor_effects(grid, ["x", "y"], reach=100.0).effects[-1]
    assert (effect.reach, effect.interval.low) == (50.0, -50.0)
    assert stats.factor_effects(grid, ["x", "y"]).effects[-1].interval.low < -50


# A fixed order


def in_turn(*p):
    """Comparisons of pairs with these p values each, in the metric's favour."""
    base = stats.compare({0: 41.0, 1: 44.0, 2: 43.5}, {0: 40.0, 1: 41.0, 2: 42.0})
    return stats.adjust_in_order([None if x is None else replace(base, p=x) for x in p])


def test_registered_contrasts_are_tested_in_their_order_up_to_the_first_that_fails():
    found = in_turn(0.001, 0.04, 0.2, 0.001)
    assert [c.outcome for c in found] == ["told apart", "told apart", "open", "not tested"]
    assert [c.p_adjusted for c in found] == [0.001, 0.04, 0.2, None]
    assert {c.claimed_interval.level for c in found[:2]} == {1 - 0.05 * 2 / 4}
    assert [c.family and c.family.contrasts for c in found] == [4, 4, 4, None]
    assert found[0].family.size == 1  # each is tested at 5 %


def test_a_contrast_that_cannot_be_made_yet_stops_the_order_as_well():
    found = in_turn(0.001, None, 0.001)
    assert [c and c.outcome for c in found] == ["told apart", None, "not tested"]
    assert [c.p_adjusted for c in in_turn(0.04, 0.01)] == [0.04, 0.04]  # the largest so far


def test_comparisons_without_a_p_value_count_in_the_family_where_they_are_planned(rng):
    cells = {"base": hits(rng, 3, 50), "x": hits(rng, 3, 50, 0.4), "once": hits(rng, 1, 50)}
    family = stats.compare_family(cells, "base", resamples=100)
    assert (family["x"].family.size, family["once"].p, family["once"].winner) == (1, None, None)
    assert family["x"].p_adjusted == family["x"].p
    planned = {c.a: c for c in stats.adjust(family.values(), stats.Family(comparisons=3, verdicts=1))}
    assert [c.family.size for c in planned.values()] == [4, 4]
    assert planned["x"].p_adjusted == pytest.approx(min(1.0, 4 * family["x"].p))
    assert planned["once"].p_adjusted is None


def test_a_claim_made_while_a_study_runs_is_still_made_when_the_other_cells_are_done(rng):
    """What is to come counts as p = 1, so that more cells can only add claims."""
    cells = {f"c{i}": hits(rng, 6, 80, level) for i, level in enumerate(np.linspace(0, 1.5, 9))}
    whole = stats.compare_family(cells, "c0", resamples=100)
    for known in (2, 4, 6):
        part = {name: runs for name, runs in cells.items() if int(name[1]) > 8 - known or name == "c0"}
        compared = stats.compare_family(part, "c0", resamples=100).values()
        found = {c.a: c for c in stats.adjust(compared, stats.Family(comparisons=8))}
        assert all(whole[name].p_adjusted <= c.p_adjusted for name, c in found.items())
        assert any(c.winner for c in found.values())
        assert all(whole[name].winner for name, c in found.items() if c.winner)


# Edges


def test_the_order_of_runs_and_cells_does_not_change_a_bit(rng):
    cells = {name: hits(rng, 4, 60, level) for name, level in (("a", 0), ("b", 0.2), ("c", 0.4))}
    turned = {name: dict(reversed(list(cells[name].items()))) for name in reversed(list(cells))}
    assert stats.compare_family(cells, "a") == stats.compare_family(turned, "a")
    assert stats.compare(cells["b"], cells["a"]) == stats.compare(turned["b"], turned["a"])
    assert stats.summarise(cells["a"]) == stats.summarise(turned["a"])
    floats = {s: rng.normal(size=1) for s in range(7)}
    assert stats.summarise(floats) == stats.summarise(dict(reversed(list(floats.items()))))


def test_a_generator_and_its_seed_are_both_accepted(rng):
    a, b = hits(rng, 3, 60, 0.3), hits(rng, 3, 60)
    assert stats.compare(a, b, rng=5) == stats.compare(a, b, rng=5)
    first = stats.compare(a, b, rng=np.random.default_rng(5))
    assert first == stats.compare(a, b, rng=np.random.default_rng(5))
    assert first.over_queries != stats.compare(a, b, rng=6).over_queries
    assert first.interval == stats.compare(a, b, rng=6).interval  # nothing random in it


def test_identical_arms_are_equal_and_not_a_crash(rng):
    a = hits(rng, 3, 60)
    found = stats.compare(a, a)
    assert (found.effect, found.p, found.p_seeds, found.winner) == (0.0, 1.0, 1.0, None)
    assert (found.interval.low, found.interval.high) == (0.0, 0.0)
    assert found.p_queries == 1.0


def test_one_seed_allows_no_claim_about_cells(rng):
    found = stats.compare(hits(rng, 1, 500, 3.0), hits(rng, 1, 500, -3.0))
    assert found.interval is None
    assert found.p is None
    assert found.p_seeds is None
    assert found.over_queries.excludes_zero()
    assert found.p_queries < 0.01
    assert found.winner is None


def test_seeds_that_all_gave_the_same_answers_count_as_one():
    same = [100.0, 0.0, 100.0, 100.0] * 20
    found = stats.compare(dict.fromkeys(range(5), same), {s: [0.0] * 80 for s in range(5)})
    assert found.repeated_seeds
    assert found.interval is None
    assert found.winner is None


def test_a_constant_difference_has_no_scale_to_be_judged_by():
    found = stats.compare({s: 10.0 + s for s in range(4)}, {s: 8.0 + s for s in range(4)})
    assert (found.effect, found.interval, found.p, found.winner) == (2.0, None, None, None)
    assert found.p_seeds == 0.125


def test_one_query_or_one_clip_leaves_only_the_seeds_to_vary():
    a, b = {0: [100.0], 1: [0.0], 2: [100.0]}, {0: [0.0], 1: [0.0], 2: [100.0]}
    assert stats.compare(a, b).interval.kind == "seeds"
    a, b = {0: [100.0, 0], 1: [0.0, 0]}, {0: [0.0, 0], 1: [0.0, 100]}
    found = stats.compare(a, b, groups=["x", "x"])
    assert (found.interval.kind, found.clusters) == ("seeds", 1)


def test_only_shared_seeds_are_paired_and_the_others_are_reported(rng):
    a, b = hits(rng, 5, 60, 0.3), hits(rng, 3, 60)
    b[9] = b[0]
    found = stats.compare(a, b, names=("arm", "base"))
    assert found.seeds == (0, 1, 2)
    assert found.unpaired == {"arm": (3, 4), "base": (9,)}
    same = stats.compare({s: a[s] for s in range(3)}, {s: b[s] for s in range(3)})
    assert (found.effect, found.interval, found.p) == (same.effect, same.interval, same.p)


def test_a_smaller_is_better_metric_turns_the_winner_round():
    a, b = {s: 10.0 + 0.1 * s for s in range(6)}, {s: 20.0 + 0.2 * s for s in range(6)}
    assert stats.compare(a, b, higher_is_better=False).winner == "A"
    assert stats.compare(a, b).winner == "B"


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ({0: [1.0, np.nan]}, {0: [1.0, 2.0]}, "not finite"),
        ({0: [1.0, np.inf]}, {0: [1.0, 2.0]}, "not finite"),
        ({}, {0: [1.0]}, "no runs"),
        ({0: [1.0]}, {1: [1.0]}, "share no seed"),
        ({0: [1.0, 2.0]}, {0: [1.0]}, "different queries"),
        ({0: [1.0, 2.0], 1: [1.0]}, {0: [1.0]}, "same number"),
        ({0: []}, {0: []}, "one value for each query"),
        ({0: [[1.0, 2.0]]}, {0: [1.0]}, "one value for each query"),
    ],
)
def test_input_that_cannot_be_compared_is_refused_in_a_sentence(a, b, message):
    with pytest.raises(UserError, match=message):
        stats.compare(a, b)


def test_other_mistakes_are_refused_too():
    runs = {0: [1.0, 2.0]}
    with pytest.raises(UserError, match="group names"):
        stats.compare(runs, runs, groups=["x"])
    with pytest.raises(UserError, match="level"):
        stats.compare(runs, runs, level=95)
    with pytest.raises(UserError, match="baseline"):
        stats.compare_family({"a": runs}, "b")


def test_a_family_of_a_thousand_runs_compares_every_cell(rng):
    cells = {f"c{i}": hits(rng, 10, 1000) for i in range(100)}
    assert len(stats.compare_family(cells, "c0")) == 99


def test_the_kind_of_a_summary_says_what_varies():
    rng = np.random.default_rng(0)
    easy = rng.random(400)
    runs = {s: 100.0 * (rng.random(400) < np.clip(easy + 0.1 * s, 0, 1)) for s in range(4)}
    kinds = ("seeds", "queries", "seeds+queries")
    found = {kind: stats.summarise_cells({"a": runs}, kind=kind)["a"] for kind in kinds}
    assert {kind: summary.interval.kind for kind, summary in found.items()} == {k: k for k in kinds}
    assert len({summary.mean for summary in found.values()}) == 1
    width = {kind: s.interval.high - s.interval.low for kind, s in found.items()}
    assert width["seeds+queries"] > width["queries"]
    # One seed: queries are all that can vary. One number a run: seeds are.
    one = stats.summarise_cells({"a": {0: runs[0]}}, kind="seeds+queries")["a"]
    assert one.interval.kind == "queries"
    single = {0: [1.0], 1: [2.0], 2: [4.0]}
    assert stats.summarise_cells({"a": single}, kind="seeds+queries")["a"].interval.kind == "seeds"
    assert stats.summarise_cells({"a": single}, kind="queries")["a"].interval is None
