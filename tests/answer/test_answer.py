"""The answer rests on what is complete and comparable, and says what is not."""

import json
import math

import numpy as np
import pytest
from synthetic import BASE, RATIOS, grid, key_of, write_run, write_study

from workbench import stats, tasks
from workbench.answer.verdicts import DOES_NOT, HOLDS, OPEN

BEST = key_of(RATIOS[2])


def run_dir(results, axes, seed, study="ratios"):
    return results / "runs" / study / f"{key_of(axes)}-s{seed}"


def test_cells_come_in_the_order_of_the_plan_with_the_metric_of_test(ratios, answered):
    ratios()
    found = answered()
    assert found.cells["key"].to_list() == [key_of(axes) for axes in RATIOS]
    summaries = [json.loads((run_dir(ratios(), BASE, s) / "summary.json").read_text()) for s in range(6)]
    mean = np.mean([summary["test/t2v_r1"] for summary in summaries])
    assert math.isclose(found.cells["test/t2v_r1"][0], mean)


def test_cells_are_said_in_the_words_that_the_study_has_now(ratios, answered):
    file = ratios() / "runs/ratios/study.json"
    file.write_text(file.read_text().replace('"cell": "video_ratio=', '"cell": "hidden='))
    found = answered()
    assert found.cells["cell"].to_list() == list(found.asked.labels.values())
    assert all(name.startswith("hidden=") for name in found.cells["cell"])


def test_a_clear_difference_is_claimed_and_a_small_one_is_not(ratios, answered):
    ratios()
    found = answered()
    assert {key: found.standing(key_of(axes)) for key, axes in enumerate(RATIOS)} == {
        0: "", 1: "", 2: "better", 3: "better", 4: "better", 5: "better",
    }  # fmt: skip
    assert "beats video_ratio=0.0 text_ratio=0.0 by" in found.sentence
    # Of 3 x 2 cells: video_ratio has 3 tests, text_ratio 1, their interaction 3.
    assert "holds after Holm over 12 tests (5 comparisons, 7 effects)" in found.sentence
    assert found.family == stats.Family(comparisons=5, effects=7)


def test_the_comparison_is_the_one_of_the_statistics_on_the_ranks(ratios, answered):
    results = ratios()
    mine = {}
    for axes in (BASE, RATIOS[2]):
        ranks = [np.load(run_dir(results, axes, seed) / "ranks.npz")["t2v_rank"] for seed in range(6)]
        hits = tasks.metric("t2v_r1").queries.contributions
        mine[key_of(axes)] = {seed: hits(r) for seed, r in enumerate(ranks)}
    expected = stats.compare(mine[key_of(RATIOS[2])], mine[key_of(BASE)])
    found = answered().comparisons[key_of(RATIOS[2])]
    assert math.isclose(found.effect, expected.effect)
    assert math.isclose(found.p, expected.p)
    assert math.isclose(found.interval.low, expected.interval.low)


def test_selection_is_by_val_not_by_test(ratios, answered, change):
    ratios()
    for seed in range(6):
        change("ratios", key_of(RATIOS[1]), seed, "summary.json", {"val/t2v_r1": 99.0})
    found = answered()
    assert found.best == key_of(RATIOS[1])
    assert found.notes == {key_of(RATIOS[1]): "selected", key_of(BASE): "baseline"}


def test_the_best_may_be_the_baseline(ratios, answered):
    ratios(quality=lambda axes: 60 - 30 * (axes["video_ratio"] > 0))
    found = answered()
    assert "it is the baseline: no other cell does better on val. " in found.sentence
    assert "do not differ significantly with 6 seeds" in found.sentence  # with the next best, text_ratio=0.25
    assert any("clips" in caveat for caveat in found.caveats)
    assert found.notes == {key_of(BASE): "selected, baseline"}
    assert found.standing(BEST) == "worse"


def test_one_seed_claims_nothing(ratios, answered):
    ratios(seeds=(0,))
    found = answered()
    assert "in these models (95 % interval" in found.sentence
    assert found.sentence.endswith("over queries); `--seeds 3` tells whether that is luck.")
    assert not any(found.standing(key_of(axes)) for axes in RATIOS)
    assert any("the variation between seeds cannot be estimated" in caveat for caveat in found.caveats)
    assert found.cells["low"].null_count() == 0  # over queries


