"""Teachers, which learn nothing: from another run, or averages of the student; a queue of what they saw."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from workbench.models.video import VideoConfig, VideoEncoder

Part = TypeVar("Part", bound=nn.Module)


def average_of(student: Part) -> Part:
    """A copy of the student as it is, to `follow` it."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves each weight: teacher = momentum * teacher + (1 - momentum) * student; with 0 it is a copy."""
    own, others = tuple(teacher.parameters()), tuple(student.parameters())
    torch._foreach_lerp_(own, others, 1 - momentum)  # in one call, as the optimiser does


@torch.no_grad()
def empty_teacher(config: VideoConfig, *, frames: int, size: int) -> VideoEncoder:
    """An encoder whose weights are all zero until those of another run are put into it."""
    teacher = VideoEncoder(replace(config, hidden="drop"), frames=frames, size=size).requires_grad_(False)
    for weight in teacher.parameters():
        weight.zero_()
    return teacher


def is_loaded(teacher: nn.Module) -> bool:
    """Whether an awaited teacher has got its weights."""
    return any(bool(weight.any()) for weight in teacher.parameters())


class Queue(nn.Module):
    """The last K clips and captions that were seen, as features of both sides with their labels, in a ring.

    Buffers of fixed shape, so that a checkpoint holds them. Places that nothing was put into yet are not
    `real`.
    """

    video: Tensor
    """float32 [K, E]"""
    text: Tensor
    """float32 [K, E]"""
    label: Tensor
    """int64 [K], 0 for none."""
    written: Tensor
    """int64 [], rows that were ever put."""

    def __init__(self, size: int, embed: int) -> None:
        super().__init__()
        self.register_buffer("video", torch.zeros(size, embed))
        self.register_buffer("text", torch.zeros(size, embed))
        self.register_buffer("label", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @property
    def real(self) -> Tensor:
        """Boolean [K]: which places hold something."""
        return torch.arange(len(self.label), device=self.label.device) < self.written

    @torch.no_grad()
    def put(self, video: Tensor, text: Tensor, label: Tensor) -> None:
        """Rows [B, E], [B, E], [B] take the places of the oldest ones; of more than K rows the last K."""
        count, size = len(label), len(self.label)
        late = torch.arange(max(0, count - size), count, device=label.device)
        place = (self.written + late) % size
        for table, rows in ((self.video, video), (self.text, text), (self.label, label)):
            table.index_copy_(0, place, rows[late].to(table.dtype))
        self.written += count
