"""Text-video retrieval without masking: recall, median and mean rank in both directions.

Protocol: every caption searches all clips of the split and every clip all captions, by cosine similarity.
Ties count against the model. For a clip with several captions the best-ranked one counts, and for a caption
with several clips (`FrameStore.shared`) the best-ranked clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import rank_metrics_of

if TYPE_CHECKING:
    from workbench.tasks.gallery import Judged, TaskResult

METRICS = rank_metrics_of("ranks.npz")
NEEDS = (("embed_video", "embed_text"),)
EACH_TIME = True


def evaluate(judged: Judged) -> TaskResult:
    """Ranks of every query, and the embeddings of both sides in half precision."""
    from workbench.tasks.gallery import TaskResult, rank_metrics, ranks, similarities

    part = judged.gallery
    video, text = judged.embed_videos(), judged.embed_texts()
    found = ranks(similarities(video, text), part.owner, part.more)
    names = {"video_id": np.array(part.clip_ids), "text_id": np.array(part.caption_ids)}
    return TaskResult(
        values=rank_metrics(found),
        files={
            "ranks.npz": {
                "t2v_rank": found.t2v,
                "t2v_id": names["text_id"],
                "t2v_group": np.array(part.owners),
                "v2t_rank": found.v2t,
                "v2t_id": names["video_id"],
            },
            "embeddings.npz": {
                "video": video.half().numpy(),
                "text": text.half().numpy(),
                **names,
                "text_group": np.array(part.owners),
                "caption": np.array(part.captions),
            },
        },
    )
