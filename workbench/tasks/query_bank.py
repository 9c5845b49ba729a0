"""Text-video retrieval re-ranked by a bank of queries: QB-Norm with the dynamic inverted softmax
(arXiv:2112.12777), unmasked.

It is post-processing, used only if a run's `tasks` name it, and its metrics have the prefix `qbnorm_`. Other
queries of the split have no influence, but the bank comes from the training split of the evaluated data: for
data that a model has not been trained on, the result is not zero-shot. It is not comparable
with `t2v_*` and `v2t_*`.

With cosine similarities s(q, j) of a query and a gallery item, bank queries b and a scale beta, the inverted
softmax is

    exp(beta s(q, j)) / sum over b of exp(beta s(b, j)),

which lowers items that are close to many queries (hubs). It is dynamic: the activation set contains every
item that is the most similar one of some bank query, and only a query whose own most similar item is in that
set is re-ranked, the others keep their similarities. beta is 20 and one item of each bank query is activated,
as in the authors' code. The bank of text-to-video are captions of the training split, that of video-to-text
its
clips: at most 5,000 of each, sampled once with a fixed seed. Ties count against the model; of several right
answers the best-ranked one counts.

Differs from the paper: the bank has at most 5,000 queries; video-to-text uses clips of the training split in
the same way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import rank_metrics_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.tasks.gallery import Judged, TaskResult

FILE, PREFIX = "query_bank.npz", "qbnorm_"
METRICS = rank_metrics_of(FILE, PREFIX, "re-ranked by a bank of training queries")
NEEDS = (("embed_video", "embed_text"),)
EACH_TIME = False
BETA = 20.0
"""Inverse temperature of the softmax."""
MOST, SEED = 5000, 20_211_223
"""Maximum number of queries of a bank, and the seed of their sample."""


def evaluate(judged: Judged) -> TaskResult:
    from workbench.tasks.gallery import TaskResult, ranked_by, similarities

    if not judged.embeds:
        return TaskResult(values={})
    part, train = judged.gallery, judged.gallery.store.splits["train"]
    video, text = judged.embed_videos(), judged.embed_texts()
    score = similarities(video, text)
    captions = [train.captions[i] for i in _some(len(train))]
    clips = np.unique(train.clips)
    clips = clips[_some(len(clips))]
    bank_text = judged.saying(captions).embed_texts()
    bank_video = replace(judged, gallery=replace(part, clips=clips)).embed_videos()
    to_video = dynamic_inverted_softmax(score, similarities(video, bank_text))
    to_text = dynamic_inverted_softmax(score.T, similarities(bank_video, text).T).T
    return TaskResult(*ranked_by(part, to_video, to_text, PREFIX, FILE))


def dynamic_inverted_softmax(score: Tensor, bank: Tensor, beta: float = BETA) -> Tensor:
    """Scores float64 [Q, V] whose order within a row is that of QB-Norm.

    The logarithm of the inverted softmax is used, so that nothing overflows; rows are not comparable with
    each other.

    Args:
        score: cosine similarities float32 [Q, V] of queries and gallery items.
        bank: float32 [B, V], similarities of the bank's queries and the same items.
    """
    import torch

    exact, hubs = score.double(), beta * bank.double()
    activated = torch.zeros(score.shape[1], dtype=torch.bool)
    activated[hubs.argmax(1)] = True
    inverted = beta * exact - hubs.logsumexp(0)
    return torch.where(activated[exact.argmax(1)][:, None], inverted, exact)


def _some(count: int) -> np.ndarray:
    """All numbers below `count`, or a sample of `MOST`, ascending."""
    return np.sort(np.random.default_rng(SEED).permutation(count)[:MOST])
