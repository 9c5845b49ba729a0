"""The processes that train one run together. One process is the plain case, and so far the only one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import BatchRng


@dataclass(frozen=True, kw_only=True)
class World:
    """Which of them this process is, and what they must do alike."""

    rank: int = 0
    size: int = 1

    def wrap(self, recipe: BaseRecipe) -> nn.Module:
        """What training calls: the recipe itself, or what averages its gradients over processes."""
        return recipe

    def rng(self, device: torch.device, seed: int, step: int) -> BatchRng:
        """Where the masks and negatives of one step come from, alike for any number of processes.

        Seed and step are mixed by a hash: on processors torch keeps only the low 32 bits of a seed, so that
        placing them side by side would give runs of all seeds the same masks.
        """
        mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
        generator = torch.Generator(device).manual_seed(int(mixed[0]))
        return BatchRng(generator, rank=self.rank, size=self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows [B, ...] of all processes, in the order of their ranks."""
        return rows

    def agree(self, flag: bool) -> bool:
        """Whether any process says so: all stop, or end a budget, at the same step."""
        return flag
