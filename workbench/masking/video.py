"""Maskings of the space-time tokens of clips.

A video masking maps a token grid to a Boolean mask `[B, N]` over content tokens, N = T * H * W in
time-major order, True = hidden. Every sample hides the same number of tokens (`hidden(grid)`), so the
visible ones can be gathered into one rectangular batch before the encoder. All randomness comes from the
generator that is passed in; the mask is on its device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.errors import UserError
from workbench.fields import at_least
from workbench.masking import names
from workbench.recipe.batch import BatchRng

BOXES = 32
"""Number of boxes sampled for each clip, more than any usual ratio needs."""


class Grid(NamedTuple):
    """Tokens along time, height and width."""

    time: int
    height: int
    width: int

    @property
    def space(self) -> int:
        return self.height * self.width

    @property
    def tokens(self) -> int:
        return self.time * self.space


def floor_count(ratio: float, count: int) -> int:
    """`int(ratio * count)` without the rounding error by which 0.29 * 100 is 28.999999999999996."""
    return math.floor(ratio * count + 1e-9)


def lowest(score: Tensor, count: int) -> Tensor:
    """Selects the `count` lowest scores along the last axis: `[..., N]` to Boolean `[..., N]`."""
    mask = torch.zeros_like(score, dtype=torch.bool)
    if count:
        index = score.argsort(dim=-1, stable=True)[..., :count]
        mask.scatter_(-1, index, True)
    return mask


@dataclass(frozen=True, kw_only=True)
class VideoMasking(ABC):
    """Hides a fixed number of a clip's tokens, given by `ratio`."""

    ratio: float

    def __post_init__(self) -> None:
        check_ratio("video", self.ratio)

    @abstractmethod
    def hidden(self, grid: Grid) -> int:
        """Number of tokens that are hidden in every sample."""

    @abstractmethod
    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        """Boolean mask [B, N], True = hidden."""


@dataclass(frozen=True, kw_only=True)
class RandomMasking(VideoMasking):
    """Hides tokens at random positions of the whole clip (ViCLIP, arXiv:2307.06942)."""

    def hidden(self, grid: Grid) -> int:
        return floor_count(self.ratio, grid.tokens)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        return lowest(rng.uniform(batch, grid.tokens), self.hidden(grid))


@dataclass(frozen=True, kw_only=True)
class PerFrameMasking(VideoMasking):
    """Hides the same number of tokens in every temporal slot, at independent random positions.

    It follows MAC's figure (arXiv:2212.00986).
    """

    def hidden(self, grid: Grid) -> int:
        return grid.time * floor_count(self.ratio, grid.space)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        score = rng.uniform(batch, grid.time, grid.space)
        return lowest(score, floor_count(self.ratio, grid.space)).flatten(1)


@dataclass(frozen=True, kw_only=True)
class TubeMasking(VideoMasking):
    """Hides the same spatial positions in all temporal slots.

    It is the tube masking of VideoMAE (arXiv:2203.12602) and SimVTP (arXiv:2212.03490).
    """

    def hidden(self, grid: Grid) -> int:
        return grid.time * floor_count(self.ratio, grid.space)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        mask = lowest(rng.uniform(batch, 1, grid.space), floor_count(self.ratio, grid.space))
        return mask.expand(-1, grid.time, -1).flatten(1)


@dataclass(frozen=True, kw_only=True)
class FrameMasking(VideoMasking):
    """Hides whole temporal slots; the number is rounded down, so few slots give coarse steps."""

    def hidden(self, grid: Grid) -> int:
        return grid.space * floor_count(self.ratio, grid.time)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        mask = lowest(rng.uniform(batch, grid.time), floor_count(self.ratio, grid.time))
        return mask[..., None].expand(-1, -1, grid.space).flatten(1)


