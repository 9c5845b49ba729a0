"""Training losses: pure functions without parameters. Their weights belong to a recipe's config.

Where several processes share a batch, each passes its own rows and receives its share of the loss over all
rows, see `distributed`. Losses are computed in float32, or in float64 if the inputs are float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import transport
from workbench.distributed import gather, own_rows, rank, share_of_mean
from workbench.targets.error import mean_squared_error
from workbench.targets.precision import at_least_float32


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
        # Each process computes the rows of its own videos; `gather` then gives all processes the full matrix.
        logits = gather(scale * at_least_float32(video) @ gather(at_least_float32(text)).T)  # [B, B]
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def vtc_soft(video: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """As `vtc`, with soft targets: samples that resemble each other are partly positives of each other.

    With s_ij = scale * <v_i, t_j> and targets q_i = softmax_j(scale * (<v_i, v_j> + <t_i, t_j>) / 2):
    L = -1/(2B) sum_ij q_ij [log softmax_j(s_ij) + log softmax_j(s_ji)] (after LocVTP, arXiv:2207.10362,
    whose code does not scale the targets and transposes them in the second direction). No gradient goes
    through the targets.
    """
    with torch.autocast(video.device.type, enabled=False):  # see `vtc`
        video, text = at_least_float32(video), at_least_float32(text)
        videos, texts = gather(video), gather(text)  # of all processes
        logits = gather(scale * video @ texts.T)  # [B, B]
        alike = gather(scale * (video @ videos.T + text @ texts.T) / 2).softmax(1).detach()
    return (F.cross_entropy(logits, alike) + F.cross_entropy(logits.T, alike)) / 2


def own_negatives_nce(positive: Tensor, negatives: Tensor, counts: Tensor, temperature: float) -> Tensor:
    """Contrastive loss in which every anchor has its own negatives: the mean of -log softmax of the positive.

    Args:
        positive: similarities [...].
        negatives: similarities [..., K], minus infinity where there is none.
        counts: Boolean [...], which anchors enter the mean; the loss is zero if there are none.
    """
    with torch.autocast(positive.device.type, enabled=False):
        right = at_least_float32(positive) / temperature
        every = torch.cat([right[..., None], at_least_float32(negatives) / temperature], -1)
        each = every.logsumexp(-1) - right
    count = counts.sum()
    return share_of_mean((each * counts).sum() / count.clamp(min=1), count)


def moment_nce(
    clip: Tensor, words: Tensor, tokens: Tensor, keep: Tensor, count: int, scale: Tensor | float
) -> Tensor:
    """Contrastive loss of clips with the words of their captions that fit them best.

    A positive of clip i is each of the `count` words k of its own caption with the largest <c_i, w_ik>; its
    term is -log [e^s_k / (e^s_k + sum of e^s over the words of all other captions)], s = scale * cosine.
    Words equal to the positive are not negatives. The loss is the mean over positives; no gradient goes
    through their choice. It is our interpretation of the moments in the abstract of HiTeA (arXiv:2212.14546).

    Args:
        clip: unit vectors [B, E].
        words: unit vectors [B, L, E].
        tokens: int64 [B, L], indices of the words.
        keep: Boolean [B, L], the words that may be positives or negatives; in a caption with fewer than
            `count` of them all are positives, and if there are none at all the loss is zero.
    """
    with torch.autocast(clip.device.type, enabled=False):
        # Each process has the rows of its own clips, with the words of all captions.
        clip, words = at_least_float32(clip), gather(at_least_float32(words))
        scores = scale * torch.einsum("be,jle->bjl", clip, words)  # [B, B, L]
    row = own_rows(len(clip), clip.device)
    own = scores.diagonal(offset=rank() * len(clip), dim1=0, dim2=1).T  # [B, L]
    best = own.masked_fill(~keep, float("-inf")).topk(min(count, own.shape[1]), 1).indices  # [B, K]
    positive = own.gather(1, best)
    caption = torch.arange(scores.shape[1], device=row.device)
    others = gather(keep)[None] & (row[:, None] != caption)[..., None]  # [B, B, L]
    differs = tokens.gather(1, best)[..., None, None] != gather(tokens)  # [B, K, B, L]
    negatives = scores[:, None].masked_fill(~(others[:, None] & differs), float("-inf")).flatten(2)
    return own_negatives_nce(positive, negatives, keep.gather(1, best), 1.0)


def negative_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Negative mean cosine of vectors [B, D]; no gradient goes to the target (SimSiam, arXiv:2011.10566)."""
    return -F.cosine_similarity(at_least_float32(predicted), at_least_float32(target.detach()), dim=-1).mean()


