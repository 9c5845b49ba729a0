"""Maskings: one contract for every implementation, then what distinguishes each."""

import pytest
import torch

from workbench.errors import UserError
from workbench.masking import names
from workbench.masking.preview import hide, preview
from workbench.masking.text import (
    ContentWordMasking,
    TextMasking,
    TokenMasking,
    WholeWordMasking,
)
from workbench.masking.video import (
    FrameMasking,
    Grid,
    PerFrameMasking,
    RandomMasking,
    TubeMasking,
    VideoMasking,
    floor_count,
)
from workbench.recipe.batch import Layout
from workbench.testing import masking_contract
from workbench.testing.maskings import RATIOS, layout, seeded

VIDEO, TEXT = list(names.video()), list(names.text())

TestEveryMasking = masking_contract(*VIDEO, *TEXT)


def test_the_scan_finds_every_masking_there_is():
    assert {"RandomMasking", "PerFrameMasking", "TubeMasking", "FrameMasking"} <= set(VIDEO)
    assert {"TokenMasking", "WholeWordMasking", "ContentWordMasking"} <= set(TEXT)
    assert {cls.__name__ for cls in VideoMasking.__subclasses__()} == set(VIDEO)
    assert {cls.__name__ for cls in TextMasking.__subclasses__()} == set(TEXT)


@pytest.mark.parametrize("masking", [RandomMasking, PerFrameMasking, TubeMasking, FrameMasking])
def test_every_place_is_hidden_equally_often(masking):
    mask = masking(ratio=0.5)(Grid(4, 4, 4), 2000, seeded())
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.06  # five standard deviations


@pytest.mark.parametrize("ratio", RATIOS)
def test_per_frame_hides_equally_many_in_every_slot_at_different_places(ratio):
    grid = Grid(4, 7, 7)
    mask = PerFrameMasking(ratio=ratio)(grid, 6, seeded()).view(6, grid.time, grid.space)
    assert (mask.sum(2) == floor_count(ratio, grid.space)).all()
    if 0.1 <= ratio <= 0.9:
        assert (mask[:, 0] != mask[:, 1]).any()


@pytest.mark.parametrize("ratio", RATIOS)
def test_tube_hides_the_same_places_in_every_slot(ratio):
    grid = Grid(4, 7, 7)
    mask = TubeMasking(ratio=ratio)(grid, 6, seeded()).view(6, grid.time, grid.space)
    assert (mask == mask[:, :1]).all()
    assert (mask[:, 0].sum(1) == floor_count(ratio, grid.space)).all()


def test_tube_of_ninety_percent_keeps_the_160_of_1568_tokens_of_simvtp():
    grid = Grid(8, 14, 14)
    assert grid.tokens - TubeMasking(ratio=0.9).hidden(grid) == 160


@pytest.mark.parametrize("ratio", RATIOS)
def test_frame_hides_whole_slots(ratio):
    grid = Grid(8, 3, 3)
    mask = FrameMasking(ratio=ratio)(grid, 6, seeded()).view(6, grid.time, grid.space)
    assert (mask == mask[..., :1]).all()
    assert (mask[..., 0].sum(1) == floor_count(ratio, grid.time)).all()


def test_random_spreads_over_the_whole_clip_unevenly():
    mask = RandomMasking(ratio=0.5)(Grid(8, 4, 4), 16, seeded()).view(16, 8, 16)
    assert len(mask.sum(2).unique()) > 1


def test_a_share_is_not_lost_to_rounding():
    assert int(0.29 * 100) == 28, "the trap"
    for ratio, count, expected in (
        (0.29, 100, 29),
        (0.57, 100, 57),
        (0.9, 10, 9),
        (0.7, 10, 7),
        (0.999, 3, 2),
    ):
        assert floor_count(ratio, count) == expected


# Text


def test_tokens_are_hidden_equally_often():
    text = layout("a b c d e f g h")
    many = Layout(*(x.expand(4000, -1) for x in text))
    mask = TokenMasking(ratio=0.25)(many, seeded(), equal=False)
    assert (mask.float().mean(0) - 0.25).abs().max() < 0.035


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_whole_words_are_hidden_together_but_for_the_last(ratio, equal):
    text = layout("ONE TWO three FOUR five SIX", pieces=3)
    for seed in range(20):
        hidden = WholeWordMasking(ratio=ratio)(text, seeded(seed), equal=equal)[0]
        parts = [hidden[text.word[0] == word] for word in text.word[0].unique()]
        torn = [part for part in parts if part.any() and not part.all()]
        assert len(torn) <= 1


def test_content_words_go_first_and_stop_words_only_when_they_are_used_up():
    text = layout("the red the moon the turns the left")
    for seed in range(10):
        hidden = ContentWordMasking(ratio=0.5)(text, seeded(seed), equal=False)
        assert torch.equal(hidden, text.content)
        few = ContentWordMasking(ratio=0.25)(text, seeded(seed), equal=False)
        assert not (few & ~text.content).any()
        many = ContentWordMasking(ratio=0.75)(text, seeded(seed), equal=False)
        assert (many[text.content]).all()
        assert (many & ~text.content).sum() == 2


# Picture


def test_the_preview_greys_exactly_the_hidden_tokens():
    grid = Grid(2, 2, 2)
    frames = torch.full((4, 8, 8, 3), 7, dtype=torch.uint8).numpy()
    mask = torch.zeros(8, dtype=torch.bool)
    mask[5] = True  # second slot, first row, second column
    out = hide(frames, mask.numpy(), grid)
    changed = (out != frames).any(-1)
    assert changed[2:, :4, 4:].all()
    assert changed.sum() == 2 * 4 * 4
    assert (frames == 7).all(), "the clip itself is left alone"


@pytest.mark.parametrize("masked", [True, False])
def test_the_preview_has_a_row_of_frames_and_a_row_of_what_remains_for_each_clip(masked):
    clips = torch.randint(0, 255, (2, 4, 16, 16, 3), dtype=torch.uint8)
    grid = Grid(2, 2, 2)
    mask = TubeMasking(ratio=0.5)(grid, 2, seeded()) if masked else None
    picture = preview(clips, mask, grid, ["a red moon", "a blue star"])
    assert picture.width >= 4 * 16
    assert picture.height >= 2 * 2 * 16


def test_a_study_names_a_strategy_as_the_field_does():
    from workbench.masking import video

    assert video.strategy("per-frame") is video.PerFrameMasking
    assert video.strategy("tube")(ratio=0.5) == video.TubeMasking(ratio=0.5)
    with pytest.raises(UserError, match="no strategy 'Tube'; there are random, per-frame, tube, frame"):
        video.strategy("Tube")
