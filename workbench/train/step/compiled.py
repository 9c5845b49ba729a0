"""Transformer blocks as compiled code, on accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from workbench.config import OptimConfig
from workbench.recipe.base import BaseRecipe
from workbench.train.step.recompute import blocks_of

BACKEND = "inductor"
"""What `torch.compile` makes kernels with."""
MARK = "compiled"
"""Attribute of a block that is compiled."""


def compiles(optim: OptimConfig, device: torch.device) -> bool:
    """Whether a run that asks for it compiles: on processors blocks run as they are, where a compiler takes
    longer than a small run and plain products are fast already."""
    return optim.compile and device.type != "cpu"


def compile_blocks(recipe: BaseRecipe) -> None:
    """Compiles each block of the recipe's encoders, one code for all that are alike.

    Parameters and their names stay, so that checkpoints of both kinds fit each other. Hooks of a block run
    outside of what is compiled.
    """
    for block in blocks_of(recipe):
        block.forward = torch.compile(block.forward, backend=BACKEND)
        setattr(block, MARK, True)


@contextmanager
def as_written(recipe: BaseRecipe) -> Iterator[None]:
    """Blocks run as they are written while the context lasts: compiled ones hide their FLOPs."""
    if not any(getattr(block, MARK, False) for block in blocks_of(recipe)):
        yield  # without an import of the compiler
        return
    with torch.compiler.set_stance("force_eager"):
        yield
