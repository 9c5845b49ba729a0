"""Looks at claims: planned ones may claim with their share of the 5 %, others say how many there were."""

import json
import threading

import pytest
from synthetic import BASE, RATIOS, key_of

from workbench.answer.evidence import gather, looks_file
from workbench.answer.study_record import load
from workbench.answer.validity import looks
from workbench.errors import UserError
from workbench.stats.looks import Look
from workbench.tracking.files import LOOKS_LOCK, wait_for_lock

LOOKS = {"6": 0.02, "8": 0.03}
SIX = (0, 1, 2, 3, 4, 5)


@pytest.fixture
def look(ratios, results, answered):
    """The answer with so many seeds, noted as a look like the command does."""

    def taken(seeds, **options):
        ratios(seeds=seeds, **options)
        found = answered()
        asked = load(results, "ratios")
        looks.note(asked, found.evidence, results)
        return found

    return taken


def claims(found):
    return sum(c.winner is not None for c in found.comparisons.values())


def said(found):
    return [text for text in found.caveats if "look" in text]


def test_a_planned_look_claims_with_its_share(look):
    found = look(SIX, looks=LOOKS)
    assert claims(found) > 0
    assert found.family.alpha == 0.02
    assert all(c.winner is None or c.p_adjusted < 0.02 for c in found.comparisons.values())
    assert said(found) == ["This look with 6 seeds may err by 2 % (planned: 6, 8)."]
    assert look((*SIX, 6, 7), looks=LOOKS).family.alpha == 0.03


def test_a_look_that_was_not_planned_claims_nothing(look):
    assert claims(look(SIX, looks=LOOKS)) > 0
    found = look((*SIX, 6), looks=LOOKS)
    assert claims(found) == 0
    assert not [e for e in found.effects.effects if e.distinguishable]
    assert said(found) == [
        "Nothing is claimed: claims are looked for with 6, 8 seeds that every cell has, once each."
    ]
    assert claims(look((0, 1, 2, 3, 4, 7, 8, 9), looks=LOOKS)) == 0, (
        "seeds 5 and 6, which were seen, are left out"
    )


def test_the_same_look_again_is_the_same_look(look, results):
    first = look(SIX, looks=LOOKS)
    again = look(SIX, looks=LOOKS)
    assert claims(again) == claims(first)
    assert len(json.loads(looks_file(results, "ratios").read_text())) == 1


def test_adding_seeds_without_a_plan_is_said_and_what_it_costs(look):
    assert said(look((0, 1, 2))) == []
    assert said(look((0, 1, 2))) == []
    found = look((0, 1, 2, 3))
    assert said(found) == [
        "Claims were looked for 2 times, with 3, 4 seeds, without a plan of looks: at 5 % each, something "
        "false is claimed in up to 10 % of such studies."
    ]
    assert claims(found) > 0, "it is said, not forbidden"


def test_other_questions_are_looks_of_their_own(look):
    look((0, 1, 2))
    assert said(look((0, 1, 2, 3), baseline=RATIOS[1])) == []


@pytest.mark.parametrize("options", [{"seeds": (0,)}, {"seeds": (0, 1), "smoke": True}])
def test_one_seed_and_smoke_tests_are_no_looks(look, results, options):
    look(**options)
    assert not looks_file(results, "ratios").exists()


def test_a_planned_look_tests_only_the_seeds_that_every_cell_has(look):
    first = look(SIX, looks=LOOKS)
    alone = {(2, 6), (2, 7)}  # one cell stays at six seeds
    more = look((*SIX, 6, 7), looks=LOOKS, skip=alone)
    assert {c.seeds for c in more.comparisons.values()} == {SIX}
    assert [c.p for c in more.comparisons.values()] == [c.p for c in first.comparisons.values()]
    assert said(more) == [
        "This look with 6 seeds may err by 2 % (planned: 6, 8); seeds that not every cell has are left out."
    ]
    assert more.cells["seeds"].to_list() == [8, 8, 6, 8, 8, 8], "they are shown all the same"
    assert look((*SIX, 6, 7), looks=LOOKS).family.alpha == 0.03


def test_a_verdict_of_a_planned_look_takes_the_same_seeds(look):
    in_five = claim(5.0, metric="t2v_r5", figure="difference")
    verdicts = [
        look(seeds, looks=LOOKS, claims=[in_five], skip={(3, 6), (3, 7)}).verdicts[0]
        for seeds in (SIX, (*SIX, 6, 7))
    ]
    assert verdicts[0].measured == verdicts[1].measured


def test_a_cell_without_a_run_hides_no_look(look, results):
    missing = {(2, seed) for seed in range(6)}
    for seeds in ((0, 1, 2), (0, 1, 2, 3, 4)):
        found = look(seeds, skip=missing)
        assert claims(found) > 0
    assert "Claims were looked for 2 times, with 3, 5 seeds" in said(found)[0]
    assert len(said(look((0, 1, 2, 3, 4)))[0].partition("2 times")[1]) > 0, (
        "a further cell is no further look"
    )
    assert [one.seeds for one in gather(load(results, "ratios"), results).looks] == [
        (0, 1, 2),
        (0, 1, 2, 3, 4),
    ]


def test_a_look_holds_the_seeds_of_every_pair(look, results):
    look((0, 1, 2, 3), skip={(2, 3), (3, 3)})
    found = look((0, 1, 2, 3), skip={(2, 3)})  # one more pair has a further seed
    assert "looked for 2 times, with 4, 4 seeds" in said(found)[0]
    again = look((0, 1, 2, 3), skip={(2, 3)})
    assert said(again) == said(found)


