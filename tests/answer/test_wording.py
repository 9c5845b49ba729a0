"""Sentences on comparisons: who beats whom, or that nobody can say, and what it would take."""

import numpy as np
from compared import cell, compare, constant
from scipy import stats as scipy_stats

from workbench import stats
from workbench.answer import wording


def test_a_comparison_names_winner_difference_interval_and_seeds():
    a, b = constant(48.0, 48.2, 48.4), constant(40.0, 40.3, 40.1)
    half = scipy_stats.t.isf(0.025, 2) * np.std([8.0, 7.9, 8.3], ddof=1) / np.sqrt(3)
    expected = f"(95 % interval {8.0667 - half:.1f} to {8.0667 + half:.1f}; 3 seeds)"
    assert wording.comparison(compare(a, b)) == f"A beats B by 8.1 points of R@1 {expected}"
    assert wording.comparison(compare(b, a)) == f"B beats A by 8.1 points of R@1 {expected}"


def test_a_comparison_after_holm_says_over_how_many_comparisons():
    cells = {"base": constant(40.0, 40.3, 40.1, 40.2), "x": constant(48.0, 48.2, 48.4, 48.3)}
    cells["y"] = constant(40.5, 39.0, 41.0, 40.0)
    family = stats.compare_family(cells, "base")
    assert "holds after Holm over 2 comparisons" in wording.comparison(family["x"])
    assert wording.comparison(family["y"]).startswith("y and base do not differ significantly with 4 seeds")


def test_what_only_holm_forbids_is_said_to_be_so():
    rng = np.random.default_rng(1)
    cells = {f"c{i}": constant(*(40 + rng.standard_normal(5))) for i in range(12)}
    cells["base"] = constant(40.0, 40.1, 39.9, 40.0, 40.2)
    cells["x"] = constant(40.9, 40.5, 41.6, 40.4, 41.0)
    found = stats.compare_family(cells, "base")["x"]
    assert found.interval.excludes_zero()
    assert found.winner is None
    assert "not after Holm over 13 comparisons" in wording.comparison(found)


def test_an_open_comparison_says_how_many_seeds_a_fresh_study_would_need():
    a, b = cell(3, 400, 45.0, 3.0, seed=1), cell(3, 400, 44.0, 3.0, seed=2)
    found = stats.compare(a, b)
    needed = stats.seeds_needed(found.components, 5.0)
    text = wording.comparison(found, worth=5.0)
    assert "do not differ significantly with 3 seeds" in text
    seeds = float(f"{needed:.1g}")  # an order of magnitude, and no invitation to add seeds
    assert text.endswith(
        f"a fresh study would need on the order of {seeds:.0f} seeds to detect a difference of 5.0"
    )
    assert text.startswith(f"A and B do not differ significantly with 3 seeds (difference {found.effect:.1f}")


def test_a_difference_that_would_have_been_seen_is_called_so():
    a, b = cell(8, 400, 45.0, 0.1, seed=1), cell(8, 400, 45.0, 0.1, seed=2)
    assert "a difference of 20.0 would have been detected" in wording.comparison(stats.compare(a, b), 20.0)


def test_when_the_gallery_is_too_small_no_number_of_seeds_is_promised():
    rng = np.random.default_rng(0)
    taste = 60 * rng.standard_normal(40)
    a = {s: taste + rng.standard_normal(40) for s in range(5)}
    b = {s: rng.standard_normal(40) for s in range(5)}
    text = wording.comparison(stats.compare(a, b), worth=2.0)
    assert "even 1,000 seeds would not be enough to detect a difference of 2.0 with these 40 clips" in text


def test_sentences_for_one_seed_repeated_seeds_constants_and_identity():
    one = compare({0: [100.0] * 50 + [0.0] * 50}, {0: [0.0] * 100})
    assert wording.comparison(one).startswith("A is ahead of B by 50.0 points of R@1 in these models (95 % ")
    assert wording.comparison(one).endswith("over queries); `--seeds 3` tells whether that is luck")
    same = stats.compare({s: [1.0, 2.0] for s in range(3)}, {s: [1.0, 0.0] for s in range(3)})
    assert "all seeds gave identical answers, so they count as one" in wording.comparison(same)
    shifted = stats.compare(constant(1.0, 2.0), constant(0.0, 1.0), unit="ms")
    assert "differed by exactly 1.0 ms in each of 2 seeds" in wording.comparison(shifted)
    equal = stats.compare(constant(1.0, 2.0), constant(1.0, 2.0))
    assert wording.comparison(equal) == "A and B had the same results throughout, in all 2 seeds"


def test_a_negative_winner_is_reported_the_right_way_round():
    slow, fast = constant(20.0, 20.4, 20.2, 20.1), constant(10.0, 10.1, 10.3, 10.2)
    found = stats.compare(fast, slow, higher_is_better=False, unit="ms")
    assert wording.comparison(found).startswith("A beats B by 10.0 ms (95 % interval 9.7 to")
    assert found.effect < 0
