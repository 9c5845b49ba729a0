"""The minimum precision of losses and of the scores that they compare."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor in float32, or unchanged if it is more precise; under autocast it may be bfloat16.

    In bfloat16, whose resolution is about a hundredth of a score, losses and the scores that they compare
    would lose the differences that matter.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
