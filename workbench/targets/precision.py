"""The least precision in which losses, and what they compare, are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is more precise; autocast may have made it bfloat16.

    In bfloat16, whose steps are a hundredth of a score, losses and the scores that they compare would lose
    the differences that matter.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
