"""Contract tests of maskings, of video and of text.

from workbench.testing import masking_contract

TestChess = masking_contract("ChessMasking")
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch

from workbench.errors import UserError
from workbench.masking import names
from workbench.masking.text import TextMasking
from workbench.masking.video import Grid, VideoMasking, floor_count
from workbench.recipe.batch import BatchRng, Layout
from workbench.serial import from_dict, to_dict
from workbench.testing.recipe_base import offered

RATIOS = (0.0, 0.1, 0.25, 0.29, 0.5, 0.6, 0.75, 0.9, 0.95, 0.999)
GRIDS = (Grid(1, 1, 1), Grid(1, 2, 2), Grid(2, 8, 8), Grid(3, 5, 7), Grid(8, 14, 14), Grid(7, 1, 3))
BAD_RATIOS = (1, 1.0, -0.1, 1.5, math.nan, math.inf, "x", "0.5", True, False, None)


def masking_contract(*classes: str) -> type[MaskingContract]:
    """A class of tests, to be given a name that begins with `Test`, of the maskings with these class names.
    Raises `UserError` for a name that there is not."""
    return offered(MaskingContract, maskings=tuple(map(names.load, classes)))


def of(side: str) -> Callable[[Any], Any]:
    """A test of maskings of this side only, `video` or `text`."""

    def mark(test: Any) -> Any:
        test.side = side
        return test

    return mark


def seeded(seed: int = 0) -> BatchRng:
    return BatchRng.seeded(seed)


def layout(*captions: str, pieces: int = 2) -> Layout:
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


class MaskingContract:
    """Each test runs for each of `maskings`."""

    maskings: ClassVar[tuple[type, ...]] = ()

    @classmethod
    def about(cls, test: Any) -> list[type]:
        """Those that a test is about."""
        base = {"video": VideoMasking, "text": TextMasking}.get(getattr(test, "side", ""), object)
        return [masking for masking in cls.maskings if issubclass(masking, base)]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("masking", self.about(metafunc.function))

    @pytest.mark.parametrize("ratio", BAD_RATIOS)
    def test_a_ratio_outside_zero_to_one_is_refused_in_a_sentence(self, masking: Any, ratio: Any) -> None:
        with pytest.raises(UserError, match=r"\[0, 1\)"):
            masking(ratio=ratio)

    def test_it_says_what_it_does(self, masking: Any) -> None:
        assert inspect.getdoc(masking)

    def test_it_survives_a_configuration_file(self, masking: Any) -> None:
        assert from_dict(to_dict(masking(ratio=0.5))) == masking(ratio=0.5)

    @of("video")
    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.parametrize("ratio", RATIOS)
    def test_every_sample_hides_the_promised_number_of_tokens(
        self, masking: Any, ratio: float, grid: Grid
    ) -> None:
        mask = masking(ratio=ratio)(grid, 5, seeded())
        hidden = masking(ratio=ratio).hidden(grid)
        assert mask.shape == (5, grid.tokens)
        assert mask.dtype == torch.bool
        assert mask.sum(1).tolist() == [hidden] * 5
        assert hidden <= ratio * grid.tokens + 1e-6
        assert hidden < grid.tokens, "at least one token stays visible"

    @of("video")
    @pytest.mark.parametrize("grid", GRIDS)
    def test_ratio_zero_hides_nothing(self, masking: Any, grid: Grid) -> None:
        assert not masking(ratio=0)(grid, 3, seeded()).any()

    @of("video")
    def test_the_generator_alone_decides(self, masking: Any) -> None:
        torch.manual_seed(1)
        first = masking(ratio=0.5)(Grid(4, 8, 8), 4, seeded(3))
        torch.manual_seed(2)
        assert torch.equal(masking(ratio=0.5)(Grid(4, 8, 8), 4, seeded(3)), first)
        assert not torch.equal(masking(ratio=0.5)(Grid(4, 8, 8), 4, seeded(4)), first)

    @of("video")
    def test_samples_of_a_batch_differ(self, masking: Any) -> None:
        mask = masking(ratio=0.5)(Grid(8, 8, 8), 8, seeded())
        assert len({tuple(row.tolist()) for row in mask}) > 1

    @of("text")
    @pytest.mark.parametrize("ratio", RATIOS)
    def test_replacing_hides_the_rounded_share_of_each_caption_and_no_padding(
        self, masking: Any, ratio: float
    ) -> None:
        mask = masking(ratio=ratio)(CAPTIONS, seeded(), equal=False)
        lengths = CAPTIONS.valid.sum(1).tolist()
        assert mask.dtype == torch.bool
        assert mask.sum(1).tolist() == [round(ratio * n) for n in lengths]
        assert not (mask & ~CAPTIONS.valid).any()

    @of("text")
    @pytest.mark.parametrize("ratio", RATIOS)
    def test_dropping_hides_equally_many_everywhere_padding_first(self, masking: Any, ratio: float) -> None:
        mask = masking(ratio=ratio)(CAPTIONS, seeded(), equal=True)
        total = CAPTIONS.valid.shape[1]
        assert mask.sum(1).tolist() == [floor_count(ratio, total)] * len(mask)
        for row, valid in zip(mask, CAPTIONS.valid, strict=True):
            padding = int((~valid).sum())
            assert int((row & ~valid).sum()) == min(padding, floor_count(ratio, total))
            assert (valid & ~row).any(), "a caption keeps at least one token"

    @of("text")
    @pytest.mark.parametrize("equal", [True, False])
    def test_ratio_zero_hides_no_word(self, masking: Any, equal: bool) -> None:
        assert not masking(ratio=0)(CAPTIONS, seeded(), equal=equal).any()

    @of("text")
    @pytest.mark.parametrize("equal", [True, False])
    def test_the_generator_alone_decides_which_words(self, masking: Any, equal: bool) -> None:
        torch.manual_seed(1)
        first = masking(ratio=0.5)(CAPTIONS, seeded(3), equal=equal)
        torch.manual_seed(2)
        assert torch.equal(masking(ratio=0.5)(CAPTIONS, seeded(3), equal=equal), first)
        other = [masking(ratio=0.5)(CAPTIONS, seeded(s), equal=equal) for s in range(4, 8)]
        assert any(not torch.equal(mask, first) for mask in other)
