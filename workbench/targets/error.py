"""How far a prediction is from its target: the mean squared error of tensors larger than any cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PART = 1 << 18
"""Numbers that are taken at once: as float32 they stay in a core's own cache between two operations."""


def mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """As `mse_loss` of both in float32 (or float64 where that comes in), bit for bit, its gradient too.

    Args:
        prediction: of any shape, often bfloat16.
        target: of the same shape, float32 or float64.
    """
    kind = torch.promote_types(prediction.dtype, target.dtype)
    if prediction.device.type == "cpu" and kind == torch.float32 and not target.requires_grad:
        found: Tensor = _InParts.apply(prediction, target)
        return found
    return F.mse_loss(prediction.to(kind), target)


class _InParts(torch.autograd.Function):
    """On a processor most of the time of this loss goes into reading and writing memory, above all into fresh
    memory: `mse_loss` and its gradient make five tensors of the size of the prediction, this makes two."""

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(prediction, target)
        squares = torch.empty_like(target, memory_format=torch.contiguous_format)
        for difference, square in zip(_differences(prediction, target), _parts(squares), strict=True):
            torch.mul(difference, difference, out=square)
        return squares.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        prediction, target = ctx.saved_tensors
        found = torch.empty_like(prediction, memory_format=torch.contiguous_format)
        for difference, part in zip(_differences(prediction, target), _parts(found), strict=True):
            part.copy_(difference.mul_(2 / target.numel()).mul_(gradient))
        return found, None


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    return x.reshape(-1).split(PART)


def _differences(prediction: Tensor, target: Tensor) -> Iterator[Tensor]:
    """Of each part in turn, all in the same memory."""
    memory = torch.empty(min(PART, target.numel()))
    for one, other in zip(_parts(prediction), _parts(target), strict=True):
        yield memory[: len(one)].copy_(one).sub_(other)
