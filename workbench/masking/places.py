"""Where a mask holds, found without asking the device for it.

How many places a mask holds decides the shape of all that follows from it. To read that number from an
accelerator, the host has to wait until everything before is computed. So whoever draws a mask whose number
is known says it, and the mask carries it along. What an operation makes of a mask carries nothing, and of a
mask that says nothing the number is read from the device, which on a processor costs no waiting.
"""

from __future__ import annotations

import torch
from torch import Tensor

EACH, TOTAL = "places_each", "places_total"
"""Attributes of a mask: places in each of its rows, where all have as many, and in all rows together."""


def counted(mask: Tensor, total: int) -> Tensor:
    """The mask [B, N] itself, which says from now on that it holds at so many places in all."""
    assert not _seen(mask) or int(mask.sum()) == total, "a mask holds where it says that it does"
    setattr(mask, TOTAL, total)
    return mask


def counted_each(mask: Tensor, each: int) -> Tensor:
    """As `counted`, of a mask that holds at as many places in each row."""
    assert not _seen(mask) or bool((mask.sum(1) == each).all()), "a mask holds where it says that it does"
    setattr(mask, TOTAL, len(mask) * each)
    setattr(mask, EACH, each)
    return mask


def total_of(mask: Tensor) -> int | None:
    """At how many places a mask says that it holds; None where it does not say."""
    total: int | None = getattr(mask, TOTAL, None)
    return total


def each_of(mask: Tensor) -> int | None:
    """At how many places of each row a mask says that it holds; None where it does not say."""
    each: int | None = getattr(mask, EACH, None)
    return each


def how_many(mask: Tensor) -> int:
    """At how many places a mask holds, asked of the device where the mask does not say it."""
    total = total_of(mask)
    return int(mask.sum()) if total is None else total


def places(mask: Tensor, total: int | None = None) -> tuple[Tensor, Tensor]:
    """Row and column of each place where a mask [B, N] holds, in their order, int64 [M] each.

    total: M, where the mask does not say it and it is known all the same.
    """
    total = total_of(mask) if total is None else total
    flat = mask.flatten()
    found = (flat.nonzero() if total is None else flat.nonzero_static(size=total))[:, 0]
    return found // mask.shape[1], found % mask.shape[1]


def columns(mask: Tensor, total: int | None = None) -> Tensor:
    """Where each row of a mask [B, N] holds, int64 [B, M], of a mask that holds at M places of each row."""
    return places(mask, total)[1].view(len(mask), -1)


def pick(x: Tensor, mask: Tensor) -> Tensor:
    """What of x [B, N, ...] is where the mask [B, N] holds, [M, ...], as `x[mask]`."""
    return x[places(mask)]


def opposite(mask: Tensor) -> Tensor:
    """True where the mask [B, N] is False; it says how often, where the mask says it."""
    other, each = ~mask, each_of(mask)
    return other if each is None else counted_each(other, mask.shape[1] - each)


def some_rows(mask: Tensor, rows: slice) -> Tensor:
    """Rows of a mask [B, N], which say what each row of it says."""
    part, each = mask[rows], each_of(mask)
    return part if each is None else counted_each(part, each)


def _seen(mask: Tensor) -> bool:
    """Whether the host sees the values without waiting; a wrong number would go unnoticed elsewhere."""
    return mask.device.type == "cpu" and not torch.compiler.is_compiling()
