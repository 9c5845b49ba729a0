"""Class names of training clips, as texts beside the captions; they are looked up by the clips' rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.models.text import Vocabulary
from workbench.recipe.batch import Batch, Layout, Text

if TYPE_CHECKING:
    from workbench.data.truth import Truth

IMAGE = ("colour", "shape")
"""Attributes whose values together are the class of a single frame."""


class ClassTable(nn.Module):
    """The classes of each clip and of its frames, over all data sets; they are not saved in checkpoints.

    A clip's class is its label, a frame's is given by the values of `IMAGE`. Classes are numbered from 1, in
    the order of their names; 0, whose name is empty, means no class.
    """

    kinds: Tensor
    """int64 [rows + 1, 2], class of a clip and of its frames; the last row, which belongs to no clip, is
    zero."""
    starts: Tensor
    """int64 [sources], first row of each data set."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ("",)
        self.register_buffer("kinds", torch.zeros(1, 2, dtype=torch.int64), persistent=False)
        self.register_buffer("starts", torch.zeros(1, dtype=torch.int64), persistent=False)
        for part in ("tokens", *Layout._fields):
            self.register_buffer(f"of_{part}", torch.zeros(1, 0, dtype=torch.int64), persistent=False)

    def fill(self, truths: Sequence[Truth | None], vocabulary: Vocabulary) -> None:
        """Stores the classes of all clips; clips of data that are None or have no classes get none."""
        starts: list[int] = []
        kinds: list[tuple[str, str]] = []
        for truth in truths:
            starts.append(len(kinds))
            if truth is not None:
                values = [truth.attributes.get(name, [None] * truth.clips) for name in IMAGE]
                of_clips = zip(*values, strict=True)
                frames = [" ".join(map(str, clip)) if None not in clip else "" for clip in of_clips]
                kinds += zip(truth.labels or [""] * truth.clips, frames, strict=True)
        self.names = ("", *sorted({name for pair in kinds for name in pair if name}))
        number, device = {name: i for i, name in enumerate(self.names)}, self.kinds.device
        numbers = [[number[clip], number[frame]] for clip, frame in [*kinds, ("", "")]]
        self.kinds = torch.tensor(numbers, device=device)
        self.starts = torch.tensor(starts, device=device)
        texts = vocabulary.encode(list(self.names)).to(device)
        for part, table in zip(("tokens", *Layout._fields), (texts.tokens, *texts.layout), strict=True):
            setattr(self, f"of_{part}", table)

    def forward(self, batch: Batch, frames: Tensor) -> Tensor:
        """The class of each clip, or of its frames where `frames` [B] is True, int64 [B]; 0 for none."""
        row = torch.where(batch.index < 0, -1, self.starts[batch.source] + batch.index)
        return self.kinds[row].gather(1, frames.long()[:, None])[:, 0]

    def named(self, text: Text, kind: Tensor) -> Text:
        """The captions; those whose `kind` [B] is not 0 are replaced by the name of that class."""
        if len(self.names) == 1:
            return text
        has_class = (kind > 0)[:, None]
        tokens, *layout = (
            torch.where(has_class, getattr(self, f"of_{part}")[kind], caption)
            for part, caption in zip(("tokens", *Layout._fields), (text.tokens, *text.layout), strict=True)
        )
        return Text(tokens, Layout(*layout))
