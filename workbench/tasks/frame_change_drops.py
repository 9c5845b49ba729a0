"""Drop of R@1 when the frames of every clip are changed; shared by the tasks that measure it.

The drop of a query is its hit minus its share of hits over all changes, so that its mean has an interval over
queries, resampled by clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import SIDES, Metric, Queries

if TYPE_CHECKING:
    from workbench.tasks.gallery import Judged, Ranks, TaskResult


def drop_metrics(file: str, name: str, drop: str, how: str, by: str) -> tuple[Metric, ...]:
    """Metrics in both directions: R@1 with changed frames, its drop, and the ends of the drop's interval.

    Args: file: file of the run directory that only these metrics use. name, drop: prefixes of the metrics'
        names, before `_t2v_r1`. how, by: the change in words, as in "frames shuffled" and "shuffling frames".
    """
    found: list[Metric] = []
    for side, words in SIDES.items():
        queries = Queries(
            file=file, values=f"{side}_drop", ids=f"{side}_id", groups="t2v_group" if side == "t2v" else ""
        )
        kept = Metric(name=f"{name}_{side}_r1", label=f"{words} R@1, {how}", unit="%", low=0.0, high=100.0)
        lost = Metric(
            name=f"{drop}_{side}_r1",
            label=f"{words} R@1 lost by {by}",
            unit="points",
            difference="points of R@1",
            low=-100.0,
            high=100.0,
            queries=queries,
        )
        low = replace(lost, name=f"{lost.name}_low", label=f"{lost.label}, lower end", queries=None)
        high = replace(lost, name=f"{lost.name}_high", label=f"{lost.label}, upper end", queries=None)
        found += [kept, lost, low, high]
    return tuple(found)


def drops(judged: Judged, changes: Sequence[np.ndarray], file: str, name: str, drop: str) -> TaskResult:
    """The metrics of `drop_metrics`; each of `changes` [V, T] gives the frames of the clips to use.

    The result is empty if neither embeddings nor `match` are trained.
    """
    from workbench.stats import summarise
    from workbench.tasks.gallery import TaskResult

    if not judged.scores:
        return TaskResult(values={})
    (plain, *changed), ids, owners = _ranked(judged, [None, *changes])
    values: dict[str, float] = {}
    arrays = {"t2v_id": ids[0], "t2v_group": owners, "v2t_id": ids[1]}
    for side in SIDES:
        hits = 100.0 * np.mean([getattr(found, side) == 1 for found in changed], axis=0)  # [Q]
        lost = 100.0 * (getattr(plain, side) == 1) - hits
        interval = summarise({0: lost}, list(owners) if side == "t2v" else None).interval
        values[f"{name}_{side}_r1"] = float(hits.mean())
        values[f"{drop}_{side}_r1"] = float(lost.mean())
        if interval is not None:  # there is none for a single clip
            values[f"{drop}_{side}_r1_low"] = interval.low
            values[f"{drop}_{side}_r1_high"] = interval.high
        arrays[f"{side}_drop"] = lost
    return TaskResult(values=values, files={file: arrays})


def _ranked(
    judged: Judged, orders: Sequence[np.ndarray | None]
) -> tuple[list[Ranks], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Ranks for each of `orders`, ids of captions and clips, and the clip of each caption.

    Ranks are by embeddings if they are trained, else by judged pairs of the fixed gallery.
    """
    import torch

    from workbench.tasks.gallery import ranks, similarities
    from workbench.tasks.pair_retrieval import all_pairs, fixed_gallery

    part = judged.gallery
    if judged.by_pairs:
        text, (chosen, rows), more = None, fixed_gallery(part.owner), None
    else:
        text, more = judged.embed_texts(), part.more
        chosen, rows = np.arange(len(part.clips)), np.arange(len(part.owner))

    def score(order: np.ndarray | None) -> torch.Tensor:
        if text is None:
            return torch.from_numpy(all_pairs(judged, chosen, rows, order))
        return similarities(judged.embed_videos(order), text)

    right = np.searchsorted(chosen, part.owner[rows])
    ids = np.array(part.caption_ids)[rows], np.array(part.clip_ids)[chosen]
    return [ranks(score(order), right, more) for order in orders], ids, np.array(part.owners)[rows]
