"""Maskings: one contract for every implementation, then what distinguishes each."""

import importlib
import inspect
import math
import pkgutil

import pytest
import torch

import workbench.masking
from workbench.errors import UserError
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
    share,
)
from workbench.recipe.batch import BatchRng, Layout
from workbench.serial import from_dict, to_dict


def implementations(base):
    modules = [
        importlib.import_module(f"workbench.masking.{m.name}")
        for m in pkgutil.iter_modules(workbench.masking.__path__)
    ]
    found = {
        cls
        for module in modules
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, base) and not inspect.isabstract(cls)
    }
    return sorted(found, key=lambda cls: cls.__name__)


VIDEO, TEXT = implementations(VideoMasking), implementations(TextMasking)
RATIOS = (0.0, 0.1, 0.25, 0.29, 0.5, 0.6, 0.75, 0.9, 0.95, 0.999)
GRIDS = (Grid(1, 1, 1), Grid(1, 2, 2), Grid(2, 8, 8), Grid(3, 5, 7), Grid(8, 14, 14), Grid(7, 1, 3))
BAD_RATIOS = (1, 1.0, -0.1, 1.5, math.nan, math.inf, "x", "0.5", True, False, None)


def seeded(seed=0):
    return BatchRng.seeded(seed)


def test_the_scan_finds_the_maskings_we_know():
    assert {RandomMasking, PerFrameMasking, TubeMasking, FrameMasking} <= set(VIDEO)
    assert {TokenMasking, WholeWordMasking, ContentWordMasking} <= set(TEXT)


@pytest.mark.parametrize("masking", VIDEO + TEXT)
class TestEveryMasking:
    @pytest.mark.parametrize("ratio", BAD_RATIOS)
    def test_a_ratio_outside_zero_to_one_is_refused_in_a_sentence(self, masking, ratio):
        with pytest.raises(UserError, match=r"\[0, 1\)"):
            masking(ratio=ratio)

    def test_it_says_what_it_does(self, masking):
        assert inspect.getdoc(masking)

    def test_it_survives_a_configuration_file(self, masking):
        assert from_dict(to_dict(masking(ratio=0.5))) == masking(ratio=0.5)


@pytest.mark.parametrize("masking", VIDEO)
class TestEveryVideoMasking:
    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.parametrize("ratio", RATIOS)
    def test_every_sample_hides_the_promised_number_of_tokens(self, masking, ratio, grid):
        mask = masking(ratio=ratio)(grid, 5, seeded())
        hidden = masking(ratio=ratio).hidden(grid)
        assert mask.shape == (5, grid.tokens)
        assert mask.dtype == torch.bool
        assert mask.sum(1).tolist() == [hidden] * 5
        assert hidden <= ratio * grid.tokens + 1e-6
        assert hidden < grid.tokens, "at least one token stays visible"

    @pytest.mark.parametrize("grid", GRIDS)
    def test_ratio_zero_hides_nothing(self, masking, grid):
        assert not masking(ratio=0)(grid, 3, seeded()).any()

    def test_the_generator_alone_decides(self, masking):
        torch.manual_seed(1)
        first = masking(ratio=0.5)(Grid(4, 8, 8), 4, seeded(3))
        torch.manual_seed(2)
        assert torch.equal(masking(ratio=0.5)(Grid(4, 8, 8), 4, seeded(3)), first)
        assert not torch.equal(masking(ratio=0.5)(Grid(4, 8, 8), 4, seeded(4)), first)

    def test_samples_of_a_batch_differ(self, masking):
        mask = masking(ratio=0.5)(Grid(8, 8, 8), 8, seeded())
        assert len({tuple(row.tolist()) for row in mask}) > 1


@pytest.mark.parametrize("masking", [RandomMasking, PerFrameMasking, TubeMasking, FrameMasking])
def test_every_place_is_hidden_equally_often(masking):
    mask = masking(ratio=0.5)(Grid(4, 4, 4), 2000, seeded())
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.06  # five standard deviations


@pytest.mark.parametrize("ratio", RATIOS)
def test_per_frame_hides_equally_many_in_every_slot_at_different_places(ratio):
    grid = Grid(4, 7, 7)
    mask = PerFrameMasking(ratio=ratio)(grid, 6, seeded()).view(6, grid.time, grid.space)
    assert (mask.sum(2) == share(ratio, grid.space)).all()
    if 0.1 <= ratio <= 0.9:
        assert (mask[:, 0] != mask[:, 1]).any()


