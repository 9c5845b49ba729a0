"""Registered contrasts: tested in their order, the only claims of their study, shown wherever answers are."""

import shutil

import numpy as np
import polars as pl
import pytest
from synthetic import BASE, RATIOS, key_of, write_study

from workbench import stats
from workbench.answer import contrasts
from workbench.answer.evidence import gather
from workbench.answer.grouped import grouped
from workbench.answer.results import answer_of
from workbench.answer.study_record import load
from workbench.report import pictures, rows
from workbench.report.check import check
from workbench.report.latex import escape
from workbench.report.page import page
from workbench.report.write import write
from workbench.study.text_output import answer_text


def side(fits, **axes):
    return {"cells": [key_of(cell) for cell in RATIOS if fits(cell)], "axes": axes}


HIDDEN = {
    "text": "hiding video helps",
    "of": side(lambda cell: cell["video_ratio"] > 0, video_ratio=[0.5, 0.9]),
    "against": side(lambda cell: cell["video_ratio"] == 0, video_ratio=0.0),
}
WORDS = {
    "text": "hiding words costs",
    "of": side(lambda cell: cell["text_ratio"] == 0.25, text_ratio=0.25),
    "against": side(lambda cell: cell["text_ratio"] == 0, text_ratio=0.0),
}
MORE = {
    "text": "more video is better",
    "of": side(lambda cell: cell["video_ratio"] == 0.9, video_ratio=0.9),
    "against": side(lambda cell: cell["video_ratio"] == 0, video_ratio=0.0),
}


@pytest.fixture
def registered(results, answered):
    """The answer of `ratios` with these contrasts, in which hidden video adds 30 points and words nothing."""

    def made(*listed, **options):
        given = {"quality": lambda axes: 30 + 30 * (axes["video_ratio"] > 0), "baseline": BASE, "spread": 1.0}
        shutil.rmtree(results, ignore_errors=True)
        write_study(results, "ratios", RATIOS, **(given | options), contrasts=list(listed))
        return answered()

    return made


def test_the_order_decides_what_is_tested(registered):
    found = registered(HIDDEN, WORDS, MORE).contrasts
    assert [contrast.claimed for contrast in found] == [True, False, False]
    assert [contrast.comparison.outcome for contrast in found] == ["told apart", "open", "not tested"]
    assert found[2].result == "not tested, since “hiding words costs” is not significant"
    assert found[2].comparison.effect > 20  # it is there all the same, and nothing is claimed of it
    again = registered(HIDDEN, MORE, WORDS).contrasts
    assert [contrast.claimed for contrast in again] == [True, True, False]
    assert {c.comparison.claimed_interval.level for c in again[:2]} == {1 - 0.05 * 2 / 3}


def test_a_contrast_is_the_mean_of_its_cells_seed_by_seed_and_query_by_query(registered):
    found = registered(HIDDEN)
    values = found.evidence.values
    mean = {
        name: {
            seed: np.mean([values[key][seed] for key in HIDDEN[name]["cells"]], axis=0) for seed in range(3)
        }
        for name in ("of", "against")
    }
    expected = stats.compare(mean["of"], mean["against"])
    c = found.contrasts[0].comparison
    assert (c.effect, c.p) == pytest.approx((expected.effect, expected.p))
    assert (c.interval.low, c.clusters) == (pytest.approx(expected.interval.low), 500)


def test_nothing_else_is_claimed_in_a_study_with_contrasts(registered, results):
    found = registered(HIDDEN, WORDS, seeds=range(6))
    assert not any(found.standing(key) for key in found.asked.cells)
    assert all(c.p is not None and c.p_adjusted is None for c in found.comparisons.values())
    assert not any(effect.distinguishable for effect in found.effects.effects)
    text = page(found, [])
    assert not any(mark in text for mark in "↑↓")
    for said in (found.sentence, rows.legend(found), pictures.factors(found).caption, answer_text(found)):
        assert not any(word in said for word in ("matters", "Holm", "distinguishable"))
    assert "shown without claims" in rows.legend(found)
    assert rows.exact(found)["family"].null_count() == 6
    assert "without a test and without a claim" in said_in_compare(found)
    asked = load(results, "ratios")
    seen = answer_of(*grouped(asked, gather(asked, results), ("video_ratio",)))
    assert (seen.contrasts, seen.asked.registered) == ((), True)
    assert not any(seen.standing(key) for key in seen.asked.cells)


def said_in_compare(found):
    from workbench.answer import wording

    return wording.comparison(found.comparisons[key_of(RATIOS[2])])


def test_without_contrasts_the_same_runs_are_claimed_of_as_ever(registered):
    found = registered(seeds=range(6))
    assert (found.contrasts, found.standing(key_of(RATIOS[2]))) == ((), "better")


