"""Features of a teacher, as what a hidden position must predict."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def normalised_features(tokens: Tensor) -> Tensor:
    """Tokens [..., D] of a teacher, each standardised, float32: as large whatever the teacher's last norm."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:])