def test_missing_and_failed_runs_are_named_with_their_reason(ratios, answered):
    ratios(skip={(1, 0)}, failed={(2, 3)})
    text = " ".join(answered().caveats)
    assert "1 of 36 runs failed" in text
    assert "video_ratio=0.5 text_ratio=0.0 seed 3 (the loss vtc is not finite at step 5)" in text
    assert "1 of 36 runs are not done yet: video_ratio=0.0 text_ratio=0.25 seed 0" in text


def test_an_unreadable_run_counts_as_failed(ratios, answered):
    results = ratios()
    (run_dir(results, BASE, 2) / "summary.json").write_text("{")
    found = answered()
    assert found.cells["seeds"][0] == 5
    assert any("summary.json is not readable" in caveat for caveat in found.caveats)


def test_without_the_baseline_the_table_stands_alone(ratios, answered):
    ratios(skip={(0, seed) for seed in range(6)})
    found = answered()
    assert found.comparisons == {}
    assert "there is no baseline to compare with yet" in found.sentence
    ratios(baseline=None)
    assert answered().comparisons.keys() == set()


def test_cells_without_a_common_seed_are_not_compared_but_the_others_are(ratios, answered):
    ratios(skip={(0, 0), (0, 1), (0, 2), (4, 3), (4, 4), (4, 5)})
    found = answered()
    assert found.refused == {
        key_of(RATIOS[4]): "shares no seed with the baseline, so the two cannot be paired"
    }
    assert len(found.comparisons) == 4
    assert any("is not compared: shares no seed" in caveat for caveat in found.caveats)


def test_a_run_that_answered_other_queries_takes_its_cell_out(ratios, answered):
    results = ratios()
    path = run_dir(results, RATIOS[3], 1) / "ranks.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"t2v_id": arrays["t2v_id"][::-1]})
    found = answered()
    assert list(found.refused) == [key_of(RATIOS[3])]
    assert "seed 1 answered other queries" in found.refused[key_of(RATIOS[3])]
    assert found.cells.height == 6  # it stays in the table


def test_a_run_without_ranks_takes_its_cell_out(ratios, answered):
    results = ratios()
    (run_dir(results, RATIOS[3], 1) / "ranks.npz").unlink()
    (run_dir(results, RATIOS[4], 0) / "ranks.npz").write_bytes(b"PK torn")
    found = answered()
    assert found.refused == {
        key_of(RATIOS[3]): "ranks.npz of seed 1 is missing or damaged",
        key_of(RATIOS[4]): "ranks.npz of seed 0 is missing or damaged",
    }


def test_a_metric_that_is_no_mean_of_queries_is_compared_over_seeds(ratios, answered, change):
    results = ratios(metric="t2v_medr", direction="minimize")
    for i, axes in enumerate(RATIOS):
        for seed in range(6):
            values = {"test/t2v_medr": 10.0 - i + 0.1 * seed**2, "val/t2v_medr": 10.0 - i}
            change("ratios", key_of(axes), seed, "summary.json", values)
    found = answered()
    assert found.evidence.groups is None
    assert found.best == key_of(RATIOS[5])
    assert found.comparisons[key_of(RATIOS[5])].clusters == 1
    assert results.exists()


def test_a_full_grid_has_effects_and_a_grid_with_holes_those_of_cells_that_share_levels(ratios, answered):
    ratios()
    effects = answered().effects.effects
    video = {e.levels[0]: e.effect for e in effects if e.factors == ("video_ratio",)}
    assert video[0.0] == pytest.approx(-20, abs=3)
    assert sum(video.values()) == pytest.approx(0, abs=1e-9)
    ratios(cells=RATIOS[:-1])
    found = answered().effects
    assert found.over == {"video_ratio": (3, 5), "text_ratio": (4, 5)}
    assert (found.family, found.of_two_axes) == (None, ())


