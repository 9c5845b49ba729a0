"""Histograms of oriented gradients, as what a hidden position must predict (Dalal and Triggs, 2005)."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

ORIENTATIONS = 9
CELL = 8
"""Pixels of a cell along height and width."""


def histograms(frames: Tensor) -> Tensor:
    """How steep each cell is, by direction and not by sign.

    Of each pixel, the channel with the largest gradient counts: its length goes to one of nine directions of
    20 degrees each. A cell has the mean over its pixels. At the border of the picture gradients are zero.

    Args:
        frames: float32 [..., H, W, C].

    Returns:
        float32 [..., H // 8, W // 8, 9]
    """
    x = frames.movedim(-1, 0)  # [C, ..., H, W]
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[..., 1:-1, :] = x[..., 2:, :] - x[..., :-2, :]
    right[..., 1:-1] = x[..., 2:] - x[..., :-2]
    steep = torch.hypot(down, right)
    channel = steep.argmax(0, keepdim=True)
    steep, down, right = (y.gather(0, channel)[0] for y in (steep, down, right))
    angle = torch.rad2deg(torch.atan2(down, right)) % 180
    direction = (angle * (ORIENTATIONS / 180)).long().clamp(max=ORIENTATIONS - 1)
    height, width = (side // CELL for side in steep.shape[-2:])
    votes = [steep * (direction == one) for one in range(ORIENTATIONS)]  # less memory than all at once
    return torch.stack([_cells(vote, height, width) for vote in votes], -1)


def hog_image(frames: Tensor) -> Tensor:
    """The histograms drawn: in each cell, for each direction a line along the edge, as bright as it is steep.

    This picture of one channel is the target of VIOLETv2 (arXiv:2209.01540). What is left of the frame
    beside whole cells is zero.

    Args:
        frames: float32 [..., H, W, C].

    Returns:
        float32 [..., H, W]
    """
    height, width = frames.shape[-3:-1]
    found = histograms(frames)
    with torch.autocast(found.device.type, enabled=False):  # bfloat16 would be too coarse
        drawn = torch.einsum("...hwo,oyx->...hywx", found, _lines(found.device))
    drawn = drawn.flatten(-4, -3).flatten(-2)
    return F.pad(drawn, (0, width - drawn.shape[-1], 0, height - drawn.shape[-2]))


def _cells(pixels: Tensor, height: int, width: int) -> Tensor:
    """The mean of each whole cell, [..., height, width] of [..., H, W]."""
    whole = pixels[..., : height * CELL, : width * CELL]
    return whole.unflatten(-1, (width, CELL)).unflatten(-3, (height, CELL)).mean((-3, -1))


@functools.cache
def _lines(device: torch.device) -> Tensor:
    """For each direction which pixels of a cell its line covers, 0 or 1, [9, 8, 8]."""
    middle, radius = CELL // 2, CELL // 2 - 1
    cells = torch.zeros(ORIENTATIONS, CELL, CELL)
    for number in range(ORIENTATIONS):
        angle = math.pi * (number + 0.5) / ORIENTATIONS
        y, x = radius * math.cos(angle), radius * math.sin(angle)
        for row, column in _line(int(middle - y), int(middle + x), int(middle + y), int(middle - x)):
            cells[number, row, column] = 1.0
    return cells.to(device)


def _line(y0: int, x0: int, y1: int, x1: int) -> list[tuple[int, int]]:
    """Pixels from one end to the other: one for each step of the longer side, halves rounded onwards."""
    tall, wide = abs(y1 - y0), abs(x1 - x0)
    down, right = (1 if y1 > y0 else -1), (1 if x1 > x0 else -1)
    length = max(tall, wide, 1)
    steps = [[(2 * i * side + length) // (2 * length) for side in (tall, wide)] for i in range(length + 1)]
    return [(y0 + down * dy, x0 + right * dx) for dy, dx in steps]
