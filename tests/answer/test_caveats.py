"""Sentences that limit an answer: each is said where it holds and nowhere else."""

import pytest
from compared import cell, compare
from synthetic import RATIOS, key_of, label_of

from workbench import stats
from workbench.answer import caveats


def test_the_detectable_difference_is_stated_with_gallery_and_seeds():
    found = compare(cell(3, 400, 45.0, 3.0, 1), cell(3, 400, 44.0, 3.0, 2))
    smallest = stats.detectable(found.components, 3)
    assert caveats.smallest_difference(found, 100.0) == [
        (
            f"With 3 seeds and 400 clips, one in five differences of {smallest:.3g} points of R@1 "
            "between A and B is missed, and more of the smaller ones."
        )
    ]
    two = stats.compare(cell(2, 400, 45.0, 9.0, 1), cell(2, 400, 44.0, 9.0, 2))
    assert caveats.smallest_difference(two, 100.0) == [
        "With 2 seeds and 400 clips, no difference between A and B could be detected."
    ]


def test_a_comparison_carries_its_own_caveats():
    a, b = cell(3, 20, 45.0, 3.0, 1), cell(2, 20, 44.0, 3.0, 2)
    found = caveats.of_comparison(stats.compare(a, b))
    assert found[0] == "1 seed of A (2) left out: the other arm lacks it."
    assert any("Only 20 clips" in text for text in found)
    once = caveats.of_comparison(stats.compare({0: [1.0] * 50}, {0: [0.0] * 50}))
    assert "1 seed: the variation between seeds cannot be estimated." in once
    same = stats.compare({s: [1.0] * 50 for s in "01"}, {s: [0.0] * 50 for s in "01"})
    assert any("does the seed reach the training?" in text for text in caveats.of_comparison(same))


def test_unequal_seeds_and_budgets_are_named():
    assert caveats.unequal_seeds({"a": [0, 1], "b": [1, 0]}) == []
    assert caveats.unequal_seeds({"a": [0, 1], "b": [0, 1], "c": [0], "d": []}) == [
        "Unequal seeds: most cells have 0, 1, but not c (0), d (none); they are ranked beside cells with "
        "other seeds."
    ]
    assert caveats.unequal_budgets({"a": "1 pflops", "b": "1 pflops"}) == []
    assert caveats.unequal_budgets({"a": "1 pflops", "b": "2 pflops"}) == [
        "Unequal budgets, so differences may be due to training longer (1 pflops: a; 2 pflops: b)."
    ]
    assert caveats.unequal_seeds({}) == caveats.unequal_budgets({}) == []


def test_failed_and_missing_runs_are_told_apart_and_a_repaired_run_is_neither():
    found = caveats.missing_runs(
        {"a": [0, 1], "b": [0, 1, 2]},
        {"a": [0, 1], "b": [0]},
        {"a": {1: "killed"}, "b": {1: "not_finite"}},
    )
    assert len(found) == 2
    assert found[0].startswith("1 of 5 runs failed")
    assert "b seed 1 (not_finite)" in found[0]
    assert found[1] == "1 of 5 runs are not done yet: b seed 2."
    assert caveats.missing_runs({"a": [0]}, {"a": [0]}, {}) == []


def test_an_arm_that_differs_in_two_axes_is_confounded():
    alone = (
        "b differs from the baseline in 2 axes (ratio, strategy), so its effect cannot be put down to one of "
        "them."
    )
    diffs = {"a": ["ratio"], "b": ["strategy", "ratio"]}
    assert caveats.confounded("a", {"a": ["ratio"]}) == []
    assert caveats.confounded("b", diffs, ["x", "y"]) == [alone]
    assert caveats.confounded("a", diffs) == [
        "1 of 2 compared cells differ from the baseline in two or more axes (b): their differences cannot be "
        "put down to one of them."
    ]
    assert caveats.confounded("b", diffs | {x: ["ratio", "strategy"] for x in "cdef"})[1].startswith(
        "5 of 6 compared cells differ from the baseline in two or more axes (b, c, d and 2 more): "
    )


def test_an_axis_that_stands_for_several_settings_is_confounded_too():
    settings = [f"recipe.s{i}" for i in range(7)]
    assert caveats.confounded("a", {"a": ["arm"]}, settings[:1]) == []
    assert caveats.confounded("a", {"a": ["arm"]}, settings) == [
        "a differs from the baseline in 7 settings (recipe.s0, recipe.s1, recipe.s2, recipe.s3, recipe.s4 "
        "and 2 more), so its effect cannot be put down to one of them."
    ]


def test_runs_of_different_code_are_named():
    assert caveats.unequal_code({"a": "commit 1", "b": "commit 1"}) == caveats.unequal_code({}) == []
    assert caveats.unequal_code({"a": "commit 1", "b": "commit 2", "c": "commit 2"}) == [
        "Runs were made by different versions of the code, which may make a difference: commit 1 (1 run), "
        "commit 2 (2 runs)."
    ]


def test_cost_on_different_machines_or_decoders_is_not_comparable():
    runs = {
        "r1": {"device_name": "cpu", "decoder": "decord 0.6.0"},
        "r2": {"device_name": "cpu", "decoder": "av 18.1"},
    }
    assert caveats.unequal_hardware(runs) == [
        "Cost and speed are not comparable: runs differ in decoder: av 18.1 (1), decord 0.6.0 (1)."
    ]
    assert caveats.unequal_hardware({"r1": runs["r1"]}) == []
    before = {"old": {"processes": "unknown"}, "older": {"processes": None}, "new": {"processes": 1}}
    assert caveats.unequal_hardware(before) == [], "runs that were made before it was recorded had one"
    assert "processes: 1 (3), 2 (1)" in caveats.unequal_hardware(before | {"two": {"processes": 2}})[0]


def test_items_that_have_commas_are_told_apart():
    planned = {"no video hidden, no text hidden": [0], "half of it, no text hidden": [0]}
    (said,) = caveats.missing_runs(planned, {}, {})
    assert said == (
        "2 of 2 runs are not done yet: half of it, no text hidden seed 0; "
        "no video hidden, no text hidden seed 0."
    )


@pytest.mark.parametrize(("reads", "said"), [(["speed/clips_per_s"], True), (["train/steps"], False)])
def test_a_speed_that_was_measured_beside_other_work_is_named(ratios, answered, change, reads, said):
    ratios(seeds=(0, 1), reads=reads)
    change("ratios", key_of(RATIOS[2]), 1, "summary.json", {"speed/core_wait_share": 1.42})
    change("ratios", key_of(RATIOS[3]), 1, "summary.json", {"speed/core_wait_share": 0.02})
    expected = (
        "The speed of 1 of 12 runs was measured beside other work (the threads of a run together waited up "
        "to 1.42 seconds for a core in each second of training) and is too low: "
        f"{label_of(RATIOS[2])} seed 1."
    )
    assert [text for text in answered().caveats if "other work" in text] == ([expected] if said else [])
