"""What an encoder tells of itself, so that cost, records and inspection need not know what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn


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
