"""Zero-shot temporal grounding on clips with a known timeline: the segment of a clip that a query describes.

Nothing is trained for it. The similarity to a query is measured for each step of the clip. The answer is the
segment of steps for which a two-level function, higher inside than outside, fits the similarities best: the
maximum of (mean inside - mean outside) * sqrt(steps inside * steps outside), which is 0 for the whole clip.
Segments with equal scores share the answer, so a model whose steps do not differ is at chance.

A step is a step of `embed_steps` if a recipe defines it. For all other recipes that embed clips it is a
frame: the window around it is embedded, up to an eighth of the clip on either side, with frames repeated to
the number that the model reads. Nothing is measured if embeddings are untrained.

- `grounding_r1_iou30`, `50`, `70`: share of answers whose overlap with the ground truth (temporal
  intersection over union) is at least 0.3, 0.5, 0.7;
- `grounding_miou`: the mean overlap.

Baselines of each are `chance` (the mean over all segments), `prior` (the constant segment that is best for
the training clips) and `ceiling` (the best segment of whole steps, which are coarser than the ground truth).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.metrics import Metric, Queries

if TYPE_CHECKING:
    from workbench.data.store import FrameStore
    from workbench.tasks.gallery import Judged, TaskResult

FILE = "grounding.npz"
AT_LEAST = {"iou30": 0.3, "iou50": 0.5, "iou70": 0.7}
EQUAL = 1e-6
"""Largest difference of scores that count as equal, since similarities are float32."""
LABELS = {
    "miou": "mIoU of predicted segments",
    **{f"r1_{name}": f"R@1 at IoU {least}" for name, least in AT_LEAST.items()},
}
BASELINES = {
    "chance": "random segment",
    "prior": "best constant segment on the training clips",
    "ceiling": "best segment on the step grid",
}


class Moment(NamedTuple):
    """One query about one clip."""

    id: str
    """Clip id, `@`, number."""
    clip: int
    """Row of the frame store."""
    words: str
    start: float
    """Share of the clip at which it begins."""
    end: float


def _metrics(what: str, label: str) -> tuple[Metric, ...]:
    name = f"grounding_{what}"
    own = Metric(
        name=name,
        label=label,
        unit="%",
        difference="points of mIoU" if what == "miou" else "",
        low=0.0,
        high=100.0,
        queries=Queries(file=FILE, values=what, ids="id", groups="clip"),
    )
    beside = [
        Metric(name=f"{name}_{key}", label=f"{label}: {said}", unit="%", low=0.0, high=100.0, counted=True)
        for key, said in BASELINES.items()
    ]
    return own, *beside


METRICS = tuple(metric for what, label in LABELS.items() for metric in _metrics(what, label))
NEEDS = (("embed_steps", "embed_text"), ("embed_video", "embed_text"))
KNOWN = (("timeline",),)
EACH_TIME = False


def texts(store: FrameStore, split: str) -> list[str]:
    """The queries about a split's clips."""
    return [one.words for one in moments(store, np.unique(store.splits[split].clips))]


def evaluate(judged: Judged) -> TaskResult:
    from workbench.tasks.gallery import TaskResult

    part = judged.gallery
    asked = moments(part.store, part.clips)
    if not judged.embeds or not asked:
        return TaskResult(values={})
    segments, best = answers(judged, asked)
    train = moments(part.store, np.unique(part.store.splits["train"].clips))
    truth, taught = (
        np.array([(one.start, one.end) for one in some]).reshape(-1, 2) for some in (asked, train)
    )
    shared = best / best.sum(1, keepdims=True)  # [Q, C]

    values: dict[str, float] = {}
    first = segments[best.argmax(1)]
    arrays = {
        "id": np.array([one.id for one in asked]),
        "clip": np.array([part.store.clip_ids[one.clip] for one in asked]),
        "query": np.array([one.words for one in asked]),
        "start": truth[:, 0],
        "end": truth[:, 1],
        "found_start": first[:, 0],
        "found_end": first[:, 1],
    }
    fits, fits_training = (points(overlap(segments, some)) for some in (truth, taught))
    for what, table in fits.items():
        arrays[what] = (shared * table).sum(1)  # [Q]
        found = {"": arrays[what], "_chance": table, "_ceiling": table.max(1)}
        if len(taught):
            found["_prior"] = table[:, fits_training[what].mean(0).argmax()]
        values |= {f"grounding_{what}{beside}": float(each.mean()) for beside, each in found.items()}
    return TaskResult(values=values, files={FILE: arrays})


