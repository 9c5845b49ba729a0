"""Transformer blocks as compiled code, on accelerators."""

from __future__ import annotations

import torch

from workbench.config import OptimConfig
from workbench.models.encoder import COMPILED
from workbench.recipe.base import BaseRecipe
from workbench.train.step.recompute import blocks_of

BACKEND = "inductor"
"""What `torch.compile` makes kernels with."""


def compiles(optim: OptimConfig, device: torch.device) -> bool:
    """Whether a run that asks for it compiles: on processors blocks run as they are."""
    return optim.compile and device.type != "cpu"


def compile_blocks(recipe: BaseRecipe) -> None:
    """Compiles each block of the recipe's encoders, one code for all that are alike.

    Parameters and their names stay, so that checkpoints of both kinds fit each other. Hooks of a block run
    outside of what is compiled.
    """
    for block in blocks_of(recipe):
        block.forward = torch.compile(block.forward, backend=BACKEND)
        setattr(block, COMPILED, True)
