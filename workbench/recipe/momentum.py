"""Momentum encoders: keys of a contrastive loss from moving averages of a dual encoder, with a queue."""

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
    """Keys of a contrastive loss: first the samples of all processes, then those of the queue."""

    video: Tensor
    """Unit vectors [K, E]."""
    text: Tensor
    """Unit vectors [K, E]."""
    label: Tensor
    """int64 [K], 0 for none."""
    real: Tensor | None = None
    """Boolean [K], False for entries of the queue that are still empty; None if none is empty."""

    def together(self, label: Tensor, rows: Tensor | None = None) -> Tensor:
        """Which keys are positives of samples with labels [B], Boolean [B, K].

        They are a sample's own key and all keys of its label.

        rows: int64 [B], positions of the samples among the keys; None if they are the first ones.
        """
        rows = torch.arange(len(label), device=label.device) if rows is None else rows
        columns = torch.arange(len(self.label), device=label.device)
        return ((label[:, None] == self.label) & (label[:, None] > 0)) | (rows[:, None] == columns)


class Momentum(nn.Module):
    """Moving averages of a dual encoder's parts, and a queue of the features that they computed.

    A forward pass changes neither: its features enter the queue after the step.
    """

    def __init__(self, recipe: nn.Module, *, size: int, embed: int) -> None:
        super().__init__()
        self.average = average_of(_parts(recipe))
        self.queue = Queue(size, embed)
        self.fresh: tuple[Tensor, Tensor, Tensor] | None = None
        """Features [B, E] of both sides and labels [B] of this step, from all processes."""

    @torch.no_grad()
    def forward(
        self,
        views: Sequence[Tensor],
        text: Text,
        label: Tensor,
        order: Tensor,
    ) -> Keys:
        """Keys of clips, grouped by number of frames, uint8 [b, T, H, W, 3], and of their texts [B, L].

        order: int64, the rows of all processes in the order in which they enter the queue.
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
        """Updates the averages (see `models.teacher.follow`) and adds the step's features to the queue."""
        follow(self.average, _parts(recipe), momentum)
        if self.fresh is not None:
            self.queue.put(*self.fresh)
        self.fresh = None


def _parts(recipe: nn.Module) -> nn.ModuleDict:
    names = ("video", "text", "video_head", "text_head")
    return nn.ModuleDict({name: recipe.get_submodule(name) for name in names})