def test_the_order_is_in_the_page_the_terminal_and_the_files(registered, results):
    found = registered(HIDDEN, WORDS, MORE)
    folder = write(found, results)
    saved = pl.read_csv(folder / "contrasts.csv")
    assert saved["contrast"].to_list() == ["hiding video helps", "hiding words costs", "more video is better"]
    assert saved["p_adjusted"].null_count() == 1
    assert saved["level"].to_list() == pytest.approx([1 - 0.05 / 3, 0.95, 0.95])
    assert "hiding words costs" in (folder / "contrasts.tex").read_text()
    numbers = (folder / "numbers.tex").read_text()
    assert "\\newcommand{\\RatiosContrastOne}{hiding video helps}" in numbers
    difference, _, interval = saved_difference(found, 0).partition(" ")
    assert f"\\newcommand{{\\RatiosContrastOneDifference}}{{{difference}}}" in numbers
    assert escape(interval) in numbers
    assert "\\RatiosContrastThreeResult}{not tested, since \\textquotedblleft{}hiding words costs" in numbers
    assert "U+" not in numbers
    assert (folder / "contrasts.pdf").exists()
    for text in ((folder / "answer.md").read_text(), answer_text(found)):
        places = [text.index(contrast["text"]) for contrast in (HIDDEN, WORDS, MORE)]
        assert places == sorted(places)
        assert "significant: video" in text
    assert check(found, folder / "answer.md").differences == ()
    assert found.sentence.startswith(
        "Of 3 registered contrasts, tested in their order, 1 may be claimed: hiding video helps: +"
    )
    claimed, rest = found.sentence.split(" Not claimed: ")
    assert "hiding words costs" not in claimed
    assert "not significant with 3 seeds" in rest
    assert "more video is better: not tested, since" in rest
    write(registered(), results)
    assert not (folder / "contrasts.csv").exists()
    assert not (folder / "contrasts.pdf").exists()


def saved_difference(found, number):
    return contrasts.table(found.contrasts)["difference"][number]


def test_the_picture_of_contrasts_has_them_in_their_order_and_colours_what_may_be_claimed(registered):
    found = registered(HIDDEN, WORDS, MORE)
    shown = pictures.contrasts(found).moving
    assert list(shown.layout.yaxis.ticktext) == [c["text"] for c in (HIDDEN, WORDS, MORE)]
    assert {trace.name: len(trace.x) for trace in shown.data} == {"better, in fixed order": 1, "no claim": 2}
    assert [trace.name for trace in pictures.differences(found).moving.data] == ["not tested"]
    assert pictures.contrasts(registered()) is None


def test_what_is_not_tested_is_said_once_for_all_that_stand_behind(registered):
    again = MORE | {"text": "much more video is better"}
    found = registered(WORDS, MORE, again)
    assert found.sentence.startswith(
        "Of 3 registered contrasts, tested in their order, none may be claimed. "
    )
    assert (
        "; not tested, since “hiding words costs” is not significant: more video is better; "
        "much more video is better. " in found.sentence
    )
    claimed, rest = contrasts.by_claim(found.contrasts)
    assert (len(claimed), len(rest)) == (0, 2)


def test_of_a_single_contrast_no_order_is_said(registered):
    for one, may in ((HIDDEN, "may be claimed"), (WORDS, "may not be claimed")):
        found = registered(one)
        assert found.sentence.startswith(f"The registered contrast {may}: {one['text']}: ")
        assert "It is tested at 5 %" in found.contrasts_legend
        assert "order" not in found.sentence + found.contrasts_legend


def test_only_seeds_of_all_its_cells_are_used_and_the_others_are_named(registered):
    found = registered(WORDS, seeds=(0, 1, 2, 3), skip={(1, 3), (2, 0)})
    assert found.contrasts[0].comparison.seeds == (1, 2)
    assert (
        "The contrast “hiding words costs” leaves out seeds 0, 3, which not all of its cells have."
        in found.caveats
    )


def test_a_contrast_whose_runs_are_missing_stops_the_order(registered):
    found = registered(HIDDEN, WORDS, skip={(2, seed) for seed in range(3)}).contrasts
    assert found[0].comparison is None
    assert found[0].result == "cannot be compared yet: video_ratio=0.5 text_ratio=0.0: it has no complete run"
    assert found[1].after == "hiding video helps"
    assert contrasts.exact(found)["effect"].null_count() == 2
    lonely = registered(MORE, skip={(0, 0), (1, 0), (4, 1), (4, 2)}).contrasts[0]
    assert lonely.result == "cannot be compared yet: no seed is complete in all 4 of its cells"


def test_one_seed_tells_no_contrast(registered):
    found = registered(HIDDEN, WORDS, seeds=(0,))
    assert [contrast.claimed for contrast in found.contrasts] == [False, False]
    assert "none may be claimed. Not claimed: hiding video helps: +" in found.sentence
    assert "in the models of one seed" in found.sentence
