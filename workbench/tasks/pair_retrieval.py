"""Retrieval by a model that judges pairs together (`match`), without masking, in both directions.

There are two protocols, which the names of metrics give:

- `rerank20_*`: a model that also embeds both sides selects the 20 best candidates of each query by cosine
  similarity; `match` ranks these, and a right answer that is not among them keeps its rank (as in ALBEF,
  arXiv:2107.07651, with another number of candidates). Only one of several right answers is judged.
- `gallery100_*`: a model without trained embeddings judges all pairs of a fixed gallery of 100 clips (fewer
  if the split has fewer), each with its first caption, sampled once with a fixed seed.

Nothing is measured if the last stage has not trained `match` (the shared alignment changes the encoders below
it). Ties count against the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import Metric, rank_metrics_of

if TYPE_CHECKING:
    from workbench.tasks.gallery import Judged, Ranks, TaskResult

CANDIDATES, GALLERY = 20, 100
SEED = 20_221_202
"""Seed of the fixed gallery."""
FILE = "pair_retrieval.npz"
METRICS = (
    *rank_metrics_of(FILE, "rerank20_", f"top {CANDIDATES} re-ranked by the matching head"),
    *rank_metrics_of(FILE, "gallery100_", f"matching head, gallery of {GALLERY}"),
    Metric(name="cost/pair_retrieval_pairs", label="pairs judged in an evaluation", direction="minimize"),
    Metric(
        name="cost/pair_retrieval_pflops",
        label="evaluation by pairs",
        unit="PFLOPs",
        direction="minimize",
    ),
)
NEEDS = (("match",),)
EACH_TIME = False


def evaluate(judged: Judged) -> TaskResult:
    from torch.utils.flop_counter import FlopCounterMode

    from workbench.tasks.gallery import TaskResult, rank_metrics

    if not judged.can("match"):
        return TaskResult(values={})
    counter = FlopCounterMode(display=False)
    with counter:
        if judged.embeds:
            prefix, (found, ids, owners, pairs) = "rerank20_", _reranked(judged)
        else:
            prefix, (found, ids, owners, pairs) = "gallery100_", _gallery(judged)
    arrays = {
        "t2v_rank": found.t2v,
        "t2v_id": ids[0],
        "t2v_group": owners,
        "v2t_rank": found.v2t,
        "v2t_id": ids[1],
    }
    return TaskResult(
        values={prefix + name: value for name, value in rank_metrics(found).items()},
        files={FILE: {prefix + name: array for name, array in arrays.items()}},
        costs={
            "cost/pair_retrieval_pairs": float(pairs),
            "cost/pair_retrieval_pflops": counter.get_total_flops() / 1e15,
        },
    )


_Result = tuple["Ranks", tuple[np.ndarray, np.ndarray], np.ndarray, int]
"""Ranks, ids of captions and clips, the clip of each caption, and the number of judged pairs."""


def _reranked(judged: Judged) -> _Result:
    import torch

    from workbench.tasks.gallery import Ranks, ranks, right_pairs, similarities

    part = judged.gallery
    score = similarities(judged.embed_videos(), judged.embed_texts())  # [Q, V]
    before = ranks(score, part.owner, part.more)
    mine = right_pairs(part.owner, score.shape[1], part.more)  # [Q, V]
    own, others = score.masked_fill(~mine, float("-inf")), score.masked_fill(mine, float("-inf"))

    # The best wrong clips of each caption.
    found = others.topk(min(CANDIDATES - 1, score.shape[1] - 1), dim=1)
    clips = torch.cat([own.argmax(1, keepdim=True), found.indices], 1).numpy()  # [Q, 1 + c]
    rows = np.broadcast_to(np.arange(len(clips))[:, None], clips.shape)
    t2v = _places(judged, clips, rows, np.isfinite(found.values.numpy()), before.t2v)

    # The best wrong captions of each clip.
    found = others.topk(min(CANDIDATES - 1, len(score) - 1), dim=0)
    rows_of = torch.cat([own.argmax(0, keepdim=True), found.indices]).T.numpy()  # [V, 1 + c]
    clips_of = np.broadcast_to(np.arange(len(rows_of))[:, None], rows_of.shape)
    v2t = _places(judged, clips_of, rows_of, np.isfinite(found.values.T.numpy()), before.v2t)
    ids = np.array(part.caption_ids), np.array(part.clip_ids)
    return Ranks(t2v, v2t), ids, np.array(part.owners), clips.size + clips_of.size


def _places(
    judged: Judged, clips: np.ndarray, rows: np.ndarray, real: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """Ranks int32 [Q] of the first column's pairs among all columns, if they were candidates.

    real: [Q, c], False where there are fewer wrong answers; before: [Q], ranks by cosine similarity.
    """
    scores = finite(judged.match(clips.ravel(), rows.ravel())).reshape(clips.shape)
    place = 1 + ((scores[:, 1:] >= scores[:, :1]) & real).sum(1)
    return np.where(before <= CANDIDATES, place, before).astype(np.int32)


def _gallery(judged: Judged) -> _Result:
    import torch

    from workbench.tasks.gallery import ranks

    part = judged.gallery
    chosen, rows = fixed_gallery(part.owner)
    score = all_pairs(judged, chosen, rows)
    ids = np.array(part.caption_ids)[rows], np.array(part.clip_ids)[chosen]
    return ranks(torch.from_numpy(score), np.arange(len(chosen))), ids, ids[1], score.size


def fixed_gallery(owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the gallery's clips [G], ascending, and of the first caption [G] of each; owner: [Q].

    Of several clips with the same caption (`FrameStore.shared`) only the first may be sampled.
    """
    clips, first = np.unique(owner, return_index=True)
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(clips))[:GALLERY])
    return clips[chosen], first[chosen]


def all_pairs(
    judged: Judged, clips: np.ndarray, rows: np.ndarray, orders: np.ndarray | None = None
) -> np.ndarray:
    """Scores float32 [G, G] of each caption (row) with each clip; `orders` [V, T] permutes frames."""
    pairs = np.meshgrid(clips, rows)  # both [G captions, G clips]
    return finite(judged.match(pairs[0].ravel(), pairs[1].ravel(), orders)).reshape(len(rows), len(clips))


def finite(scores: np.ndarray) -> np.ndarray:
    """The scores unchanged. Raises `FloatingPointError` if one is not a number."""
    if not np.isfinite(scores).all():
        raise FloatingPointError("scores of pairs are not finite: the model has diverged")
    return scores