@dataclass(frozen=True, kw_only=True)
class CellMasking(VideoMasking):
    """Hides groups of `side` x `side` neighbouring patches within temporal slots (MaskVLM, arXiv:2208.02131).

    The number of hidden patches is that of whole groups; if `side` does not divide the grid, a group may be
    hidden in part.
    """

    side: int = 2
    """Patches of a group along height and width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("video_masking.side", self.side, 1)

    def hidden(self, grid: Grid) -> int:
        return self.side**2 * floor_count(self.ratio, grid.tokens // self.side**2)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        return lowest(self.order(grid, batch, rng), self.hidden(grid))

    def order(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        """Scores [B, N], whole numbers that are equal within a group; the lowest are hidden first."""
        height, width = (-(-side // self.side) for side in (grid.height, grid.width))
        score = rng.uniform(batch, grid.time * height * width).argsort(1).argsort(1)
        score = score.view(batch, grid.time, height, width)
        score = score.repeat_interleave(self.side, 2).repeat_interleave(self.side, 3)
        return score[:, :, : grid.height, : grid.width].flatten(1)


@dataclass(frozen=True, kw_only=True)
class BoxMasking(VideoMasking):
    """Hides space-time boxes until the ratio is reached, the last only in part (VIOLET, arXiv:2111.12681).

    Each side of a box is below two thirds of the grid's.
    """

    def hidden(self, grid: Grid) -> int:
        return floor_count(self.ratio, grid.tokens)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        return lowest(self.order(grid, batch, rng), self.hidden(grid))

    def order(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        """Scores [B, N], given by the first box that contains a token; the lowest are hidden first."""
        covered = boxes(grid, rng.uniform(batch, BOXES, 3, 2))  # [B, BOXES, N]
        number = torch.arange(BOXES, device=covered.device)[:, None]
        first = torch.where(covered, number, BOXES).amin(1)
        # Within a box the order begins at a random token, so that no part of the clip is hidden more often.
        place = torch.arange(grid.tokens, device=covered.device) / grid.tokens
        return first + (place + rng.uniform(batch, 1)) % 1


@dataclass(frozen=True, kw_only=True)
class CellOrBoxMasking(VideoMasking):
    """Hides groups of 2 x 2 patches or space-time boxes, each with probability 0.5 for a sample.

    The last group or box is hidden only in part (VIOLETv2, arXiv:2209.01540).
    """

    def hidden(self, grid: Grid) -> int:
        return floor_count(self.ratio, grid.tokens)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        # The order within a group is random, so that no part of the last one is hidden more often.
        cells = CellMasking(ratio=self.ratio).order(grid, batch, rng) + rng.uniform(batch, grid.tokens)
        whole = BoxMasking(ratio=self.ratio).order(grid, batch, rng)
        return lowest(torch.where(rng.uniform(batch, 1) < 0.5, cells, whole), self.hidden(grid))


def boxes(grid: Grid, chance: Tensor) -> Tensor:
    """The tokens inside each of K random boxes of a sample, Boolean [B, K, N].

    The length along each axis is uniform over those below two thirds of the grid's side (1 is always
    allowed), then the position is uniform.

    Args:
        chance: uniform numbers [B, K, 3, 2] in [0, 1), for length and position along time, height and width.
    """
    inside = []
    for axis, side in enumerate(grid):
        length, place = chance[:, :, axis].unbind(-1)
        length = 1 + (length * max(1, -(-2 * side // 3) - 1)).long()
        start = (place * (side - length + 1)).long()
        at = torch.arange(side, device=chance.device)
        inside.append((at >= start[..., None]) & (at < (start + length)[..., None]))
    time, height, width = inside
    return (time[..., :, None, None] & height[..., None, :, None] & width[..., None, None, :]).flatten(2)


BLOCKS = 16
"""Number of rectangles that `BlockMasking` samples for each clip; it uses as many as it needs."""
SMALLEST = 4
"""Area of its smallest rectangle in patches, as in BEiT."""
LOWEST_ASPECT = 0.3
"""Smallest ratio of height to width of its rectangles, as in BEiT."""
TIE = 1e-3
"""Distances from the centre of a rectangle that differ by less count as equal (1 is its edge)."""


@dataclass(frozen=True, kw_only=True)
class BlockMasking(VideoMasking):
    """Hides a few rectangles, the same in every temporal slot (BEiT, arXiv:2106.08254).

    Areas lie between 4 patches and the number of patches to hide; aspect ratios lie between 0.3 and 1 / 0.3,
    uniform on a logarithmic scale. Rectangles are placed one after another until enough is hidden. The last
    one is trimmed to the patches nearest to its centre; if all together hide too little, they grow.
    """

    def hidden(self, grid: Grid) -> int:
        return grid.time * floor_count(self.ratio, grid.space)

    def __call__(self, grid: Grid, batch: int, rng: BatchRng) -> Tensor:
        count = floor_count(self.ratio, grid.space)
        area, aspect, top, left = rng.uniform(batch, 4, BLOCKS).unbind(1)  # [B, BLOCKS] each
        area = SMALLEST + area * max(0, count - SMALLEST)
        aspect = LOWEST_ASPECT ** (2 * aspect - 1)
        down = _far(top, (area * aspect).sqrt(), grid.height)  # [B, BLOCKS, H]
        across = _far(left, (area / aspect).sqrt(), grid.width)  # [B, BLOCKS, W]
        far = torch.maximum(down[..., None], across[..., None, :])  # [B, BLOCKS, H, W], below 1 inside
        turn = torch.arange(BLOCKS, device=far.device)[:, None, None]
        first = torch.where(far < 1, turn + far, BLOCKS + far).amin(1)  # [B, H, W]
        # Equally distant positions come in random order, so that no part of the clip is hidden more often.
        mask = lowest(first.flatten(1) + TIE * rng.uniform(batch, grid.space), count)
        return mask[:, None].expand(-1, grid.time, -1).flatten(1)


def _far(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Distance of each of `side` positions from the centre of an interval, 1 at its ends: [..., side].

    start: position of the interval, from 0 (first possible) to 1 (last possible); length: its length, which
    is rounded.
    """
    length = length.round().clamp(1, side)
    start = (start * (side - length + 1)).floor()
    place = torch.arange(side, device=start.device)
    return (place - (start + (length - 1) / 2)[..., None]).abs() * 2 / length[..., None]


def check_ratio(what: str, ratio: float) -> None:
    """Raises `UserError` for a ratio outside [0, 1): at 1 the encoder would have nothing to read."""
    number = isinstance(ratio, int | float) and not isinstance(ratio, bool)
    if not (number and 0 <= ratio < 1):
        raise UserError(f"a {what} mask ratio must be a number in [0, 1), not {ratio!r}")


def strategy(name: str) -> Callable[..., VideoMasking]:
    """The masking that studies call `random`, `per-frame`, ...; `UserError` lists the available ones.

    The name of a class gives the name of its strategy: `PerFrameMasking` is `per-frame`.
    """
    known = {names.strategy_name(cls): cls for cls in names.video()}
    if name not in known:
        raise UserError(f"no strategy {name!r}; there are {', '.join(known)}")
    return names.load(known[name])
