"""Activation checkpointing: less memory for a second forward pass (arXiv:1604.06174)."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from workbench.recipe.base import BaseRecipe


def blocks_of(recipe: BaseRecipe) -> list[nn.Module]:
    """The transformer blocks of all encoders, those that two of them share once."""
    return list(dict.fromkeys(block for encoder in recipe.encoders().values() for block in encoder.layers))


def recompute(recipe: BaseRecipe) -> None:
    """Keeps of each block of the recipe's encoders its input only, and computes it again for its gradient.

    Losses are the same to the bit: no block draws anything. What is computed again is counted, as all that
    really runs.
    """
    for block in blocks_of(recipe):
        block.forward = functools.partial(_again, block.forward)


def _again(forward: Any, *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, **named)
