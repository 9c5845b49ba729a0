"""Positions that a mask selects, found without a device synchronisation.

How many positions a mask selects decides the shapes of everything computed from it. Reading that number from
an accelerator makes the host wait for all queued work, so code that creates a mask with a known number of
positions stores the number on the mask. Results of operations on a mask carry no number; for these it is read
from the device, which costs nothing on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

EACH, TOTAL = "places_each", "places_total"
"""Attributes of a mask: selected positions in each row, if all rows have as many, and in all rows."""


def counted(mask: Tensor, total: int) -> Tensor:
    """The mask [B, N] itself, with `total`, the number of positions that it selects, stored on it."""
    assert not _seen(mask) or int(mask.sum()) == total, "the stored number is not that of the mask"
    setattr(mask, TOTAL, total)
    return mask


def counted_each(mask: Tensor, each: int) -> Tensor:
    """As `counted`, for a mask that selects `each` positions in every row."""
    assert not _seen(mask) or bool((mask.sum(1) == each).all()), "the stored number is not that of the mask"
    setattr(mask, TOTAL, len(mask) * each)
    setattr(mask, EACH, each)
    return mask


def total_of(mask: Tensor) -> int | None:
    """The stored number of positions that a mask selects, or None."""
    total: int | None = getattr(mask, TOTAL, None)
    return total


def each_of(mask: Tensor) -> int | None:
    """The stored number of positions that a mask selects in each row, or None."""
    each: int | None = getattr(mask, EACH, None)
    return each


def how_many(mask: Tensor) -> int:
    """The number of positions that a mask selects, read from the device if it is not stored on the mask."""
    total = total_of(mask)
    return int(mask.sum()) if total is None else total


def places(mask: Tensor, total: int | None = None) -> tuple[Tensor, Tensor]:
    """Row and column of each position that a mask [B, N] selects, in row-major order, int64 [M] each.

    total: M, if it is known but not stored on the mask.
    """
    total = total_of(mask) if total is None else total
    flat = mask.flatten()
    found = (flat.nonzero() if total is None else flat.nonzero_static(size=total))[:, 0]
    return found // mask.shape[1], found % mask.shape[1]


def columns(mask: Tensor, total: int | None = None) -> Tensor:
    """Columns that each row of a mask [B, N] selects, int64 [B, M]; every row must select M of them."""
    return places(mask, total)[1].view(len(mask), -1)


def pick(x: Tensor, mask: Tensor) -> Tensor:
    """The entries of x [B, N, ...] that the mask [B, N] selects, [M, ...], as `x[mask]`."""
    return x[places(mask)]


def opposite(mask: Tensor) -> Tensor:
    """The negated mask [B, N]; a stored number is carried over."""
    other, each = ~mask, each_of(mask)
    return other if each is None else counted_each(other, mask.shape[1] - each)


def some_rows(mask: Tensor, rows: slice) -> Tensor:
    """Some rows of a mask [B, N]; a stored number of each row is carried over."""
    part, each = mask[rows], each_of(mask)
    return part if each is None else counted_each(part, each)


def _seen(mask: Tensor) -> bool:
    """Whether the host can check the stored number without waiting for a device."""
    return mask.device.type == "cpu" and not torch.compiler.is_compiling()
