"""A study whose comparisons are separated by some axes: each place has a baseline, an answer, one family."""

import pytest
from synthetic import grid, key_of, write_study

from workbench import stats
from workbench.answer.evidence import gather
from workbench.answer.grouped import grouped
from workbench.answer.study_record import load
from workbench.report import latex, pictures, rows

CELLS = grid(unit=["pflops", "steps"], times=[1, 2], ratio=[0.0, 0.5, 0.9])
BASES = [axes for axes in CELLS if axes["ratio"] == 0.0]


def changing(axes):
    """The best ratio is 0.5 at once and 0.9 twice the budget; `steps` is better throughout."""
    gain = {0.0: 0, 0.5: 20 if axes["times"] == 1 else 8, 0.9: 10 if axes["times"] == 1 else 24}
    return 30 + gain[axes["ratio"]] + 10 * (axes["unit"] == "steps")


@pytest.fixture
def budgets(results):
    def write(quality=changing, seeds=range(5), **options):
        given = {"baseline": CELLS[0], "within": ["unit", "times"], "spread": 1.0}
        write_study(results, "budgets", CELLS, seeds, quality=quality, **(given | options))
        return results

    return write


def test_each_cell_is_compared_with_the_baseline_of_its_place_in_one_family(budgets, answered):
    budgets()
    found = answered("budgets")
    assert found.asked.bases == tuple(map(key_of, BASES))
    assert set(found.comparisons) == {key_of(axes) for axes in CELLS} - set(found.asked.bases)
    for axes in CELLS:
        if (c := found.comparisons.get(key_of(axes))) is not None:
            base = key_of(axes | {"ratio": 0.0})
            runs = found.evidence.values
            assert c.b == found.asked.labels[base]
            assert c.effect == pytest.approx(stats.compare(runs[key_of(axes)], runs[base]).effect)
    # Effects of ratio alone (3), and with each of the others (2 x 3); places alone are not asked for.
    assert {c.family for c in found.comparisons.values()} == {stats.Family(comparisons=8, effects=9)}
    one_each = [e for e in found.effects.effects if e.levels[:-1] in ((), ("pflops",), (1,))]
    assert len(one_each) == 9
    tests = [*found.comparisons.values(), *one_each]
    assert [t.p_adjusted for t in tests] == pytest.approx(stats.holm([t.p for t in tests]))


def test_the_answer_names_the_best_choice_of_each_place_and_that_it_changes(budgets, answered):
    budgets()
    found = answered("budgets")
    assert "unit=pflops times=1: ratio=0.5 4" in found.sentence
    assert "unit=steps times=2: ratio=0.9 6" in found.sentence
    assert (
        "differs between them (ratio=0.5 in 2, ratio=0.9 in 2), which by itself is no claim" in found.sentence
    )
    assert found.sentence.count("beats it by") == 4
    assert "times=1 with ratio=0.9 by -" in found.sentence  # that it changes is an interaction
    assert "unit matters" not in found.sentence
    best = [{"times": 1, "ratio": 0.5}, {"times": 2, "ratio": 0.9}]
    assert found.selected == tuple(key_of(axes) for axes in CELLS if {k: axes[k] for k in best[0]} in best)
    assert latex.table(found, ()).count(r"\textbf{") == 4
    assert list(found.notes.values()).count("baseline") == 4


def test_the_best_may_be_the_same_everywhere_and_be_the_baseline(budgets, answered):
    budgets(lambda axes: 60 - 30 * axes["ratio"])
    said = answered("budgets").sentence
    assert "The choice by val is the same in all 4 that have runs." in said
    assert said.count("(the baseline)") == 4


def test_budgets_may_differ_between_places_but_not_within_one(budgets, answered, change):
    budgets(seeds=(0,))
    for axes in CELLS:
        stage = {"budget": {"unit": axes["unit"], "amount": axes["times"]}}
        change("budgets", key_of(axes), 0, "config.json", {"stages": [stage]})
    caveats = answered("budgets").caveats
    assert not any("Unequal budgets" in caveat for caveat in caveats)
    assert (
        "Cells are compared only with those of the same unit and times; no other comparison is meant."
        in caveats
    )


def test_an_unequal_budget_within_a_place_is_said(budgets, answered, change):
    budgets(seeds=(0,))
    change(
        "budgets", key_of(CELLS[1]), 0, "config.json", {"stages": [{"budget": {"unit": "x", "amount": 9}}]}
    )
    assert sum("Unequal budgets" in caveat for caveat in answered("budgets").caveats) == 1


def test_tables_and_pictures_say_what_differences_are_to(budgets, answered):
    budgets(seeds=(0, 1))
    found = answered("budgets")
    assert "Differences are to ratio=0.0 of the same unit and times, with" in rows.legend(found)
    assert pictures.differences(found).caption.startswith(
        "Difference to ratio=0.0 of the same unit and times"
    )


def test_a_place_without_its_baseline_is_not_compared_yet_and_the_family_stays(budgets, answered):
    budgets(skip={(0, seed) for seed in range(5)})
    found = answered("budgets")
    assert len(found.comparisons) == 6
    assert {c.family.comparisons for c in found.comparisons.values()} == {8}
    assert "unit=pflops times=1: ratio=0.5 4" in found.sentence
    assert "(not compared yet)" in found.sentence


def test_groups_keep_only_the_axes_that_are_left(budgets):
    results = budgets(seeds=(0, 1))
    asked = load(results, "budgets")
    found, _ = grouped(asked, gather(asked, results), ("times", "ratio"))
    assert found.within == ("times",)
    assert len(found.bases) == 2