def test_runs_of_other_plans_are_counted_not_used(ratios, answered):
    results = ratios()
    cell = {"key": "0" * 12, "cell": "video_ratio=0.5 text_ratio=0.0", "axes": RATIOS[2]}
    write_run(results, "ratios", cell, 0, 99.0, 1.0)
    found = answered()
    assert found.cells.height == 6
    assert any("1 complete run of this study belongs to other plans" in caveat for caveat in found.caveats)


def test_unequal_budgets_and_machines_are_said(ratios, answered, change):
    ratios()
    stage = {"budget": {"unit": "pflops", "amount": 0.03}}
    for seed in range(6):
        change("ratios", BEST, seed, "config.json", {"stages": [stage]})
    change("ratios", BEST, 0, "environment.json", {"hostname": "two"})
    text = " ".join(answered().caveats)
    assert "Unequal budgets" in text
    assert "runs differ in hostname" in text


def test_stages_of_one_unit_count_as_one_budget(ratios, answered, change):
    ratios()
    stages = [
        {"budget": {"unit": "pflops", "amount": 0.0135}},
        {"budget": {"unit": "pflops", "amount": 0.0015}},
    ]
    for seed in range(6):
        change("ratios", BEST, seed, "config.json", {"stages": stages})
    assert "Unequal budgets" not in " ".join(answered().caveats)


def test_an_arm_that_differs_in_two_axes_is_called_confounded(ratios, answered, change):
    ratios()
    for seed in range(6):
        change("ratios", key_of(RATIOS[3]), seed, "summary.json", {"val/t2v_r1": 99.0})
    found = answered().caveats
    assert any("differs from the baseline in 2 axes (text_ratio, video_ratio)" in caveat for caveat in found)
    several = "2 of 5 compared cells differ from the baseline in two or more axes"
    assert any(several in caveat for caveat in found)


def test_an_axis_that_changes_many_settings_is_called_confounded(results, answered, change):
    cells = grid(arm=["a", "b"])
    for name in ("arms", "same"):
        write_study(results, name, cells, (0, 1), baseline=cells[0])
    assert not any("settings" in caveat for caveat in answered("same").caveats)
    masking = {"type": "masking.video.BlockMasking", "ratio": 0.5}
    for seed in (0, 1):  # all but the seed is the same in all runs of a cell, so the first one is looked at
        old = {"text": {"depth": 1}, "video": {"width": 32, "masking": None}}
        recipe = {"text": {"depth": 2, "random": False}, "video": {"width": 64, "masking": masking}}
        change("arms", key_of(cells[0]), seed, "config.json", {"recipe": old, "seed": seed})
        change("arms", key_of(cells[1]), seed, "config.json", {"recipe": recipe, "seed": seed})
    names = "recipe.text.depth, recipe.video.masking.ratio, recipe.video.masking.type, recipe.video.width"
    said = f"arm=b differs from the baseline in 4 settings ({names})"
    assert any(said in caveat for caveat in answered("arms").caveats), "the baseline is older than `random`"


def test_runs_of_another_commit_or_torch_are_named(ratios, answered, change):
    ratios()
    assert not any("versions of the code" in caveat for caveat in answered().caveats)
    change("ratios", BEST, 0, "environment.json", {"dirty": True})
    change("ratios", BEST, 1, "environment.json", {"torch": "2.9.0"})
    text = " ".join(answered().caveats)
    assert "commit cccccccccc with changes, torch 2.8.0 (1 run)" in text
    assert "commit cccccccccc, torch 2.9.0 (1 run)" in text
    assert "torch 2.8.0 (34 runs)" in text


def test_cells_with_fewer_seeds_are_named(ratios, answered):
    ratios(skip={(1, 5)} | {(2, seed) for seed in range(6)})
    text = " ".join(answered().caveats)
    assert (
        "most cells have 0, 1, 2, 3, 4, 5, but not video_ratio=0.0 text_ratio=0.25 (0, 1, 2, 3, 4);" in text
    )


