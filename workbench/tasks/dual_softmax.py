"""Text-video retrieval re-ranked by the dual softmax of CAMoE (arXiv:2109.04290), without masking.

It is post-processing, used only if a run's `tasks` name it, and its metrics have the prefix `dsl_`: each
score depends on all queries of the split together, which no search engine has before it answers the first
one. It is not comparable with `t2v_*` and `v2t_*`.

With cosine similarities s of captions i and clips j and a scale b, text-to-video ranks for each caption

    s[i, j] * exp(b s[i, j]) / sum over captions k of exp(b s[k, j]),

so that a clip which is similar to every caption counts less; video-to-text ranks with the sum over clips. It
is the product of the similarities and a softmax in the other direction, the paper's prior, here applied only
in evaluation. Ties count against the model; of several right answers the best-ranked one counts.

Differs from the paper: the prior only re-ranks and is not trained with; the scale is fixed at 20, the inverse
of the temperature at which the contrastive recipes start, and not tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.metrics import rank_metrics_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.tasks.gallery import Judged, TaskResult

FILE, PREFIX = "dual_softmax.npz", "dsl_"
METRICS = rank_metrics_of(FILE, PREFIX, "re-ranked by dual softmax over all queries of the split")
NEEDS = (("embed_video", "embed_text"),)
EACH_TIME = False
SCALE = 20.0
"""Inverse temperature of the softmax."""


def evaluate(judged: Judged) -> TaskResult:
    from workbench.tasks.gallery import TaskResult, ranked_by, similarities

    if not judged.embeds:
        return TaskResult(values={})
    part = judged.gallery
    score = similarities(judged.embed_videos(), judged.embed_texts())
    to_video, to_text = dual_softmax(score)
    return TaskResult(*ranked_by(part, to_video, to_text, PREFIX, FILE))


def dual_softmax(score: Tensor, scale: float = SCALE) -> tuple[Tensor, Tensor]:
    """Scores for text-to-video and for video-to-text, float64 [Q, V] each.

    score: cosine similarities float32 [Q, V] of captions and clips.
    """
    exact = score.double()
    return exact * (scale * exact).softmax(0), exact * (scale * exact).softmax(1)
