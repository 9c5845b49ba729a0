"""Features of a teacher as targets of masked prediction."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def normalised_features(tokens: Tensor) -> Tensor:
    """A teacher's tokens [..., D], each standardised to remove the scale of its last norm, float32."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:])
