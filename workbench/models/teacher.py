"""Teachers: video encoders that learn nothing, from another run or as an average of the student."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from workbench.models.video import VideoConfig, VideoEncoder


def average_of(student: VideoEncoder) -> VideoEncoder:
    """A copy of the student as it is, to `follow` it."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves each weight: teacher = momentum * teacher + (1 - momentum) * student; with 0 it is a copy."""
    for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
        own.lerp_(other, 1 - momentum)


@torch.no_grad()
def awaited(config: VideoConfig, *, frames: int, size: int) -> VideoEncoder:
    """An encoder whose weights are all zero until those of another run are put into it."""
    teacher = VideoEncoder(replace(config, hidden="drop"), frames=frames, size=size).requires_grad_(False)
    for weight in teacher.parameters():
        weight.zero_()
    return teacher


def has_come(teacher: nn.Module) -> bool:
    """Whether an awaited teacher has got its weights."""
    return any(bool(weight.any()) for weight in teacher.parameters())