@pytest.mark.parametrize("ratio", RATIOS)
def test_tube_hides_the_same_places_in_every_slot(ratio):
    grid = Grid(4, 7, 7)
    mask = TubeMasking(ratio=ratio)(grid, 6, seeded()).view(6, grid.time, grid.space)
    assert (mask == mask[:, :1]).all()
    assert (mask[:, 0].sum(1) == share(ratio, grid.space)).all()


def test_tube_of_ninety_percent_keeps_the_160_of_1568_tokens_of_simvtp():
    grid = Grid(8, 14, 14)
    assert grid.tokens - TubeMasking(ratio=0.9).hidden(grid) == 160


@pytest.mark.parametrize("ratio", RATIOS)
def test_frame_hides_whole_slots(ratio):
    grid = Grid(8, 3, 3)
    mask = FrameMasking(ratio=ratio)(grid, 6, seeded()).view(6, grid.time, grid.space)
    assert (mask == mask[..., :1]).all()
    assert (mask[..., 0].sum(1) == share(ratio, grid.time)).all()


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
        assert share(ratio, count) == expected


# Text


def layout(*captions, pieces=2):
    """A layout from captions of words; upper-case words are split in `pieces`, `the` is a stop word."""
    rows = []
    for caption in captions:
        words = caption.split()
        tokens = [(i, w) for i, w in enumerate(words) for _ in range(pieces if w.isupper() else 1)]
        rows.append(tokens)
    length = max(len(row) for row in rows)
    valid = torch.zeros(len(rows), length, dtype=torch.bool)
    word, content = torch.zeros_like(valid, dtype=torch.long), torch.zeros_like(valid)
    for i, row in enumerate(rows):
        for j, (number, text) in enumerate(row):
            valid[i, j], word[i, j], content[i, j] = True, number, text != "the"
    return Layout(valid, word, content)


CAPTIONS = layout(
    "one two three four five six seven eight nine ten", "one two THREE four", "the red the moon", "one"
)


@pytest.mark.parametrize("masking", TEXT)
class TestEveryTextMasking:
    @pytest.mark.parametrize("ratio", RATIOS)
    def test_replacing_hides_the_rounded_share_of_each_caption_and_no_padding(self, masking, ratio):
        mask = masking(ratio=ratio)(CAPTIONS, seeded(), equal=False)
        lengths = CAPTIONS.valid.sum(1).tolist()
        assert mask.dtype == torch.bool
        assert mask.sum(1).tolist() == [round(ratio * n) for n in lengths]
        assert not (mask & ~CAPTIONS.valid).any()

    @pytest.mark.parametrize("ratio", RATIOS)
    def test_dropping_hides_equally_many_everywhere_padding_first(self, masking, ratio):
        mask = masking(ratio=ratio)(CAPTIONS, seeded(), equal=True)
        total = CAPTIONS.valid.shape[1]
        assert mask.sum(1).tolist() == [share(ratio, total)] * len(mask)
        for row, valid in zip(mask, CAPTIONS.valid, strict=True):
            padding = int((~valid).sum())
            assert int((row & ~valid).sum()) == min(padding, share(ratio, total))
            assert (valid & ~row).any(), "a caption keeps at least one token"

    @pytest.mark.parametrize("equal", [True, False])
    def test_ratio_zero_hides_nothing(self, masking, equal):
        assert not masking(ratio=0)(CAPTIONS, seeded(), equal=equal).any()

    @pytest.mark.parametrize("equal", [True, False])
    def test_the_generator_alone_decides(self, masking, equal):
        torch.manual_seed(1)
        first = masking(ratio=0.5)(CAPTIONS, seeded(3), equal=equal)
        torch.manual_seed(2)
        assert torch.equal(masking(ratio=0.5)(CAPTIONS, seeded(3), equal=equal), first)
        other = [masking(ratio=0.5)(CAPTIONS, seeded(s), equal=equal) for s in range(4, 8)]
        assert any(not torch.equal(mask, first) for mask in other)


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
