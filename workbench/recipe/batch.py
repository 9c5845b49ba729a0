"""The inputs of a recipe in a step: clips, captions and all random choices.

Letters: B rows of a batch, T frames, H W pixels, N tokens of a clip, L content positions of a caption.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.distributed import gather


class Layout(NamedTuple):
    """The properties of a batch of captions that a masking may use; all `[B, L]`."""

    valid: Tensor
    """Boolean: a token, not padding."""
    word: Tensor
    """Integer: which word of its caption a token belongs to."""
    content: Tensor
    """Boolean: a content word (not a stop word)."""


class Text(NamedTuple):
    """A batch of captions; all [B, L]."""

    tokens: Tensor
    layout: Layout
    host: Layout | None = None
    """A copy of the layout on the host if the captions are on an accelerator; None if there is no copy."""

    @property
    def known(self) -> Layout | None:
        """The layout as far as the host knows it without waiting for an accelerator."""
        return self.layout if self.tokens.device.type == "cpu" else self.host

    def select(self, rows: Tensor | slice) -> Text:
        """Some captions of the batch."""
        host = None
        if self.host is not None and isinstance(rows, slice):
            host = Layout(*(x[rows] for x in self.host))
        return Text(self.tokens[rows], Layout(*(x[rows] for x in self.layout)), host)

    def gathered(self) -> Text:
        """The captions of all processes, in the order of their ranks."""
        return Text(gather(self.tokens), Layout(*map(gather, self.layout)))

    def append(self, token: int) -> tuple[Text, Tensor]:
        """Captions [B, L + 1] with one token appended to each, and its position, Boolean [B, L + 1]."""
        valid, word, content = (F.pad(x, (0, 1)) for x in self.layout)
        length = word.shape[1]
        at = torch.arange(length, device=word.device) == self.layout.valid.sum(1, keepdim=True)
        tokens = F.pad(self.tokens, (0, 1)).masked_fill(at, token)
        return Text(tokens, Layout(valid | at, word.masked_fill(at, length - 1), content)), at

    def to(self, device: torch.device) -> Text:
        tokens, *layout = (to_device(x, device) for x in (self.tokens, *self.layout))
        return Text(tokens, Layout(*layout), None if device.type == "cpu" else self.known)


class Batch(NamedTuple):
    """Clips and the captions that belong to them, row by row."""

    video: Tensor
    """uint8 [B, T, H, W, 3]; a recipe that takes views of a longer clip takes them from here."""
    text: Text
    """[B, L]"""
    index: Tensor  # type: ignore[assignment]  # a tuple has a method of that name, of no use here
    """int64 [B], rows of the frame store, for targets that are computed in advance; -1 for none."""
    label: Tensor
    """int64 [B], class of each clip, from 1; 0 if it has none; see `FrameStore.labels`."""
    source: Tensor
    """int64 [B], number of the data set among those of the run, in the order of its stages."""

    @staticmethod
    def of(video: Tensor, text: Text) -> Batch:
        """A batch that belongs to no store and has no labels, as in evaluation."""
        none = torch.zeros(len(text.tokens), dtype=torch.int64, device=text.tokens.device)
        return Batch(video, text, none - 1, none, none)

    def select(self, rows: Tensor | slice) -> Batch:
        """Some rows of the batch."""
        return Batch(self.video[rows], self.text.select(rows), *(x[rows] for x in self[2:]))

    def to(self, device: torch.device) -> Batch:
        rest = (to_device(x, device) for x in self[2:])
        return Batch(to_device(self.video, device), self.text.to(device), *rest)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the batch that are on its device."""
        return (self.video, self.text.tokens, *self.text.layout, *self[2:])

    def pinned(self) -> Batch:
        """The same batch in page-locked memory, from which copies to an accelerator are asynchronous."""
        video, tokens, *rest = (x.pin_memory() for x in self.tensors)
        return Batch(video, Text(tokens, Layout(*rest[:3])), *rest[3:])


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """`x` on `device`; copies to an accelerator are asynchronous."""
    return x.to(device, non_blocking=device.type != "cpu")


class Masks(NamedTuple):
    """Masks of both sides of a batch, True = hidden; None if nothing is hidden."""

    video: Tensor | None = None
    """Boolean [B, N]"""
    text: Tensor | None = None
    """Boolean [B, L]"""


class Draw(NamedTuple):
    """All random choices of a step. They are drawn before the forward pass, which takes no generator."""

    video_mask: Tensor | None = None
    """Boolean [B, N], True = hidden; None if nothing is hidden."""
    text_mask: Tensor | None = None
    """Boolean [B, L]"""
    chosen: Mapping[str, Tensor] = MappingProxyType({})
    """A recipe's other choices by name, [B, ...] each: negatives, views, noise."""


class BatchRng:
    """Random numbers for the rows of a batch.

    They are drawn for the batch of all processes, of which each takes its own rows, so they depend on the
    generator's seed and on the size of the whole batch, but not on the number of processes or the rank.
    """

    def __init__(self, generator: torch.Generator, *, rank: int = 0, size: int = 1) -> None:
        self.generator, self.rank, self.size = generator, rank, size

    @staticmethod
    def seeded(seed: int, device: torch.device | str = "cpu") -> BatchRng:
        """Random numbers for a single process, from a new generator."""
        return BatchRng(torch.Generator(device).manual_seed(seed))

    @property
    def device(self) -> torch.device:
        return self.generator.device

    def uniform(self, batch: int, *shape: int) -> Tensor:
        """Numbers in [0, 1), float32 [batch, *shape]."""
        whole = torch.rand((batch * self.size, *shape), generator=self.generator, device=self.device)
        return self.own(whole)

    def integers(self, low: int, high: int, batch: int, *shape: int) -> Tensor:
        """Whole numbers in [low, high), int64 [batch, *shape]."""
        shape = (batch * self.size, *shape)
        whole = torch.randint(low, high, shape, generator=self.generator, device=self.device)
        return self.own(whole)

    def for_all(self) -> BatchRng:
        """The same generator for the rows of all processes, for choices that depend on other rows."""
        return BatchRng(self.generator)

    @functools.cached_property
    def on_host(self) -> BatchRng:
        """Random numbers that the host can read without waiting, such as which rows are chosen.

        They come from this generator on a CPU, else from a second one on the CPU with the same seed.
        """
        if self.device.type == "cpu":
            return self
        generator = torch.Generator().manual_seed(self.generator.initial_seed())
        return BatchRng(generator, rank=self.rank, size=self.size)

    def own(self, whole: Tensor) -> Tensor:
        """The rows of this process out of those drawn for all processes, [size * B, ...]."""
        batch = len(whole) // self.size
        return whole[self.rank * batch :][:batch]
