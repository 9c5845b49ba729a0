"""The training criteria: pure functions without parameters. Weights belong to a recipe's config."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def vtc(video: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """Video-text contrast (InfoNCE), the mean of both directions.

    With s_ij = scale * <v_i, t_j>:  L = -1/(2B) sum_i [log softmax_j(s_ij)_i + log softmax_j(s_ji)_i]
    (CLIP, arXiv:2103.00020). Frozen in Time (arXiv:2104.00650) sums the directions, which only doubles
    the loss.

    Args:
        video: unit vectors [B, D]; row i belongs to row i of `text`.
        text: unit vectors [B, D].
        scale: inverse temperature.
    """
    # Autocast would turn the product back into bfloat16, too coarse for logits of up to 100.
    with torch.autocast(video.device.type, enabled=False):
        logits = scale * video.float() @ text.float().T  # [B, B]
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def vtm(logits: Tensor, matched: Tensor) -> Tensor:
    """Video-text matching: two-class cross-entropy of logits [P, 2] against `matched` [P] (Boolean)."""
    return F.cross_entropy(logits.float(), matched.long())


def mlm(logits: Tensor, tokens: Tensor) -> Tensor:
    """Masked language modelling: cross-entropy of logits [M, vocabulary] at the M hidden tokens [M].

    A batch in which nothing is hidden has loss zero.
    """
    if not len(tokens):
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), tokens)


def lm(logits: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
    """Language modelling: cross-entropy of the next token, the mean over all that are not padding.

    Args:
        logits: [B, n, vocabulary], each from what stands before the token beside it.
        tokens: the tokens to come, [B, n].
        valid: Boolean [B, n], False at padding, which counts for nothing.
    """
    each = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
    real = valid.flatten()
    return (each * real).sum() / real.sum().clamp(min=1)


def mvm(prediction: Tensor, target: Tensor) -> Tensor:
    """Masked video modelling: mean squared error at the hidden positions, both [B, M, P].

    (MAE, arXiv:2111.06377; VideoMAE, arXiv:2203.12602). Nothing hidden: loss zero.
    """
    if not target.numel():
        return prediction.sum() * 0.0
    return F.mse_loss(prediction.float(), target.float())
