"""Collective operations for a batch that several processes share, each with its own rows.

Each process computes its *share* of every loss, a scalar; the mean of the shares over all processes is the
loss of the whole batch. A mean over equally many values is its own share, a mean over a varying number is
weighted (`share_of_mean`), and a loss of gathered rows is the same in all processes. Gradients are averaged
over processes too (data parallelism, arXiv:2006.15704), so that they are those of the whole batch. With one
process these functions have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Lost(Exception):
    """Another process of the run has ended, so collective operations are no longer possible."""


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def own_rows(count: int, device: torch.device) -> Tensor:
    """Indices in the whole batch of the `count` rows of this process, int64 [count]."""
    return torch.arange(count, device=device) + rank() * count


def gather(rows: Tensor) -> Tensor:
    """The rows [B, ...] of all processes in the order of their ranks, [size * B, ...].

    All processes have equally many rows. Gradients, summed over processes, return to the process of a row.
    """
    if size() == 1:
        return rows
    if rows.dtype == torch.bool:  # not every backend supports it
        return gather(rows.to(torch.uint8)).bool()
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def share_of_mean(mean: Tensor, count: Tensor | int) -> Tensor:
    """The share of a mean over `count` values of this process in the mean over the values of all."""
    if size() == 1:
        return mean
    here = count.to(mean.dtype) if isinstance(count, Tensor) else mean.new_full((), count)
    whole = here.clone()
    run(dist.all_reduce, whole)
    return mean * (here * size() / whole.clamp(min=1))


def all_reduce_sum(values: Sequence[float]) -> list[float]:
    """Each number summed over all processes."""
    if size() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    run(dist.all_reduce, summed)
    found: list[float] = summed.tolist()
    return found


def run(collective: Callable[..., Any], *tensors: Tensor, **options: Any) -> None:
    """Calls a collective of `torch.distributed`. Raises `Lost` if another process no longer takes part."""
    try:
        collective(*tensors, **options)
    except RuntimeError as error:  # the backends have no special type of error for it
        raise Lost(" ".join(str(error).split())[:200]) from error


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        whole = rows.new_empty((size() * len(rows), *rows.shape[1:]))
        run(dist.all_gather_into_tensor, whole, rows.contiguous())
        return whole

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty((len(gradient) // size(), *gradient.shape[1:]))
        run(dist.reduce_scatter_tensor, own, gradient.contiguous())
        return own
