"""Keys of a contrast that slow averages of a dual encoder make: of the batch, and before it of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workbench.distributed import gather
from workbench.models.teacher import Queue, average_of, follow
from workbench.recipe.batch import Text
from workbench.recipe.heads import unit


class Keys(NamedTuple):
    """What a batch is contrasted with: the samples of all processes first, then the queue's."""

    video: Tensor
    """Unit vectors [K, E]."""
    text: Tensor
    """Unit vectors [K, E]."""
    label: Tensor
    """int64 [K], 0 for none."""
    real: Tensor | None = None
    """Boolean [K], False for places of the queue that hold nothing yet; None where all hold something."""

    def together(self, label: Tensor, rows: Tensor | None = None) -> Tensor:
        """Which keys belong to samples of labels [B]: its own, and those of its label; Boolean [B, K].

        rows: which of the keys the samples are, int64 [B]; None for the first ones.
        """
        rows = torch.arange(len(label), device=label.device) if rows is None else rows
        columns = torch.arange(len(self.label), device=label.device)
        return ((label[:, None] == self.label) & (label[:, None] > 0)) | (rows[:, None] == columns)


class Momentum(nn.Module):
    """Averages of a dual encoder's parts, and a queue of what they saw.

    Neither changes in a forward pass: what was seen enters the queue after the step.
    """

    def __init__(self, recipe: nn.Module, *, size: int, embed: int) -> None:
        super().__init__()
        self.average = average_of(_parts(recipe))
        self.queue = Queue(size, embed)
        self.fresh: tuple[Tensor, Tensor, Tensor] | None = None
        """Seen in this step by all processes: features [B, E] of both sides and labels [B]."""

    @torch.no_grad()
    def forward(
        self,
        views: Sequence[Tensor],
        text: Text,
        label: Tensor,
        order: Tensor,
    ) -> Keys:
        """Keys of clips, in groups of as many frames, uint8 [b, T, H, W, 3], and of their texts [B, L].

        order: the rows of all processes as the queue takes them, int64.
        """
        seen = torch.cat([self.average["video"](view).pooled for view in views])
        video = unit(self.average["video_head"](seen))
        words = unit(self.average["text_head"](self.average["text"](text).pooled))
        video, words, label = (gather(x)[order] for x in (video, words, label))
        self.fresh, queue = (video, words, label), self.queue
        return Keys(
            torch.cat([video, queue.video]),
            torch.cat([words, queue.text]),
            torch.cat([label, queue.label]),
            torch.cat([torch.ones_like(label, dtype=torch.bool), queue.real]),
        )

    def follow(self, recipe: nn.Module, momentum: float) -> None:
        """After a step: moves the averages, see `models.teacher.follow`; the queue takes what was seen."""
        follow(self.average, _parts(recipe), momentum)
        if self.fresh is not None:
            self.queue.put(*self.fresh)
        self.fresh = None


def _parts(recipe: nn.Module) -> nn.ModuleDict:
    names = ("video", "text", "video_head", "text_head")
    return nn.ModuleDict({name: recipe.get_submodule(name) for name in names})