def univlc(
    video: Tensor,
    text: Tensor,
    keys: tuple[Tensor, Tensor],
    same: Tensor,
    scale: Tensor | float,
    *,
    alpha: float = 0.0,
    real: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Contrastive loss over a batch and a queue; equal labels are positives (OmniVL, arXiv:2209.07526).

    Over keys j, with s_ij = scale * <v_i, t'_j> and the teachers' scores r_ij = scale * <v'_i, t'_j>:
    L = -1/(2B) sum_ij y_ij log softmax_j(s_ij) and the same with the sides exchanged, where
    y_ij = (1 - alpha) [i and j belong together] + alpha softmax_j(r_ij). Targets are not divided by the
    number of positives. If each row belongs to itself only and the keys are the features, the loss equals
    `vtc`.

    Args:
        video: unit vectors [B, E]; row i belongs to row i of `text`.
        text: unit vectors [B, E].
        keys: unit vectors of clips and of captions, [K, E] each, of all processes.
        same: Boolean [B, K], which sample and key belong together.
        scale: inverse temperature.
        alpha: share of the target that comes from the teachers, from 0 to 1.
        real: Boolean [K], False for places of the queue that are still empty; None if all keys are real.
        rows: int64 [B], positions of these samples among the keys; None if they are the first ones.
    """
    with torch.autocast(video.device.type, enabled=False):  # see `vtc`
        sides = (at_least_float32(video), at_least_float32(text))
        others = (at_least_float32(keys[1]), at_least_float32(keys[0]))
        empty = torch.zeros_like(same[:1]) if real is None else ~real[None]
        loss = sides[0].new_zeros(())
        for side, other, own in zip(sides, others, keys, strict=True):
            target = same.to(side.dtype)
            if alpha:
                with torch.no_grad():
                    mine = own[: len(side)] if rows is None else own[rows]
                    told = scale * at_least_float32(mine) @ other.T  # [B, K]
                    told = told.masked_fill(empty, float("-inf")).softmax(1)
                target = (1 - alpha) * target + alpha * told
            # A finite value whose exponential is 0, because minus infinity times a target of 0 is not a
            # number.
            logits = (scale * side @ other.T).masked_fill(empty, -1e4)
            loss = loss + F.cross_entropy(logits, target) / 2
    return loss


def multi_positive_nce(
    anchor: Tensor, positives: Sequence[Tensor], scale: Tensor | float, *, exclusive: bool
) -> Tensor:
    """Contrastive loss with several positives an anchor, summed over directions (Clover, arXiv:2207.07885).

    With s_ikj = scale * <a_i, p^k_j>, from anchors to positives: the terms of `multi_positive_terms`, summed
    over positives k; from positives to anchors: -1/K sum_k log softmax_i(s_ikj)_j. Both are means over
    samples. With one positive the loss is twice `vtc`.

    Args:
        anchor: unit vectors [B, D].
        positives: K tensors of unit vectors [B, D]; their rows i belong to row i of `anchor`.
        scale: inverse temperature.
        exclusive: see `multi_positive_terms`.
    """
    with torch.autocast(anchor.device.type, enabled=False):  # see `vtc`
        other = torch.stack([gather(at_least_float32(p)) for p in positives])  # [K, B, D]
        scores = gather(scale * torch.einsum("id,kjd->ikj", at_least_float32(anchor), other))  # [B, K, B]
    own = scores.diagonal(dim1=0, dim2=2)  # [K, B]
    forth = multi_positive_terms(scores, exclusive=exclusive).sum(1)  # [B]
    back = (scores.logsumexp(0) - own).mean(0)  # [B]
    return (forth + back).mean()


def multi_positive_terms(scores: Tensor, *, exclusive: bool) -> Tensor:
    """Loss of each positive of each anchor, -log softmax of s_iki over the K * B scores of its row: [B, K].

    Args:
        scores: [B, K, B], anchors by kinds of positives by samples.
        exclusive: leaves the other K - 1 positives of the same sample out of the denominator, so that an
            anchor's positives do not repel each other.
    """
    own = scores.diagonal(dim1=0, dim2=2).T  # [B, K]
    if not exclusive:
        return scores.flatten(1).logsumexp(1, keepdim=True) - own
    same = torch.eye(len(scores), dtype=torch.bool, device=scores.device)[:, None]
    others = scores.masked_fill(same, float("-inf")).flatten(1).logsumexp(1, keepdim=True)  # [B, 1]
    return torch.logaddexp(others, own) - own


def ranking(better: Tensor, worse: Tensor, margin: float) -> Tensor:
    """Margin ranking loss: the mean of max(0, margin + worse - better) over scores [B].

    Clover (arXiv:2207.07885) uses it on matching scores.
    """
    return F.relu(margin + at_least_float32(worse) - at_least_float32(better)).mean()


def vtm(logits: Tensor, matched: Tensor) -> Tensor:
    """Video-text matching: two-class cross-entropy of logits [P, 2] (ALBEF, arXiv:2107.07651).

    matched: Boolean [P], which pairs belong together.
    """
    return F.cross_entropy(at_least_float32(logits), matched.long())


def vtm_choice(scores: Tensor, temperature: float = 0.05) -> Tensor:
    """Choice of a clip's caption among C candidates: cross-entropy of scores [B, C] / temperature.

    The first candidate of each row is the right one (VIOLET, arXiv:2111.12681).
    """
    logits = at_least_float32(scores) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def mlm(logits: Tensor, tokens: Tensor) -> Tensor:
    """Masked language modelling: cross-entropy of logits [M, vocabulary] (BERT, arXiv:1810.04805).

    tokens: int64 [M], the M hidden tokens of the batch. The loss is zero if nothing is hidden.
    """
    if not len(tokens):
        return share_of_mean(logits.sum() * 0.0, 0)
    return share_of_mean(F.cross_entropy(at_least_float32(logits), tokens), len(tokens))


def mlm_focal(logits: Tensor, tokens: Tensor, gamma: float) -> Tensor:
    """As `mlm`, with the focal loss: the mean of -(1 - p)^gamma log p, where p is that of the right word.

    Words that are predicted well count for less (arXiv:1708.02002; Clover, arXiv:2207.07885, uses gamma 2).
    Gamma 0 gives `mlm`.
    """
    if not len(tokens):
        return share_of_mean(logits.sum() * 0.0, 0)
    surprise = F.cross_entropy(at_least_float32(logits), tokens, reduction="none")
    # 1 - p, kept above 0, where the gradient is infinite for a gamma below 1.
    missing = -torch.expm1(-surprise).clamp(max=-1e-7)
    return share_of_mean((missing**gamma * surprise).mean(), len(tokens))


def lm(logits: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
    """Language modelling: mean cross-entropy of the next token over all positions that are not padding.

    It is the captioning loss of CoCa (arXiv:2205.01917), and zero if there is nothing but padding.

    Args:
        logits: [B, n, vocabulary], predicted from the tokens before each position.
        tokens: int64 [B, n], the next tokens.
        valid: Boolean [B, n], False at padding.
    """
    each = F.cross_entropy(at_least_float32(logits).flatten(0, 1), tokens.flatten(), reduction="none")
    real = valid.flatten()
    count = real.sum()
    return share_of_mean((each * real).sum() / count.clamp(min=1), count)


def mvm(prediction: Tensor, target: Tensor) -> Tensor:
    """Masked video modelling: mean squared error at the M hidden positions, both [B, M, P].

    (MAE, arXiv:2111.06377; VideoMAE, arXiv:2203.12602). The loss is zero if nothing is hidden.
    """
    if not target.numel():
        return prediction.sum() * 0.0
    return mean_squared_error(prediction, at_least_float32(target))


def mvm_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """As `mvm`, with the mean absolute error (MaskVLM, arXiv:2208.02131; VIOLETv2, arXiv:2209.01540)."""
    if not target.numel():
        return share_of_mean(prediction.sum() * 0.0, 0)
    return share_of_mean(F.l1_loss(at_least_float32(prediction), at_least_float32(target)), target.numel())


def wpa(words: Tensor, patches: Tensor, keep: Tensor, matched: Tensor) -> Tensor:
    """Word-patch alignment: (sum of the distances of true pairs - sum of those of false pairs) / P.

    (ViLT, arXiv:2102.03334; VLC, arXiv:2205.09256). Shapes are those of `workbench.transport.distance`;
    matched: Boolean [P], which pairs are true.
    """
    distance = transport.distance(words, patches, keep)
    return torch.where(matched, distance, -distance).mean()


def word_region_similarity(cosine: Tensor, keep: Tensor, temperature: float) -> Tensor:
    """Similarity of the regions of clips and the words of captions, [P]: the mean over words.

    The score of a word w is sum_r softmax_r(c_wr / temperature) c_wr over all regions r. FILIP
    (arXiv:2111.07783) takes the maximum of c_wr instead.

    Args:
        cosine: [P, T, R, L], cosines of R regions in each of T frames and L words.
        keep: Boolean [P, L], words that enter the mean; a caption without any has similarity 0.
    """
    each = at_least_float32(cosine).flatten(1, 2)  # [P, T * R, L]
    found = (each * (each / temperature).softmax(1)).sum(1)  # [P, L]
    return (found * keep).sum(1) / keep.sum(1).clamp(min=1)


def mvm_codes(logits: Tensor, codes: Tensor) -> Tensor:
    """Masked prediction of discrete codes: cross-entropy of logits [M, codes] (VIOLET, arXiv:2111.12681).

    codes: int64 [M], at the M hidden positions. The loss is zero if nothing is hidden.
    """
    return mlm(logits, codes)


@torch.no_grad()
def hard_negatives(scores: Tensor, positive: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Samples a hard negative video for each text and a hard negative text for each video.

    Negatives are sampled by similarity (ALBEF, arXiv:2107.07651): column j of row i with a probability
    proportional to softmax_j(s_ij) + 1e-4, and never if i and j belong together. A number u in [0, 1) selects
    the first column whose cumulative probability exceeds u. A row that has only positives gets its last
    column.

    Args:
        scores: [B, B], videos by texts.
        positive: Boolean [B, B], which video and text belong together.
        chance: uniform numbers [B, 2] in [0, 1), one for each text and one for each video.

    Returns:
        int64 [B], a video for each text, and int64 [B], a text for each video.
    """
    video = _drawn(scores.T, positive.T, chance[:, 0])
    return video, _drawn(scores, positive, chance[:, 1])


def _drawn(scores: Tensor, never: Tensor, chance: Tensor) -> Tensor:
    share = (at_least_float32(scores).softmax(1) + 1e-4).masked_fill(never, 0.0)
    upto = share.double().cumsum(1)
    at = chance.double()[:, None] * upto[:, -1:]
    return torch.searchsorted(upto, at, right=True)[:, 0].clamp(max=scores.shape[1] - 1)
