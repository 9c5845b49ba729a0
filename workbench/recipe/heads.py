"""The last layers of a dual encoder: projections to the shared space, and the temperature."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.targets.precision import at_least_float32

MAX_LOG_SCALE = torch.tensor(math.log(100.0)).item()
"""CLIP's bound of the logarithm of the inverse temperature, as float32 has it."""


class Temperature(nn.Module):
    """Inverse temperature of a contrastive loss, learned or fixed, at most 100 (CLIP's bound).

    The parameter itself is bounded whenever it is read. A bounded copy would have no gradient above the
    bound, and a scale that has passed 100 once could never fall again.
    """

    def __init__(self, temperature: float, learned: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned)

    def forward(self) -> Tensor:
        with torch.no_grad():
            self.log_scale.clamp_(max=MAX_LOG_SCALE)
        return self.log_scale.exp()


def projection(width: int, embed: int) -> nn.Linear:
    """A linear map to the shared space, without bias, as in CLIP."""
    layer = nn.Linear(width, embed, bias=False)
    nn.init.normal_(layer.weight, std=width**-0.5)
    return layer


class ResidualProjection(nn.Module):
    """LocVTP's projection to the shared space: two layers, the second with a residual, and a norm."""

    def __init__(self, width: int, embed: int) -> None:
        super().__init__()
        self.enter, self.inner = nn.Linear(width, embed), nn.Linear(embed, embed)
        self.norm = nn.LayerNorm(embed)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., width] to [..., embed]."""
        x = self.enter(x)
        y: Tensor = self.norm(x + self.inner(F.gelu(x)))
        return y


def perceptron(width: int, out: int) -> nn.Sequential:
    """A head of two layers with a hidden layer twice as wide, as VIOLET uses for all its predictions."""
    return nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, out))


def unit(x: Tensor) -> Tensor:
    """Rows of [B, E] scaled to length one, in float32 at least."""
    return F.normalize(at_least_float32(x), dim=-1)


def judgement(head: nn.Module, pooled: Tensor) -> Tensor:
    """Logits of a head, [..., C], from vectors [..., D]; in float32 at least, also under autocast.

    In bfloat16, whose resolution is about a hundredth of a score, many different pairs would get equal
    scores.
    """
    with torch.autocast(pooled.device.type, enabled=False):
        logits: Tensor = head(at_least_float32(pooled))
    return logits


def match_score(logits: Tensor) -> Tensor:
    """How much better pairs are judged a match than none, a score a pair, [P].

    A pair counts as a match where it is above 0. It is the logarithm of the odds of a match, whose sigmoid is
    the softmax of the two logits.

    logits: of a head that tells matches from other pairs, [P, 2]: first of no match, then of a match.
    """
    return logits[:, 1] - logits[:, 0]
