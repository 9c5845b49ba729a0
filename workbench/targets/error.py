"""Mean squared error of tensors that are larger than any cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PART = 1 << 18
"""Number of values processed together: as float32 they stay in a core's own cache between operations."""


def mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Bit-identical to `mse_loss` in float32 (float64 for a float64 target), including the gradient.

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
    """The loss computed part by part, which allocates less memory.

    On a CPU this loss spends most of its time on reading, writing and above all allocating memory: `mse_loss`
    and its gradient allocate five tensors of the size of the prediction, this function two."""

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
    """Yields the differences of one part after another, all in the same memory."""
    memory = torch.empty(min(PART, target.numel()))
    for one, other in zip(_parts(prediction), _parts(target), strict=True):
        yield memory[: len(one)].copy_(one).sub_(other)
