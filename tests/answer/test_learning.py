"""What a study says besides its comparisons: whether anything was learned, by how many of its runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import BASE, QUERIES, RATIOS, grid, key_of, label_of

from workbench.answer.evidence import gather
from workbench.answer.study_record import load
from workbench.answer.validity.learning import learned
from workbench.tracking.run_dir import RunDir

VAL = (1,) * QUERIES


@pytest.fixture
def found(results):
    """What is said of a study that was written."""

    def judge(name="ratios", val=VAL):
        asked = load(results, name)
        return learned(asked, replace(gather(asked, results), val_captions=val))

    return judge


@pytest.fixture
def rank(results):
    """Gives a run of `ratios` other ranks."""

    def write(cell, seed, ranks):
        run = RunDir.of(results, "ratios", key_of(RATIOS[cell]), seed)
        arrays = run.read_arrays("ranks.npz", "t2v_id", "t2v_group", "v2t_id")
        names = dict(zip(("t2v_id", "t2v_group", "v2t_id"), arrays, strict=True))
        np.savez(run.file("ranks.npz"), t2v_rank=ranks, v2t_rank=ranks, **names)
        r1 = 100 * float((ranks == 1).mean())
        path = run.file("summary.json")
        scores = {"test/t2v_r1": r1, "val/t2v_r1": r1}
        path.write_text(json.dumps(json.loads(path.read_text()) | scores))

    return write


def test_random_ranks_are_nothing_that_was_learned(ratios, rank, found):
    ratios(seeds=(0, 1))
    rng = np.random.default_rng(0)
    for cell in range(len(RATIOS)):
        for seed in (0, 1):
            rank(cell, seed, rng.integers(1, QUERIES + 1, QUERIES))
    said = found()
    assert not said.best.significant
    assert said.nothing.startswith(
        "Nothing was learned that is distinguishable from chance: the best of 6 cells"
    )
    assert "random ranks 0.2 %" in said.nothing
    assert "after Bonferroni over 6 cells; it would take 1.0 %" in said.nothing
    assert "12 of 12 runs collapsed" in said.caveats[0]


def test_what_was_learned_is_told_from_chance(ratios, found):
    ratios(seeds=(0, 1, 2))
    said = found()
    assert said.best.significant
    assert said.best.p_adjusted < 0.001
    assert said.nothing == "", "that something was learned goes without saying"


def test_captions_of_one_clip_are_one_thing_to_find(ratios, found):
    clips = [f"c{i // 20}" for i in range(QUERIES)]
    ratios(seeds=(0,), asked_of=([f"q{i}" for i in range(QUERIES)], clips))
    assert found().best.expected == pytest.approx(100 / 25)


def test_no_collapse_is_said_with_what_it_cannot_rule_out(ratios, found):
    ratios(seeds=(0, 1, 2))
    said = found()
    assert said.threshold == 1.0
    assert {one.runs for one in said.training.values()} == {3}
    expected = (
        "No run collapsed; 3 runs of a cell without a collapse cannot rule out that 63 % of its runs do."
    )
    assert said.caveats[0] == expected


def test_collapsed_runs_are_counted_and_named(ratios, rank, found):
    ratios(seeds=(0, 1, 2))
    rank(4, 1, np.full(QUERIES, 17))
    said = found()
    label = label_of(RATIOS[4])
    assert said.training[label].collapsed == (1,)
    assert "1 of 18 runs collapsed (val text-to-video R@1 not above 1.0 %" in said.caveats[0]
    for cell in range(5):
        rank(cell, 1, np.full(QUERIES, 17))
    assert "; and 1 more cell. " in found().caveats[0]
    assert f"{label}: 2 of 3 train, 9 to 99 %" in said.caveats[0]
    assert "A comparison of means says little of such cells." in said.caveats[0]


def test_no_run_is_called_collapsed_where_the_gallery_of_val_is_unknown(ratios, found):
    ratios(seeds=(0, 1))
    said = found(val=None)
    assert (said.training, said.threshold) == ({}, None)
    assert len(said.caveats) == 1


def test_selecting_is_judged_by_seeds_that_had_no_say(ratios, found):
    ratios(seeds=(0, 1, 2), spread=4.0, quality=lambda axes: 40)
    said = found()
    selected = said.selected[""]
    assert sum(selected.votes.values()) == 3
    assert selected.mean < selected.apparent
    assert (
        "On a seed that had no say, selecting by text-to-video R@1 on val with 2 seeds reaches"
        in said.caveats[1]
    )
    assert f"{selected.cell}, with {selected.apparent:.1f} % on test, is selected by all 3" in said.caveats[1]


def test_with_one_seed_nothing_is_held_out(ratios, found):
    ratios(seeds=(0,))
    said = found()
    assert said.selected[""].mean is None
    assert "one seed cannot tell how large a part" in said.caveats[1]
    assert "1 run of a cell without a collapse cannot rule out that 95 %" in said.caveats[0]


def test_each_stratum_selects_for_itself(ratios, found):
    cells = grid(unit=["pflops", "steps"], video_ratio=[0.0, 0.5])
    ratios(cells=cells, baseline=cells[0], within=["unit"])
    assert set(found().selected) == {"unit=pflops", "unit=steps"}


def test_other_metrics_than_ranks_have_no_chance_here(ratios, found):
    ratios(seeds=(0, 1), metric="stage0_t2v_r1")
    said = found()
    assert (said.best, said.threshold) == (None, None)
    ratios(seeds=(0, 1), metric="v2t_r1")
    said = found()
    assert (said.best, said.threshold) == (None, None)


def test_a_study_without_runs_says_nothing(ratios, found):
    ratios(seeds=(0,), skip={(i, 0) for i in range(len(RATIOS))}, baseline=BASE)
    assert (found().nothing, found().caveats) == ("", ())


def test_the_gallery_of_val_is_read_from_the_runs(ratios, results):
    ratios(seeds=(0, 1))
    asked = load(results, "ratios")

    def noted(text, seeds=(0, 1)):
        for seed in seeds:
            for cell in RATIOS:
                file = RunDir.of(results, "ratios", key_of(cell), seed).file("environment.json")
                file.write_text(json.dumps(json.loads(file.read_text()) | {"val_captions": text}))
        return gather(asked, results).val_captions

    assert gather(asked, results).val_captions is None, "runs of an earlier version do not tell"
    assert noted("1:3,20:2") == (1, 1, 1, 20, 20)
    assert noted("1:4", seeds=(1,)) is None, "runs that do not agree have no one gallery"
    assert noted("a:b") is None


@pytest.mark.parametrize("collapse", [None, 5.0])
def test_collapsed_runs_are_left_out_where_the_study_has_said_what_that_means(
    ratios, rank, answered, results, collapse
):
    ratios(seeds=(0, 1, 2), baseline=BASE, collapse=collapse)
    rank(4, 1, np.full(QUERIES, 17))
    found = answered()
    compared = found.comparisons[key_of(RATIOS[4])]
    assert compared.seeds == ((0, 1, 2) if collapse is None else (0, 2))
    left_out = any(
        "left out of what is tested, which is about the runs that train" in s for s in found.caveats
    )
    assert left_out == (collapse is not None)
    row = found.cells.filter(found.cells["key"] == key_of(RATIOS[4]))
    assert row["seeds"].item() == 3, "the table has all runs"


def test_a_cell_of_which_no_run_trains_is_not_compared(ratios, rank, answered):
    ratios(seeds=(0, 1), baseline=BASE, collapse=5.0)
    for seed in (0, 1):
        rank(4, seed, np.full(QUERIES, 17))
    found = answered()
    assert key_of(RATIOS[4]) not in found.comparisons
    assert len(found.comparisons) == len(RATIOS) - 2


def test_an_answer_on_random_ranks_says_so_first(ratios, rank, answered):
    ratios(seeds=(0,))
    rng = np.random.default_rng(0)
    for cell in range(len(RATIOS)):
        rank(cell, 0, rng.integers(1, QUERIES + 1, QUERIES))
    assert answered().sentence.startswith("Nothing was learned that is distinguishable from chance")


def test_why_a_cell_whose_runs_all_collapsed_is_not_compared_is_said(ratios, answered, change):
    contrast = {"text": "hiding helps"} | {
        side: {"cells": [key_of(axes)], "axes": axes} for side, axes in (("of", RATIOS[2]), ("against", BASE))
    }
    for lost in (RATIOS[2], BASE):
        for options in ({}, {"contrasts": [contrast]}):
            ratios(seeds=(0, 1), cells=RATIOS[:3], baseline=BASE, collapse=5.0, **options)
            for seed in (0, 1):
                change("ratios", key_of(lost), seed, "summary.json", {"val/t2v_r1": 1.0})
                change("ratios", key_of(RATIOS[1]), seed, "summary.json", {"val/t2v_r1": 0.5})
            found = answered()
            said = " ".join([found.sentence, *found.caveats])
            assert "all its runs collapsed" in said
            for false in ("no complete run", "no baseline to compare with yet"):
                assert false not in said
