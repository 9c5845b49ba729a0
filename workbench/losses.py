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


def vtm_choice(scores: Tensor, temperature: float = 0.05) -> Tensor:
    """Which of several captions belongs to a clip: cross-entropy of scores [B, C] / temperature.

    The first of each row is the right one (VIOLET, arXiv:2111.12681).
    """
    logits = scores.float() / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


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


def mvm_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """As `mvm`, with the mean absolute error."""
    if not target.numel():
        return prediction.sum() * 0.0
    return F.l1_loss(prediction.float(), target.float())


def mvm_codes(logits: Tensor, codes: Tensor) -> Tensor:
    """As `mvm`, for codes: cross-entropy of logits [M, codes] at the M hidden positions [M]."""
    return mlm(logits, codes)


@torch.no_grad()
def hard_negatives(scores: Tensor, positive: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """For each text another video and for each video another text, the likelier the better they fit.

    A column j of row i is drawn with a probability that is proportional to softmax_j(s_ij) + 1e-4, and to 0
    where i and j belong together. Nothing else is left to chance: u in [0, 1) stands for the first column
    whose cumulated share exceeds u. A row of positives only gets its last column.

    Args:
        scores: [B, B], videos by texts.
        positive: Boolean [B, B], which belong together.
        chance: uniform numbers [B, 2] in [0, 1), of each text and of each video.

    Returns:
        int64 [B], a video for each text, and int64 [B], a text for each video.
    """
    video = _drawn(scores.T, positive.T, chance[:, 0])
    return video, _drawn(scores, positive, chance[:, 1])


def _drawn(scores: Tensor, never: Tensor, chance: Tensor) -> Tensor:
    share = (scores.float().softmax(1) + 1e-4).masked_fill(never, 0.0)
    upto = share.double().cumsum(1)
    at = chance.double()[:, None] * upto[:, -1:]
    return torch.searchsorted(upto, at, right=True)[:, 0].clamp(max=scores.shape[1] - 1)
