"""The shuffling test: the drop of R@1 when the frames of every clip are in random order.

A model that does not use the order of frames loses nothing. Each clip gets its own permutation; there are ten
draws for a model that embeds both sides, three for one that judges pairs (on the fixed gallery of
`pair_retrieval`). The drop of a query is its hit minus its share of hits over the draws, so that its mean has
an interval over queries, resampled by clip. Nothing is measured if neither embeddings nor `match` are
trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.tasks.frame_change_drops import drop_metrics, drops

if TYPE_CHECKING:
    from workbench.tasks.gallery import Judged, TaskResult

EMBEDDED, JUDGED = 10, 3
"""Number of draws for embeddings and for pairs."""
FILE, NAME, DROP = "shuffling.npz", "shuffled", "shuffle_drop"
METRICS = drop_metrics(FILE, NAME, DROP, "frames shuffled", "shuffling frames")
NEEDS = (("embed_video", "embed_text"), ("match",))
EACH_TIME = False


def evaluate(judged: Judged) -> TaskResult:
    shape = len(judged.gallery.clips), judged.gallery.length
    draws = JUDGED if judged.by_pairs else EMBEDDED
    return drops(judged, [orders(*shape, draw) for draw in range(draws)], FILE, NAME, DROP)


def orders(clips: int, frames: int, draw: int) -> np.ndarray:
    """A permutation of the frames of each clip, int64 [V, T], which depends only on the draw's number."""
    return np.random.default_rng([draw, clips, frames]).random((clips, frames)).argsort(1)
