"""Effects where the grid has holes: over the cells that share levels, or a sentence on what is missing."""

import numpy as np
import pytest
from synthetic import grid, write_study

from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.report.page import page
from workbench.report.pictures import factors
from workbench.stats import blocks, shared_effects

L_SHAPE = [{"video": video, "text": 0.0} for video in (0.0, 0.5, 0.9)] + [{"video": 0.9, "text": 0.5}]
DIAGONAL = [{"video": 0.0, "text": 0.0}, {"video": 0.5, "text": 0.5}, {"video": 0.9, "text": 0.9}]


@pytest.fixture
def said(results):
    """The answer of a study of these cells."""

    def write(cells, seeds=(0, 1, 2), **options):
        quality = {"quality": lambda axes: 30 + 40 * axes["video"] - 20 * axes["text"], "spread": 0.5}
        write_study(results, "holes", cells, seeds, baseline=cells[0], **(quality | options))
        return answer(load(results, "holes"), results)

    return write


def test_an_effect_is_taken_over_blocks_with_all_levels():
    """Of video over text=a and text=b, where all its levels are; what is beside text=c has no say."""
    value = {("x", "a"): 1.0, ("y", "a"): 3.0, ("x", "b"): 2.0, ("y", "b"): 8.0, ("x", "c"): 100.0}
    cells = {key: {seed: np.array([v]) for seed in (0, 1)} for key, v in value.items()}
    found = shared_effects(cells, ("video", "text"))
    mine = {effect.levels[0]: effect.effect for effect in found.effects if effect.factors == ("video",)}
    assert mine == pytest.approx({"x": -2.0, "y": 2.0})
    text = {effect.levels[0]: effect.effect for effect in found.effects if effect.factors == ("text",)}
    mean = (1 + 2 + 100) / 3
    assert text == pytest.approx({"a": 1 - mean, "b": 2 - mean, "c": 100 - mean})
    assert found.over == {"video": (4, 5), "text": (3, 5)}
    assert found.family is None


def test_without_such_a_block_the_nearest_tells_what_it_lacks():
    cells = [("x", 1), ("x", 2), ("y", 3), ("z", 2)]
    assert blocks(cells, 0) == ([], [("y", 2)])
    assert blocks(cells, 1) == ([], [("x", 3)])


def test_the_answer_says_over_which_cells(said):
    found = said(L_SHAPE)
    assert {effect.factors for effect in found.effects.effects} == {("video",), ("text",)}
    assert all(effect.interval is not None and not effect.distinguishable for effect in found.effects.effects)
    text = page(found, ())
    assert "video over 3 of 4 cells, text over 2 of 4 cells" in text
    assert "minus the mean of those cells" in text
    assert not any("No effect on average" in caveat for caveat in found.caveats)
    assert "3 of 4 cells" in factors(found).caption
    assert factors(found, interactions=True) is None


def test_nothing_else_of_the_answer_changes(said):
    """They belong to no family: what the comparisons have to bear is what it was."""
    found = said(L_SHAPE)
    assert found.family.effects == 0
    assert found.family.size == 3


def test_where_no_axis_has_them_it_says_which_cells_are_missing(said):
    found = said(DIAGONAL)
    assert found.effects is None
    [sentence] = [caveat for caveat in found.caveats if caveat.startswith("No effect on average")]
    assert "video lacks video=0.5 text=0, video=0.9 text=0" in sentence
    assert "text lacks video=0 text=0.5, video=0 text=0.9" in sentence


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (L_SHAPE, {"seeds": (0,)}),
        (L_SHAPE, {"skip": {(0, 0), (0, 1), (0, 2)}}),
        (grid(video=[0.0, 0.5], text=[0.0]), {}),
    ],
)
def test_one_seed_missing_cells_and_one_axis_have_none(said, cells, options):
    assert said(cells, **options).effects is None


def test_a_full_grid_is_as_before(said):
    found = said(grid(video=[0.0, 0.5], text=[0.0, 0.5]))
    assert found.effects.over == {}
    assert found.effects.family is not None