CLAIM = {"text": "c", "arm": {"masking": "mac"}, "paper": "60 %"}
SAVED = CLAIM | {"metric": "cost/video_gflops_per_clip", "figure": "saved", "at_least": 60.0}
FASTER = CLAIM | {"metric": "speed/clips_per_s", "figure": "times", "at_least": 1.5}
NOT_LOWER = CLAIM | {"metric": "t2v_r1", "figure": "difference", "at_least": -2.0}
HIGHER = NOT_LOWER | {"at_least": 0.0}


def verdicts(results, answered, claim, share=0.36, gain=30.0, seeds=(0, 1, 2, 3), **options):
    write_study(
        results, "claims", grid(masking=["none", "mac"]), seeds, baseline={"masking": "none"}, spread=1.0,
        quality=lambda axes: 30 + gain * (axes["masking"] == "mac"),
        cost=lambda axes: share if axes["masking"] == "mac" else 1.0, claims=[claim], **options,
    )  # fmt: skip
    (found,) = answered("claims").verdicts
    return found


@pytest.mark.parametrize(
    ("claim", "options", "expected", "measured"),
    [
        (SAVED, {"share": 0.36}, HOLDS, "64.0 %"),
        (SAVED, {"share": 0.41}, DOES_NOT, "59.0 %"),
        (SAVED, {"share": 0.36, "seeds": (0,)}, HOLDS, "64.0 %"),  # counted: one seed is enough
        (FASTER, {"share": 0.36}, HOLDS, "1.84x"),
        (FASTER, {"share": 0.9}, DOES_NOT, "1.08x"),
        (FASTER, {"share": 0.36, "seeds": (0,)}, OPEN, "1.84x"),
        (NOT_LOWER, {"gain": 30.0}, HOLDS, "+"),
        (NOT_LOWER, {"gain": -20.0}, DOES_NOT, "-"),
        (NOT_LOWER, {"gain": 0.0}, OPEN, ""),
        (NOT_LOWER, {"gain": 30.0, "seeds": (0,)}, OPEN, "+"),
        # Equal to within a few points: not lower by a wide margin, and not shown to be higher.
        (NOT_LOWER | {"at_least": -12.0}, {"gain": 0.0}, HOLDS, ""),
        (HIGHER, {"gain": 0.0}, OPEN, ""),
        (SAVED | {"arm": {"masking": "other"}}, {}, OPEN, "–"),
        (SAVED | {"metric": "cost/unknown"}, {}, OPEN, "–"),
        (SAVED, {"skip": {(0, s) for s in range(4)}}, OPEN, "–"),
    ],
)
def test_verdicts_follow_the_rule(results, answered, claim, options, expected, measured):
    found = verdicts(results, answered, claim, **options)
    assert found.verdict == expected
    assert found.measured.startswith(measured)
    assert bool(found.reason) == (expected == OPEN)
    assert found.rule in found.line
    assert found.verdict in found.line
    assert found.reason in found.line


def verdict_on(results, answered, change, claim, values, metric="t2v_medr"):
    """The verdict when the runs of the baseline and of the arm have these values of a metric."""
    seeds = range(len(values[0]))
    write_study(
        results, "claims", grid(masking=["none", "mac"]), seeds, baseline={"masking": "none"}, claims=[claim],
        metric=metric,
    )  # fmt: skip
    for arm, found in zip(("none", "mac"), values, strict=True):
        for seed, value in enumerate(found):
            summary = {f"test/{metric}": value, "speed/clips_per_s": value}
            change("claims", key_of({"masking": arm}), seed, "summary.json", summary)
    (found,) = answered("claims").verdicts
    return found


MEDIAN = CLAIM | {"metric": "t2v_medr", "figure": "difference", "at_least": 1.0}


