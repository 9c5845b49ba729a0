"""What an encoder tells of itself, so that cost, records and inspection need not know what it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn

COMPILED = "compiled"
"""Attribute of a block that runs as compiled code, see `train.step.compiled`."""


class Encoder(Protocol):
    """A stack of transformer blocks: a recipe's `encoders()` names all that its steps run."""

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks in order; each takes [B, n, D] first. A sequence through the first one is a pass."""

    @property
    def counted(self) -> Sequence[nn.Module]:
        """All modules whose FLOPs are the encoder's, none inside another one."""

    @property
    def extra_tokens(self) -> int:
        """Tokens of the first block that stand for no content, such as a class token."""

    @property
    def start(self) -> str | None:
        """Weights it starts from: a name, empty for random ones, None where there are never others."""


@contextmanager
def as_written(module: nn.Module) -> Iterator[None]:
    """Blocks run as they are written while the context lasts: compiled ones hide their FLOPs."""
    if not any(getattr(part, COMPILED, False) for part in module.modules()):
        yield  # without an import of the compiler
        return
    with torch.compiler.set_stance("force_eager"):
        yield
