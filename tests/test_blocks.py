"""Blocks of places, as in BEiT; the contract of every masking is in test_masking.py."""

import pytest
import scipy.ndimage
import torch

from workbench.masking import video
from workbench.masking.video import BlockMasking, Grid, RandomMasking, TubeMasking, VideoMasking
from workbench.recipe.batch import BatchRng


def pictures(masking: VideoMasking, grid: Grid, *, batch: int = 200, seed: int = 0):
    """Boolean [B, T, H, W]"""
    return masking(grid, batch, BatchRng.seeded(seed)).view(batch, *grid)


def hidden_neighbours(mask):
    """Of the four places around a hidden one, how many are hidden: the mean over a batch [B, T, H, W]."""
    both = (mask[..., 1:, :] & mask[..., :-1, :]).sum() + (mask[..., 1:] & mask[..., :-1]).sum()
    return 2 * float(both / mask.sum())


def pieces(mask):
    """In how many pieces the hidden places of a slot lie, the mean over a batch [B, T, H, W]."""
    return sum(scipy.ndimage.label(clip[0])[1] for clip in mask.numpy()) / len(mask)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_the_same_places_are_hidden_in_every_slot(ratio):
    mask = pictures(BlockMasking(ratio=ratio), Grid(4, 7, 7))
    assert (mask == mask[:, :1]).all()
    assert mask[:, 0].sum((1, 2)).tolist() == [int(ratio * 49)] * 200


@pytest.mark.parametrize("grid", [Grid(2, 8, 8), Grid(4, 7, 7), Grid(8, 14, 14)])
@pytest.mark.parametrize("ratio", [0.2, 0.4])
def test_it_is_blocks_and_no_dust(grid, ratio):
    blocks = pictures(BlockMasking(ratio=ratio), grid)
    for dust in (RandomMasking(ratio=ratio), TubeMasking(ratio=ratio)):
        assert hidden_neighbours(blocks) > 1.8 * hidden_neighbours(pictures(dust, grid))
    assert pieces(blocks) < 2.2
    assert pieces(pictures(TubeMasking(ratio=ratio), grid)) > 5


def test_blocks_are_flat_and_upright_and_lie_everywhere():
    mask = pictures(BlockMasking(ratio=0.2), Grid(1, 8, 8), batch=2000)[:, 0]
    assert (mask.float().mean(0) > 0.02).all(), "corners too"
    height, width = mask.any(2).sum(1), mask.any(1).sum(1)
    assert 0.25 < float((height > width).float().mean()) < 0.75
    assert len(torch.stack([height, width], 1).unique(dim=0)) > 20


def test_no_side_of_the_clip_is_hidden_more_often():
    often = BlockMasking(ratio=0.2)(Grid(1, 8, 8), 40_000, BatchRng.seeded(0)).float().mean(0).view(8, 8)
    assert (often.mean(1) - often.mean(1).flip(0)).abs().max() < 0.007  # five standard deviations
    assert (often.mean(0) - often.mean(0).flip(0)).abs().max() < 0.007


def test_what_is_too_much_of_the_last_rectangle_is_left_off_around_its_middle(monkeypatch):
    class Drawn(BatchRng):
        def uniform(self, batch, *shape):
            return drawn if shape == (4, 1) else torch.zeros(batch, *shape)

    def mask(ratio):
        return BlockMasking(ratio=ratio)(Grid(1, 5, 5), 1, Drawn(torch.Generator())).view(5, 5).int().tolist()

    monkeypatch.setattr(video, "BLOCKS", 1)
    # One rectangle: of the smallest area, square (0.5), at the upper end (0) and the right end (0.99).
    drawn = torch.tensor([[[0.0], [0.5], [0.0], [0.99]]])
    rows = [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask(0.16) == rows
    # More than it has: it grows. Less than the three times three of a larger one: what is farthest is left.
    rows = [[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask(0.36) == rows
    monkeypatch.setattr(video, "SMALLEST", 9)
    drawn = torch.tensor([[[0.0], [0.5], [0.5], [0.5]]])
    cross = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask(0.04) == cross


def test_each_process_takes_its_own_rows():
    grid, masking = Grid(2, 4, 4), BlockMasking(ratio=0.5)
    whole = masking(grid, 6, BatchRng.seeded(0))
    parts = [
        masking(grid, 3, BatchRng(torch.Generator().manual_seed(0), rank=rank, size=2)) for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_a_study_calls_it_block():
    assert video.strategy("block") is BlockMasking
