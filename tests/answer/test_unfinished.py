"""What is said, and what is not, while some cells or all have one seed; and what seeds were left out."""

import math
import shutil

import polars as pl
import pytest
from synthetic import BASE, RATIOS, grid, key_of, write_study

from workbench import stats, tables
from workbench.answer.caveats import ALONE
from workbench.report import pictures, rows
from workbench.report.page import page

LATER = {(cell, seed) for cell in (3, 4, 5) for seed in (1, 2)}
"""Seeds of the last three cells that are still to come: seed is outermost."""


def test_a_page_of_one_seed_speaks_of_no_test(ratios, answered):
    ratios(seeds=(0,))
    found = answered()
    text = page(found, [])
    assert "Holm" not in text.partition("## Every cell")[2]
    assert "seeds and queries" not in text
    assert "one seed: no interval and no test. The seed that all cells share is 0." in text
    assert "distinguishable" not in text
    assert ALONE not in text
    assert "with 95 % intervals over queries, which say nothing about other seeds." in rows.legend(found)
    assert "no interval and no test" in pictures.factors(found).caption


def test_seeds_that_all_gave_the_same_answers_are_not_called_one_seed(ratios, answered):
    results = ratios(seeds=(0, 1))
    for axes in RATIOS:
        folder = results / "runs/ratios"
        shutil.copy(folder / f"{key_of(axes)}-s0/ranks.npz", folder / f"{key_of(axes)}-s1/ranks.npz")
    text = page(answered(), [])
    assert "all seeds gave identical answers, so they count as one: no interval and no test" in text


def test_cells_of_one_seed_beside_others_are_marked_row_by_row(ratios, answered):
    ratios(seeds=(0, 1, 2), skip=LATER)
    found = answered()
    marked = [ALONE in text for text in rows.readable(found)[rows.DIFFERENCE]]
    assert marked == [False, False, False, True, True, True]
    assert "(† over queries alone: one seed" in rows.legend(found)
    assert rows.exact(found)["effect_interval"].to_list() == ["", *["seeds+queries"] * 2, *["queries"] * 3]
    picture = pictures.differences(found)
    assert "over seeds and queries (none where there is one seed)" in picture.caption
    bars = {}
    for trace in picture.moving.data:
        bars |= dict(zip(trace.text, trace.error_x.array, strict=True))
    assert [bars[found.asked.labels[key_of(axes)]] > 0 for axes in RATIOS[1:]] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_finished_study_marks_none(ratios, answered):
    ratios(seeds=(0, 1, 2))
    found = answered()
    assert ALONE not in tables.to_text(rows.readable(found)) + rows.legend(found)
    caption = pictures.differences(found).caption
    level = next(c.claimed_interval.level for c in found.comparisons.values() if c.winner)
    assert caption.endswith(f"with 95 % intervals (of claims {100 * level:.3g} %) over seeds and queries.")


def test_the_first_comparison_does_not_speak_for_the_others(ratios, answered):
    ratios(seeds=(0, 1, 2), skip={(cell, seed) for cell in (1, 2, 3) for seed in (1, 2)})
    assert "over seeds and queries (none" in pictures.differences(answered()).caption


def test_one_number_a_run_has_intervals_over_seeds_only(ratios, answered, change):
    ratios(seeds=(0, 1, 2), metric="t2v_medr", direction="minimize")
    for i, axes in enumerate(RATIOS):
        for seed in range(3):
            values = {"test/t2v_medr": 500.0 - 60 * i + seed**2 * (i + 1), "val/t2v_medr": 10.0 - i}
            change("ratios", key_of(axes), seed, "summary.json", values)
    found = answered()
    assert "over seeds; p after Holm over 12 tests" in rows.legend(found)
    assert "points" not in found.sentence
    assert "in text-to-video median rank" in found.sentence
    assert not any("no difference between" in caveat for caveat in found.caveats)
    effects = "Mean of the cells with this choice minus the mean of all cells"
    assert f"{effects}, in text-to-video median rank" in page(found, [])


def test_the_family_is_the_planned_one_from_the_first_comparison_on(ratios, answered):
    ratios(seeds=(0, 1, 2), skip={(cell, seed) for cell in (1, 3, 4, 5) for seed in (1, 2)})
    early = answered()
    assert {c.family for c in early.comparisons.values()} == {stats.Family(comparisons=5, effects=7)}
    ratios(seeds=(0, 1, 2))
    late = answered()
    key = key_of(RATIOS[2])
    assert late.comparisons[key].p_adjusted <= early.comparisons[key].p_adjusted
    assert "p after Holm over 12 tests (5 comparisons, 7 effects)" in rows.legend(early)


def test_seeds_that_not_every_cell_has_are_named_beside_the_effects(ratios, answered):
    ratios(seeds=(0, 1, 2), skip={(3, 2)})
    found = answered()
    text = (
        "The seeds that all cells share are 0, 1; left out were 5 runs of seed 2, which not every cell has."
    )
    assert text in page(found, [])
    assert text in pictures.factors(found).caption


def test_the_sentence_says_which_axis_matters(ratios, answered):
    ratios()
    said = answered().sentence
    assert "On average over the other choices, video mask ratio matters: 0 by -1" in said
    assert "no main effect of text mask ratio is distinguishable (in points of R@1" in said
    assert "No interaction of two axes is distinguishable." in said


def test_the_sentence_says_which_axes_act_together_and_that_none_matters(results, answered):
    cells = grid(strategy=["tube", "frame"], ratio=[0.5, 0.9])
    write_study(
        results, "crossed", cells, range(6), baseline=cells[0], spread=0.5,
        quality=lambda axes: 60 if (axes["strategy"] == "tube") == (axes["ratio"] == 0.5) else 20,
    )  # fmt: skip
    said = answered("crossed").sentence
    assert "no main effect of strategy or ratio is distinguishable. Beyond that, together: " in said
    assert "strategy=tube with ratio=0.5 by +" in said


def test_all_that_is_computed_of_a_difference_is_in_the_exact_table(ratios, answered):
    ratios()
    found = answered()
    key = key_of(RATIOS[2])
    row = rows.exact(found).row(by_predicate=pl.col("key") == key, named=True)
    c = found.comparisons[key]
    shown = (
        ("effect", c.claimed_interval),
        ("seeds", c.over_seeds),
        ("queries", c.over_queries),
        ("bootstrap", c.bootstrap),
    )
    for name, interval in shown:
        assert (row[f"{name}_low"], row[f"{name}_high"]) == (interval.low, interval.high)
    assert (row["p"], row["p_seeds"], row["p_queries"]) == (c.p, c.p_seeds, c.p_queries)
    assert row["p_seeds"] == pytest.approx(2 / 64)
    assert row["family"] == 12
    assert row["effect_level"] == c.claimed_interval.level != 0.95
    means = [float(v.mean()) for v in found.evidence.values[key].values()]
    assert math.isclose(row["iqm"], stats.iqm(means))
    base = rows.exact(found).row(by_predicate=pl.col("key") == key_of(BASE), named=True)
    assert base["iqm"] is not None
    assert base["p_seeds"] is None
