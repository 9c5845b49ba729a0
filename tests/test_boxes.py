"""Boxes, cells or boxes, and what is hidden where a model looks."""

import pytest
import torch

from workbench.masking.attended import attended
from workbench.masking.video import BOXES, BoxMasking, CellOrBoxMasking, Grid, boxes
from workbench.recipe.batch import BatchRng

GRIDS = (Grid(8, 4, 4), Grid(2, 8, 8), Grid(1, 1, 1), Grid(3, 5, 7), Grid(8, 14, 14))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_box_is_a_box_in_the_grid_and_below_two_thirds_of_each_side(grid):
    found = boxes(grid, BatchRng.seeded(0).uniform(5, 40, 3, 2)).view(200, *grid)
    lengths = set()
    for box in found:
        sides = []
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            covered = box.any(others[1]).any(others[0]).nonzero()[:, 0]
            assert (covered.diff() == 1).all()
            sides.append(len(covered))
            assert len(covered) >= 1
            assert len(covered) < 2 / 3 * grid[axis] or len(covered) == 1
        assert int(box.sum()) == sides[0] * sides[1] * sides[2], "nothing is missing inside"
        lengths.add(tuple(sides))
    most = [max(n for n in range(1, side + 1) if n < 2 / 3 * side or n == 1) for side in grid]
    assert {sides[0] for sides in lengths} == set(range(1, most[0] + 1))
    assert {sides[2] for sides in lengths} == set(range(1, most[2] + 1))


def test_extreme_numbers_give_the_smallest_and_the_largest_box_at_either_end():
    grid = Grid(8, 4, 4)
    least = boxes(grid, torch.zeros(1, 1, 3, 2)).view(8, 4, 4)
    assert least.nonzero().tolist() == [[0, 0, 0]]
    most = boxes(grid, torch.full((1, 1, 3, 2), 1 - 2**-24)).view(8, 4, 4)
    assert most[3:, 2:, 2:].all()
    assert int(most.sum()) == 5 * 2 * 2


def test_boxes_are_hidden_one_after_another_and_the_last_in_part():
    grid, masking = Grid(8, 4, 4), BoxMasking(ratio=0.3)
    mask = masking(grid, 30, BatchRng.seeded(7))
    drawn = boxes(grid, BatchRng.seeded(7).uniform(30, BOXES, 3, 2))
    for row, mine in zip(mask, drawn, strict=True):
        whole = torch.zeros(128, dtype=torch.bool)
        for box in mine:
            if (whole | box).sum() > 38:
                break
            whole |= box
        assert (row & whole).sum() == whole.sum(), "whole boxes are hidden"
        assert not (row & ~whole & ~box).any(), "the rest lies in the next one"
        assert int(row.sum()) == 38


def test_no_frame_is_hidden_more_often_than_its_mirror_image():
    mask = BoxMasking(ratio=0.15)(Grid(8, 4, 4), 4000, BatchRng.seeded(0)).view(4000, 8, 4, 4).float()
    often = mask.mean(0)
    for axis in range(3):
        assert (often - often.flip(axis)).abs().max() < 0.04  # five standard deviations


def runs(mask):
    """Mean number of hidden neighbours along the frame's width, of hidden tokens."""
    cells = mask.view(-1, 8, 4, 4)
    return float((cells[..., 1:] & cells[..., :-1]).sum() / cells.sum())


def test_half_of_the_samples_hide_cells_and_half_hide_boxes():
    grid = Grid(8, 4, 4)
    mask = CellOrBoxMasking(ratio=0.25)(grid, 400, BatchRng.seeded(0))
    cells = mask.view(400, 8, 2, 2, 2, 2).sum((3, 5))  # [B, t, h, w] cells of 2 x 2, 0 to 4 hidden
    whole = torch.isin(cells, torch.tensor([0, 4])).flatten(1).all(1)
    assert 0.35 < whole.float().mean() < 0.65
    assert mask.sum(1).tolist() == [32] * 400
    assert runs(mask[~whole]) > 0.3, "and boxes are no scattered tokens"


def test_a_share_that_is_no_whole_number_of_cells_hides_the_last_one_in_part():
    mask = CellOrBoxMasking(ratio=0.3)(Grid(2, 2, 2), 2000, BatchRng.seeded(0))
    assert mask.sum(1).tolist() == [2] * 2000
    often = mask.float().mean(0).view(2, 2, 2)
    for axis in range(3):
        assert (often - often.flip(axis)).abs().max() < 0.06, "whichever part"  # five standard deviations


class TestAttended:
    def test_only_what_has_weight_is_drawn_and_as_many_as_are_asked_for(self):
        weight = torch.zeros(6, 40)
        weight[:, 10:20] = torch.rand(6, 10, generator=torch.Generator().manual_seed(0))
        count = torch.tensor([0, 1, 4, 9, 10, 10])
        mask = attended(weight, count, BatchRng.seeded(0))
        assert mask.sum(1).tolist() == count.tolist()
        assert not mask[:, :10].any()
        assert not mask[:, 20:].any()

    def test_where_too_little_has_weight_no_more_is_drawn(self):
        weight = torch.zeros(2, 5)
        weight[:, 3] = 1
        assert attended(weight, torch.tensor([3, 3]), BatchRng.seeded(0)).nonzero().tolist() == [
            [0, 3],
            [1, 3],
        ]

    def test_one_draw_is_in_proportion_to_the_weights(self):
        weight = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(20_000, -1)
        drawn = attended(weight, torch.ones(20_000, dtype=torch.int64), BatchRng.seeded(0)).float().mean(0)
        assert (drawn - torch.tensor([0.1, 0.2, 0.3, 0.4])).abs().max() < 0.02

    def test_two_draws_are_those_of_a_multinomial_without_putting_back(self):
        weight = torch.tensor([1.0, 2.0, 5.0]).expand(20_000, -1)
        drawn = attended(weight, torch.full((20_000,), 2), BatchRng.seeded(0)).float().mean(0)
        left_out = [
            (w[0] / 8) * (w[1] / (8 - w[0])) + (w[1] / 8) * (w[0] / (8 - w[1]))
            for w in ((2.0, 5.0), (1.0, 5.0), (1.0, 2.0))
        ]
        assert (1 - drawn - torch.tensor(left_out)).abs().max() < 0.02

    def test_on_the_same_seed_attention_hides_other_tokens_than_chance(self):
        count = torch.full((8,), 10)
        weight = torch.rand(8, 60, generator=torch.Generator().manual_seed(1)) ** 4
        mask = attended(weight, count, BatchRng.seeded(2))
        even = attended(torch.ones(8, 60), count, BatchRng.seeded(2))
        assert not torch.equal(mask, even)
        assert (weight * mask).sum() > 1.5 * (weight * even).sum()
