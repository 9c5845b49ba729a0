"""Regions of frames: boxes, their content, their relevance to a caption, and their refinement.

Boxes are (left, top, right, bottom) in shares of the frame's sides. Letters: P clips, T time steps, R regions
of each, h w patches of a step along height and width, D width, E of a shared space, L words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models.cross import CrossStack
from workbench.targets.precision import at_least_float32

SIDES = (1, 2, 4)
"""Anchors are the cells of a grid of 1 x 1, of 2 x 2 and of 4 x 4."""
ANCHORS = sum(side**2 for side in SIDES)
SAMPLES = 4
"""Points along each side of a region at which the map of patches is read."""
LEAST = 1 / 16
"""Smallest side of a region, as a share of the frame's side."""
STEP = 0.5
"""Largest move of a region at once, in units of its sides, and largest change of the logarithm of a side."""


def anchors() -> Tensor:
    """Initial boxes of regions [ANCHORS, 4]: the whole frame, its quarters, its sixteenths."""
    cells = [(row, column, side) for side in SIDES for row in range(side) for column in range(side)]
    return torch.tensor([[c / n, r / n, (c + 1) / n, (r + 1) / n] for r, c, n in cells])


def sample(tokens: Tensor, boxes: Tensor, cells: tuple[int, int]) -> Tensor:
    """Content of each region, the mean over SAMPLES x SAMPLES bilinearly sampled points: [P, T, R, D].

    `roi_align` (Mask R-CNN, arXiv:1703.06870) with one output cell, as products of matrices: their FLOPs are
    counted, and unlike torchvision's kernel they have a gradient for the boxes.

    Args:
        tokens: [P, T, h * w, D].
        boxes: [P, T, R, 4].
        cells: h and w.
    """
    down, across = (_shares(boxes[..., i], boxes[..., i + 2], n) for i, n in zip((1, 0), cells, strict=True))
    return (down[..., None] * across[..., None, :]).flatten(-2) @ tokens


def _shares(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Weight of each cell in the mean along one side, [..., cells], for intervals [...]."""
    part = (torch.arange(SAMPLES, device=start.device) + 0.5) / SAMPLES
    point = start[..., None] + (end - start)[..., None] * part  # [..., SAMPLES]
    place = (point * cells - 0.5).clamp(0, cells - 1)
    return F.relu(1 - (place[..., None] - torch.arange(cells, device=start.device)).abs()).mean(-2)


def cosines(regions: Tensor, words: Tensor) -> Tensor:
    """Cosines [P, T, R, L] of regions [P, T, R, E] and words [P, L, E], in float32 at least."""
    # Autocast would round the product to bfloat16, and many regions would be equally relevant.
    with torch.autocast(regions.device.type, enabled=False):
        regions, words = (F.normalize(at_least_float32(x), dim=-1) for x in (regions, words))
        return regions @ words.mT[:, None]


def relevance(cosine: Tensor, keep: Tensor) -> Tensor:
    """Relevance of each region to a caption, [P, T, R]: the cosine of the word that fits it best.

    keep: Boolean [P, L], words that count; without any, the relevance is -1 for all regions.
    """
    return cosine.masked_fill(~keep[:, None, None], -1.0).amax(-1)


def most_relevant(relevant: Tensor, count: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The `count` most relevant regions of each step, and weights of 1 with a gradient, both [P, T, count].

    The gradient is that of a region's share in a softmax over all regions of its step (straight through,
    arXiv:1308.3432). If all regions are kept they stay in order, else they are sorted by relevance.
    """
    share = (relevant / temperature).softmax(-1)
    if count == relevant.shape[-1]:
        index = torch.arange(count, device=relevant.device).expand_as(relevant)
    else:
        index = relevant.topk(count, dim=-1).indices
    chosen = share.gather(-1, index)
    return index, chosen - chosen.detach() + 1


def move(boxes: Tensor, change: Tensor) -> Tensor:
    """Boxes moved and scaled, [..., 4], and kept inside the frame.

    change: [..., 4], moves along x and y in sides of the box, changes of the log of width and height, each
    bounded by STEP; zeros leave a box as it is.
    """
    bounded = STEP * torch.tanh(change.float())
    size, middle = boxes[..., 2:] - boxes[..., :2], (boxes[..., 2:] + boxes[..., :2]) / 2
    half = (size * bounded[..., 2:].exp()).clamp(LEAST, 1.0) / 2
    middle = torch.maximum(torch.minimum(middle + bounded[..., :2] * size, 1 - half), half)
    return torch.cat([middle - half, middle + half], -1)


class RegionAdaptor(nn.Module):
    """Moves the regions of a clip, which attend to each other, to a caption and to the clip's patches."""

    extra_tokens, start = 0, None

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.place = nn.Linear(4, width)
        self.stack = CrossStack(width, depth, heads)
        self.head = nn.Linear(width, 4)
        nn.init.normal_(self.head.weight, std=1e-3)  # regions hardly move at first
        nn.init.zeros_(self.head.bias)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return self.stack.layers

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [self.place, *self.stack.counted, self.head]

    def forward(self, boxes: Tensor, seen: Tensor, keys: Tensor, keep: Tensor) -> Tensor:
        """New boxes [P, T, R, 4] from boxes and their content [P, T, R, D].

        Args:
            keys: [P, k, D], words and patches; keep: Boolean [P, k], False for padding.
        """
        x, _ = self.stack((seen + self.place(boxes)).flatten(1, 2), None, keys, keep)
        return move(boxes, self.head(x).unflatten(1, boxes.shape[1:3]))
