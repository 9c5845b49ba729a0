"""Looks at claims: planned ones may claim with their share of the 5 %, others say how many there were."""

import json

import pytest
from synthetic import RATIOS, key_of

from workbench.answer.evidence import gather, looks_file
from workbench.answer.study_record import load
from workbench.answer.validity import looks
from workbench.errors import UserError
from workbench.stats.looks import Look

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


def test_seeds_count_that_every_cell_has(look, results):
    look((0, 1, 2), skip={(2, 2)})
    (one,) = gather(load(results, "ratios"), results).looks
    assert one.seeds == (0, 1)


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