@pytest.mark.parametrize("metric", ["t2v_medr", "test/t2v_medr", "speed/clips_per_s"])  # the last by itself
@pytest.mark.parametrize(
    ("base", "arm", "verdict", "reason"),
    [
        ((5.0, 6.0, 7.0), (7.0, 8.0, 9.0), OPEN, "the figure is the same for every seed"),
        ((5.0, 5.0, 5.0), (7.0, 7.0, 7.0), OPEN, "all seeds gave identical answers"),
        ((5.0,), (7.0,), OPEN, "one seed says nothing"),
        ((5.0, 6.0, 7.0), (7.0, 8.1, 8.9), HOLDS, ""),
        ((5.0, 6.0, 7.0), (5.0, 6.0, 7.0), DOES_NOT, ""),
    ],
)
def test_a_difference_without_any_spread_is_judged_as_a_comparison_is(
    results, answered, change, base, arm, verdict, reason, metric
):
    found = verdict_on(results, answered, change, MEDIAN | {"metric": metric}, (base, arm))
    assert (found.verdict, found.reason[: len(reason)]) == (verdict, reason)
    assert bool(found.reason) == bool(reason)


def test_a_ratio_without_any_spread_is_open_too(results, answered, change):
    values = ((100.0, 200.0, 300.0), (300.0, 600.0, 900.0))
    found = verdict_on(results, answered, change, FASTER, values)
    assert (found.verdict, found.measured) == (OPEN, "3.00x")
    assert "the same for every seed" in found.reason


MORE_IN_FIVE = CLAIM | {"metric": "t2v_r5", "figure": "difference", "at_least": 5.0}


@pytest.fixture
def in_five(results, change):
    """Writes a study with a claim whose metric has, in each run, the value that its ranks give."""

    def written(claim, seeds=range(3), metric="test/t2v_r5", **options):
        write_study(results, "claims", grid(masking=["none", "mac"]), seeds, baseline={"masking": "none"},
                    quality=lambda axes: 30 + 8 * (axes["masking"] == "mac"), claims=[claim],
                    **options)  # fmt: skip
        values = {}
        for masking in ("mac", "none"):
            key = key_of({"masking": masking})
            for seed in seeds:
                with np.load(results / "runs/claims" / f"{key}-s{seed}" / "ranks.npz") as ranks:
                    values.setdefault(masking, {})[seed] = np.where(ranks["t2v_rank"] <= 5, 100.0, 0.0)
                value = float(values[masking][seed].mean())
                change("claims", key, seed, "summary.json", {metric: value})
        return values

    return written


@pytest.mark.parametrize("metric", ["t2v_r5", "test/t2v_r5"])
def test_a_verdict_on_another_metric_over_queries_has_an_interval_over_queries_too(answered, in_five, metric):
    clips = [f"c{i // 10}" for i in range(500)]
    asked_of = [f"q{i}" for i in range(500)], clips
    values = in_five(MORE_IN_FIVE | {"metric": metric}, asked_of=asked_of)
    found = answered("claims")
    expected = stats.compare(values["mac"], values["none"], groups=clips).interval_at(found.verdict_level)
    assert expected.kind == "seeds+queries"
    (verdict,) = found.verdicts
    assert verdict.measured.endswith(f" ({expected.low:+.1f} to {expected.high:+.1f})")


def test_a_verdict_over_queries_takes_the_same_queries_in_every_run(results, answered, in_five):
    in_five(MORE_IN_FIVE)
    run = results / "runs/claims" / f"{key_of({'masking': 'mac'})}-s1"
    with np.load(run / "ranks.npz") as ranks:
        other = dict(ranks) | {"t2v_id": np.array([f"other {i}" for i in range(500)])}
    np.savez(run / "ranks.npz", **other)
    (found,) = answered("claims").verdicts
    assert (found.verdict, found.reason) == (
        OPEN,
        "the runs of the arm and the baseline answered other queries",
    )
    (run / "ranks.npz").unlink()
    (found,) = answered("claims").verdicts
    assert (found.verdict, found.reason) == (OPEN, "ranks.npz of seed 1 is missing or damaged")


@pytest.mark.parametrize(
    ("metric", "figure"), [("t2v_r5", "times"), ("t2v_r5", "saved"), ("still_t2v_r1", "difference")]
)
def test_what_cannot_have_an_interval_over_queries_is_open(answered, in_five, metric, figure):
    in_five(MORE_IN_FIVE | {"metric": metric, "figure": figure}, metric=f"test/{metric}")
    (found,) = answered("claims").verdicts
    assert (found.verdict, found.reason) == (OPEN, "its interval would be over seeds alone, not over queries")
    assert "(" not in found.measured