def test_a_pair_counts_where_no_two_seeds_are_shared_by_all(look):
    look((0, 1, 2), skip={(2, 1), (2, 2)})
    found = look((0, 1, 2, 3), skip={(2, 1), (2, 2), (2, 3)})
    assert "looked for 2 times, with 3, 4 seeds" in said(found)[0]


def claim(least, **fields):
    cost = {"text": "faster", "metric": "speed/clips_per_s", "figure": "times", "paper": "2x"}
    return cost | {"arm": RATIOS[2], "at_least": least} | fields


def test_verdicts_are_claims_and_have_none_in_a_look_that_was_not_planned(look):
    assert len(look(SIX, looks=LOOKS, claims=[claim(0.5)]).verdicts) == 1
    found = look((*SIX, 6), looks=LOOKS, claims=[claim(0.5)])
    assert found.verdicts == ()
    assert "Nothing is claimed" in said(found)[0]


def test_a_smoke_test_claims_nothing(look):
    contrast = side("hiding helps", RATIOS[2], BASE)
    for options in ({"claims": [claim(0.5)]}, {"contrasts": [contrast]}, {}):
        found = look(SIX, smoke=True, **options)
        assert (claims(found), found.contrasts, found.verdicts) == (0, (), ())
        assert not [e for e in found.effects.effects if e.distinguishable]


def side(text, of, against):
    return {"text": text} | {
        name: {"cells": [key_of(axes)], "axes": axes} for name, axes in (("of", of), ("against", against))
    }


ONE, TWO = side("one", RATIOS[2], BASE), side("two", RATIOS[4], BASE)


def changed(found):
    return [text for text in found.caveats if text.startswith("What is tested was changed after the answer ")]


def claimed(found):
    return claims(found) + sum(contrast.claimed for contrast in found.contrasts) + len(found.verdicts)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"contrasts": [ONE, TWO]}, {"contrasts": [TWO, ONE]}),
        ({"contrasts": [ONE, TWO]}, {"contrasts": [TWO]}),
        ({"contrasts": [ONE, TWO]}, {}),
        ({}, {"contrasts": [TWO]}),
        ({"contrasts": [ONE]}, {"contrasts": [ONE], "collapse": 5.0}),
        ({"claims": [claim(2.5)]}, {"claims": [claim(1.5)]}),
        ({"looks": LOOKS}, {"looks": {"6": 0.05}}),
    ],
)
def test_what_was_changed_after_the_answer_had_been_seen_claims_nothing(look, before, after):
    assert claimed(look(SIX, **before)) > 0
    found = look(SIX, **after)
    assert len(changed(found)) == 1
    assert claimed(found) == 0
    assert changed(look((*SIX, 6, 7), **after)), "further seeds do not make up for it"
    again = look(SIX, **before)
    assert not changed(again)
    assert claimed(again) > 0, "as it was asked first, it may be claimed"


def test_new_seeds_new_cells_and_new_words_may_be_claimed_of(look, results):
    look(SIX, contrasts=[ONE, TWO])
    more = [*RATIOS, {"video_ratio": 0.7, "text_ratio": 0.0}]
    for seeds, options in (
        ((10, 11, 12), {"contrasts": [TWO, ONE]}),
        (SIX, {"contrasts": [TWO, ONE], "cells": more}),
        (SIX, {"contrasts": [ONE | {"text": "in other words"}, TWO]}),
        ((*SIX, 6), {"contrasts": [ONE, TWO]}),
    ):
        found = look(seeds, **options)
        assert not changed(found)
        assert claimed(found) > 0


def test_looks_of_an_earlier_version_do_not_tell_what_was_tested(look, results):
    look(SIX, contrasts=[ONE, TWO])
    file = looks_file(results, "ratios")
    (one,) = json.loads(file.read_text())
    old = {name: one[name] for name in ("seeds", "plan")}
    file.write_text(json.dumps([old]))
    assert not changed(look(SIX, contrasts=[TWO, ONE]))
    file.write_text(json.dumps([old]))
    assert not changed(look(SIX, contrasts=[ONE, TWO]))  # noted again, now with what is tested
    assert json.loads(file.read_text()) == [one]
    assert changed(look(SIX, contrasts=[TWO, ONE]))


def test_looks_of_two_commands_that_end_together_are_both_kept(ratios, answered, results):
    ratios(seeds=(0, 1))
    one = load(results, "ratios"), answered().evidence
    ratios(seeds=(0, 1, 2))
    two = load(results, "ratios"), answered().evidence
    with wait_for_lock(looks_file(results, "ratios").with_name(LOOKS_LOCK)):
        first = threading.Thread(target=looks.note, args=(*one, results))
        first.start()
        first.join(0.2)
        assert first.is_alive(), "another command is writing"
    first.join(10)
    looks.note(*two, results)
    assert [one.seeds for one in gather(load(results, "ratios"), results).looks] == [(0, 1), (0, 1, 2)]


@pytest.mark.parametrize("text", ["{", "[1]", '[{"seeds": "a"}]', '[{"seeds": [0]}]'])
def test_a_damaged_record_is_said(ratios, results, text):
    ratios(seeds=(0, 1))
    looks_file(results, "ratios").write_text(text)
    with pytest.raises(UserError, match=r"looks\.json is damaged"):
        gather(load(results, "ratios"), results)


def test_the_record_is_read_as_it_was_written(look, results):
    look((0, 1))
    (one,) = gather(load(results, "ratios"), results).looks
    assert isinstance(one, Look)
    assert one.seeds == (0, 1)
    assert set(load(results, "ratios").cells) == {key_of(cell) for cell in RATIOS}
