"""Teachers without gradients, from another run or as moving averages, and a queue of features."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from workbench.models.video import VideoConfig, VideoEncoder

Part = TypeVar("Part", bound=nn.Module)


def average_of(student: Part) -> Part:
    """A copy of the student, the start of a moving average (`follow`)."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves each weight: teacher = momentum * teacher + (1 - momentum) * student; with 0 it is a copy."""
    own, others = tuple(teacher.parameters()), tuple(student.parameters())
    torch._foreach_lerp_(own, others, 1 - momentum)  # in one call, as the optimiser does


@torch.no_grad()
def empty_teacher(config: VideoConfig, *, frames: int, size: int) -> VideoEncoder:
    """An encoder whose weights are all zero until those of another run are loaded."""
    teacher = VideoEncoder(replace(config, hidden="drop"), frames=frames, size=size).requires_grad_(False)
    for weight in teacher.parameters():
        weight.zero_()
    return teacher


def is_loaded(teacher: nn.Module) -> bool:
    """Whether the weights of an empty teacher have been loaded."""
    return any(bool(weight.any()) for weight in teacher.parameters())


class Queue(nn.Module):
    """Features of the last K clips and captions with their labels, in a ring buffer.

    The buffers have a fixed shape, so that checkpoints contain them. Entries that are still empty are not
    `real`.
    """

    video: Tensor
    """float32 [K, E]"""
    text: Tensor
    """float32 [K, E]"""
    label: Tensor
    """int64 [K], 0 for none."""
    written: Tensor
    """int64 [], number of rows ever put in."""

    def __init__(self, size: int, embed: int) -> None:
        super().__init__()
        self.register_buffer("video", torch.zeros(size, embed))
        self.register_buffer("text", torch.zeros(size, embed))
        self.register_buffer("label", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @property
    def real(self) -> Tensor:
        """Boolean [K]: which entries are filled."""
        return torch.arange(len(self.label), device=self.label.device) < self.written

    @torch.no_grad()
    def put(self, video: Tensor, text: Tensor, label: Tensor) -> None:
        """Replaces the oldest entries by rows [B, E], [B, E], [B]; of more than K rows by the last K."""
        count, size = len(label), len(self.label)
        late = torch.arange(max(0, count - size), count, device=label.device)
        place = (self.written + late) % size
        for table, rows in ((self.video, video), (self.text, text), (self.label, label)):
            table.index_copy_(0, place, rows[late].to(table.dtype))
        self.written += count
