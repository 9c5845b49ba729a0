"""Optimal transport between the words of a caption and the patches of a clip."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.targets.precision import at_least_float32


def distance(words: Tensor, patches: Tensor, keep: Tensor) -> Tensor:
    """Optimal-transport distance between the words of a caption and the patches of its clip.

    All words have the same mass, and so have all patches; the cost of a pair is 1 - cosine. The gradient goes
    through the costs, not through the plan. Everything is computed in float32 or in float64.

    Args:
        words: token vectors of captions, [P, L, D].
        patches: token vectors of clips, [P, n, D].
        keep: Boolean [P, L], False at padding, which has no mass.

    Returns:
        Distances [P], in [0, 2]; 0 for a caption without words.
    """
    with torch.autocast(words.device.type, enabled=False):
        words, patches = (F.normalize(at_least_float32(x), dim=-1) for x in (words, patches))
        cosine = words @ patches.mT  # [P, L, n]
        cost = 1 - cosine
        return (cost * plan(cost, keep)).sum((1, 2))


@torch.no_grad()
def plan(cost: Tensor, keep: Tensor, *, beta: float = 0.5, steps: int = 50) -> Tensor:
    """Transport plan from words to patches, by IPOT with one inner step (arXiv:1802.04307).

    From a plan T of ones and word scales u = 1 / L, each step takes Q = T exp(-cost / beta), then
    v_j = 1 / (n sum_i u_i Q_ij), u_i = 1 / (L sum_j Q_ij v_j) and T_ij = u_i Q_ij v_j. The first step is a
    Sinkhorn step; later steps make the plan converge to the cheapest one, without entropic regularisation.

    Args:
        cost: float32 [P, L, n].
        keep: Boolean [P, L], False at padding, which has no mass; L in the formulas is the number of words.
        beta: step size; larger values follow the costs more slowly.
        steps: number of steps.

    Returns:
        Plan [P, L, n]; each word sums to 1 / L exactly and, after enough steps, each patch to nearly 1 / n.
    """
    real = keep.to(cost.dtype)[..., None]  # [P, L, 1]
    kernel = torch.exp(-cost / beta)
    length = real.sum(1, keepdim=True)  # [P, 1, 1]
    padding, empty = 1 - real, (length == 0).to(cost.dtype)  # avoid 0 / 0 in the scales
    plan, word = real.expand_as(cost), real / (length + empty)
    for _ in range(steps):
        plan = kernel * plan
        patch = 1 / (cost.shape[2] * plan.mT @ word + empty)  # [P, n, 1]
        word = real / (length * (plan @ patch) + padding)
        plan = word * plan * patch.mT
    return plan
