"""Video-to-text retrieval of the set of captions of each clip, without masking.

The similarity of a set of captions to a clip is that of its most similar caption, and each clip ranks the
sets of all clips (the convention of CLIP4Clip for MSVD, arXiv:2104.08860). `v2t_*` of the task `retrieval`
rank single captions instead, so that two captions of one wrong clip count twice: R@1 is the same, R@5 and
R@10 are higher here. Ties count against the model. Text-to-video is the same in both conventions: every
caption is a query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import rank_metrics_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.tasks.gallery import Judged, TaskResult

FILE, PREFIX = "caption_sets.npz", "sets_"
METRICS = tuple(
    metric
    for metric in rank_metrics_of(FILE, PREFIX, "all captions of a clip as one")
    if metric.name.startswith(f"{PREFIX}v2t")
)
NEEDS = (("embed_video", "embed_text"),)
EACH_TIME = False


def evaluate(judged: Judged) -> TaskResult:
    from workbench.tasks.gallery import TaskResult, similarities

    if not judged.embeds:
        return TaskResult(values={})
    part = judged.gallery
    ranks = set_ranks(similarities(judged.embed_videos(), judged.embed_texts()), *part.pairs)
    name = f"{PREFIX}v2t"
    values = {f"{name}_r{k}": float(100 * (ranks <= k).mean()) for k in (1, 5, 10)}
    values |= {f"{name}_medr": float(np.median(ranks)), f"{name}_meanr": float(ranks.mean())}
    return TaskResult(values, {FILE: {f"{name}_rank": ranks, f"{name}_id": np.array(part.clip_ids)}})


def set_ranks(score: Tensor, captions: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """1-based rank int32 [V] of each clip's own set of captions among the sets of all clips.

    Args:
        score: float32 [Q, V]; captions, clips: both [P], the numbers of all right pairs.
    """
    import torch

    if not torch.isfinite(score).all():
        raise FloatingPointError("similarities are not finite: the model has diverged")
    count = score.shape[1]
    best = torch.full((count, count), float("-inf"), dtype=score.dtype)  # [set of a clip, clip]
    index = torch.from_numpy(clips)[:, None].expand(-1, count)
    best.scatter_reduce_(0, index, score[torch.from_numpy(captions)], "amax")
    return (best >= best.diagonal()).sum(0).numpy().astype(np.int32)