def answers(judged: Judged, asked: Sequence[Moment]) -> tuple[np.ndarray, np.ndarray]:
    """Segments of steps in shares of a clip, [C, 2], and which of them share the answer, Boolean [Q, C]."""
    part = judged.gallery
    scores = levels(similarities(judged, asked))  # [Q, C]
    steps = int(np.sqrt(2 * scores.shape[1]))  # C = S (S + 1) / 2
    edges = part.edges[:: part.length // steps]  # [S + 1]
    segments = edges[np.stack(np.triu_indices(steps + 1, 1), 1)]  # [C, 2]
    return segments, scores >= scores.max(1, keepdims=True) - EQUAL


def moments(store: FrameStore, clips: np.ndarray) -> list[Moment]:
    """All queries about clips, rows [V] of the store, clip by clip."""
    timeline = store.attributes["timeline"]
    return [
        Moment(f"{store.clip_ids[row]}@{number}", row, words, start, end)
        for row in clips.tolist()
        for number, (words, start, end) in enumerate(timeline[row])
    ]


def overlap(segments: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of segments [C, 2] with true ones [Q, 2], each a start and an end, [Q, C]."""
    (start, end), (begun, ended) = segments.T, truth.T[..., None]
    common = np.clip(np.minimum(end, ended) - np.maximum(start, begun), 0, None)
    return common / (end - start + ended - begun - common)


def points(overlaps: np.ndarray) -> dict[str, np.ndarray]:
    """Score of each segment in percent, [Q, C], by the names of metrics."""
    hits = {f"r1_{name}": np.where(overlaps >= least, 100.0, 0.0) for name, least in AT_LEAST.items()}
    return {"miou": 100 * overlaps} | hits


def levels(similarity: np.ndarray) -> np.ndarray:
    """Fit of a two-level function, higher inside than outside a segment, to similarities [Q, S]: [Q, C].

    The score of a segment of n of S steps is (mean inside - mean outside) * sqrt(n (S - n)), in the order of
    `triu_indices(S + 1, 1)`: the larger, the smaller the squared error of the two means. The whole clip has
    0.
    """
    steps = similarity.shape[1]
    start, end = np.triu_indices(steps + 1, 1)
    # Centred, so that the sum inside determines the sum outside.
    sums = np.pad(np.cumsum(similarity - similarity.mean(1, keepdims=True), 1), ((0, 0), (1, 0)))
    inside, outside = end - start, steps - (end - start)
    found: np.ndarray = (sums[:, end] - sums[:, start]) * steps / np.sqrt(inside * np.maximum(outside, 1))
    return np.where(outside > 0, found, 0.0)


def similarities(judged: Judged, asked: Sequence[Moment]) -> np.ndarray:
    """Cosine of each query and each step of its clip, float64 [Q, S]."""
    from workbench.tasks.pair_retrieval import finite

    known, number = np.unique([one.words for one in asked], return_inverse=True)
    texts = judged.saying(known.tolist()).embed_texts().double().numpy()[number]  # [Q, E]
    clips = np.searchsorted(judged.gallery.clips, [one.clip for one in asked])
    return finite(np.einsum("qse,qe->qs", embedded_steps(judged)[clips], texts))


def embedded_steps(judged: Judged) -> np.ndarray:
    """Unit vectors of the steps of all clips, float64 [V, S, E]."""
    import torch

    part = judged.gallery
    if hasattr(judged.recipe, "embed_steps"):
        with torch.no_grad():
            steps = [judged.recipe.embed_steps(judged.video(r)) for r in judged.batches(len(part.clips))]
        return torch.cat(steps).double().cpu().numpy()
    each = [judged.embed_videos(np.tile(one, (len(part.clips), 1))).double() for one in windows(part.length)]
    return torch.stack(each, 1).numpy()


def windows(frames: int) -> np.ndarray:
    """Frames that represent the window around each of T frames, int64 [T, T].

    A window extends by an eighth of the clip to either side; outside the clip its nearest frame is repeated.
    """
    reach = frames // 8
    taken = np.arange(frames) * (2 * reach + 1) // frames - reach
    return np.clip(np.arange(frames)[:, None] + taken, 0, frames - 1)
