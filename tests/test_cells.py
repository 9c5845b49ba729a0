"""Cells of patches, hidden as a whole; the contract of every masking is in test_masking.py."""

import pytest
import torch

from workbench.errors import UserError
from workbench.masking.video import CellMasking, Grid, RandomMasking
from workbench.recipe.batch import BatchRng
from workbench.serial import from_dict, to_dict

GRIDS = (Grid(1, 1, 1), Grid(1, 2, 2), Grid(2, 8, 8), Grid(3, 5, 7), Grid(8, 14, 14), Grid(7, 1, 3))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.6, 0.9])
def test_cells_are_hidden_whole_over_the_whole_clip(ratio):
    grid = Grid(2, 8, 6)
    mask = CellMasking(ratio=ratio)(grid, 5, BatchRng.seeded(0)).view(5, 2, 4, 2, 3, 2)
    cells = mask[:, :, :, :1, :, :1]
    assert (mask == cells).all()
    assert cells.flatten(1).sum(1).tolist() == [int(ratio * 24 + 1e-9)] * 5
    assert len({tuple(row) for row in cells.flatten(1).tolist()}) == 5


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ratio", [0.0, 0.29, 0.6, 0.999])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_every_sample_hides_the_promised_number_of_tokens(grid, ratio, side):
    masking = CellMasking(ratio=ratio, side=side)
    mask = masking(grid, 5, BatchRng.seeded(0))
    assert mask.shape == (5, grid.tokens)
    assert mask.sum(1).tolist() == [masking.hidden(grid)] * 5
    assert masking.hidden(grid) <= ratio * grid.tokens + 1e-6


def test_every_place_is_hidden_equally_often():
    mask = CellMasking(ratio=0.5)(Grid(4, 4, 4), 2000, BatchRng.seeded(0))
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.06


def test_cells_of_one_patch_are_patches():
    grid = Grid(2, 3, 4)
    cells, patches = CellMasking(ratio=0.5, side=1), RandomMasking(ratio=0.5)
    assert torch.equal(cells(grid, 4, BatchRng.seeded(1)), patches(grid, 4, BatchRng.seeded(1)))


def test_each_process_takes_its_own_rows():
    grid, masking = Grid(2, 4, 4), CellMasking(ratio=0.5)
    whole = masking(grid, 6, BatchRng.seeded(0))
    parts = [
        masking(grid, 3, BatchRng(torch.Generator().manual_seed(0), rank=rank, size=2)) for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_a_side_that_is_none_is_refused_and_a_file_keeps_it():
    with pytest.raises(UserError, match="side"):
        CellMasking(ratio=0.5, side=0)
    assert from_dict(to_dict(CellMasking(ratio=0.5, side=3))) == CellMasking(ratio=0.5, side=3)
