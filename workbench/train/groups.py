"""Parameter groups for weight decay and learning rates, as defined by the parts of a recipe."""

from __future__ import annotations

from typing import Any

from torch import nn

from workbench.recipe.base import BaseRecipe


def parameter_groups(recipe: BaseRecipe, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser, each with `params`, `weight_decay` and `rate`, a factor of the learning rate.

    Parameters of one dimension (biases, norms, temperatures) never decay, nor what a part names in
    `no_decay`. Those of more do, learned positions and tokens [1, n, D] included. Rates come from the
    recipe's `rates()`.
    """
    spared = tuple(_spared(recipe))
    rates = recipe.rates()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in recipe.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and not name.startswith(spared)
            rate = next((rate for start, rate in rates.items() if name.startswith(start)), 1.0)
            groups.setdefault((rate, decays), []).append(parameter)
    return [
        {"params": found, "weight_decay": weight_decay if decays else 0.0, "rate": rate}
        for (rate, decays), found in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def _spared(recipe: nn.Module) -> list[str]:
    """Prefixes of the full names of parameters in the parts' `no_decay`."""
    found = []
    for place, part in recipe.named_modules():
        starts: tuple[str, ...] = getattr(part, "no_decay", ())
        found += [f"{place}.{start}" if place else start for start in starts]
    return found
