"""The interface of encoders, so that cost, records and inspection do not depend on their structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn

COMPILED = "compiled"
"""Attribute of a block that runs as compiled code, see `train.step.compiled`."""


class Encoder(Protocol):
    """A stack of transformer blocks; a recipe's `encoders()` names all that its steps run."""

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks in order; each takes [B, n, D]. Sequences through the first one count as passes."""

    @property
    def counted(self) -> Sequence[nn.Module]:
        """All modules whose FLOPs count as the encoder's; none contains another."""

    @property
    def extra_tokens(self) -> int:
        """Number of tokens in the first block without content, such as a class token."""

    @property
    def start(self) -> str | None:
        """Name of its initial weights; empty for random ones, None if they are always random."""


@contextmanager
def as_written(module: nn.Module) -> Iterator[None]:
    """Runs blocks uncompiled within the context, because compiled ones hide their FLOPs."""
    if not any(getattr(part, COMPILED, False) for part in module.modules()):
        yield  # without importing the compiler
        return
    with torch.compiler.set_stance("force_eager"):
        yield
