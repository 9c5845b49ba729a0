"""Histograms of oriented gradients (Dalal and Triggs, 2005) as targets of masked prediction."""

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
    """Histograms of unsigned gradient directions for each cell of 8 x 8 pixels.

    For each pixel the channel with the largest gradient counts; its magnitude is added to one of nine
    directions of 20 degrees each. Each cell has the mean over its pixels. At the border of the frame
    gradients are zero.

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
    """The histograms as an image: in each cell, for each direction, a line along the edge.

    The brightness of a line is the value of the histogram. This image of one channel is the target of
    VIOLETv2 (arXiv:2209.01540). Pixels outside whole cells are zero.

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
    """The mean of each whole cell, [..., height, width], of pixels [..., H, W]."""
    whole = pixels[..., : height * CELL, : width * CELL]
    return whole.unflatten(-1, (width, CELL)).unflatten(-3, (height, CELL)).mean((-3, -1))


@functools.cache
def _lines(device: torch.device) -> Tensor:
    """The pixels of a cell that the line of each direction covers, 0 or 1, [9, 8, 8]."""
    middle, radius = CELL // 2, CELL // 2 - 1
    cells = torch.zeros(ORIENTATIONS, CELL, CELL)
    for number in range(ORIENTATIONS):
        angle = math.pi * (number + 0.5) / ORIENTATIONS
        y, x = radius * math.cos(angle), radius * math.sin(angle)
        for row, column in _line(int(middle - y), int(middle + x), int(middle + y), int(middle - x)):
            cells[number, row, column] = 1.0
    return cells.to(device)


def _line(y0: int, x0: int, y1: int, x1: int) -> list[tuple[int, int]]:
    """Pixels of a line: one for each step along the longer side; halves are rounded away from the start."""
    tall, wide = abs(y1 - y0), abs(x1 - x0)
    down, right = (1 if y1 > y0 else -1), (1 if x1 > x0 else -1)
    length = max(tall, wide, 1)
    steps = [[(2 * i * side + length) // (2 * length) for side in (tall, wide)] for i in range(length + 1)]
    return [(y0 + down * dy, x0 + right * dx) for dy, dx in steps]
