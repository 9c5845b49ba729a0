"""The shuffling test: how much of R@1 is lost when the frames of every clip are put in random order.

A model that does not use the order of frames loses nothing. Each clip gets its own permutation; ten draws for
a model that embeds both sides, three for one that judges pairs (on the fixed gallery of `pair_retrieval`).
The drop of a query is its hit minus its share of hits over the draws, so that its mean has an interval over
queries, resampled by clip.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import SIDES, Metric, Queries

if TYPE_CHECKING:
    from workbench.tasks.gallery import Found, Judged, Ranks

EMBEDDED, JUDGED = 10, 3
"""Draws for embeddings and for pairs."""
FILE = "shuffling.npz"


def _metrics(side: str) -> tuple[Metric, ...]:
    queries = Queries(
        file=FILE, values=f"{side}_drop", ids=f"{side}_id", groups="t2v_group" if side == "t2v" else ""
    )
    shuffled = Metric(
        name=f"shuffled_{side}_r1",
        label=f"{SIDES[side]} R@1, frames shuffled",
        unit="%",
        low=0.0,
        high=100.0,
    )
    drop = Metric(
        name=f"shuffle_drop_{side}_r1",
        label=f"{SIDES[side]} R@1 lost by shuffling frames",
        unit="points",
        difference="points of R@1",
        low=-100.0,
        high=100.0,
        queries=queries,
    )
    low = replace(drop, name=f"{drop.name}_low", label=f"{drop.label}, lower end", queries=None)
    high = replace(drop, name=f"{drop.name}_high", label=f"{drop.label}, upper end", queries=None)
    return shuffled, drop, low, high


METRICS = (*_metrics("t2v"), *_metrics("v2t"))
NEEDS = (("embed_video", "embed_text"), ("match",))
EACH_TIME = False


def evaluate(judged: Judged) -> Found:
    from workbench.stats import summarise
    from workbench.tasks.gallery import Found

    plain, shuffled, ids, owners = _result(judged)
    values: dict[str, float] = {}
    arrays = {"t2v_id": ids[0], "t2v_group": owners, "v2t_id": ids[1]}
    for side in SIDES:
        hits = 100.0 * np.mean([getattr(found, side) == 1 for found in shuffled], axis=0)  # [Q]
        drop = 100.0 * (getattr(plain, side) == 1) - hits
        interval = summarise({0: drop}, list(owners) if side == "t2v" else None).interval
        values[f"shuffled_{side}_r1"] = float(hits.mean())
        values[f"shuffle_drop_{side}_r1"] = float(drop.mean())
        if interval is not None:  # a single clip has none
            values[f"shuffle_drop_{side}_r1_low"] = interval.low
            values[f"shuffle_drop_{side}_r1_high"] = interval.high
        arrays[f"{side}_drop"] = drop
    return Found(values=values, files={FILE: arrays})


def orders(clips: int, frames: int, draw: int) -> np.ndarray:
    """A permutation of the frames of each clip, int64 [V, T], a function of the draw's number alone."""
    return np.random.default_rng([draw, clips, frames]).random((clips, frames)).argsort(1)


_Result = tuple["Ranks", list["Ranks"], tuple[np.ndarray, np.ndarray], np.ndarray]
"""Ranks as they are and of each draw, ids of captions and clips, the clip of each caption."""


def _result(judged: Judged) -> _Result:
    """By embeddings where they mean something, else by pairs where the model judges them."""
    pairs = not judged.embeds and hasattr(judged.recipe, "match")
    return (_judged if pairs else _embedded)(judged)


def _embedded(judged: Judged) -> _Result:
    from workbench.tasks.gallery import ranks, similarities

    part = judged.gallery
    text = judged.embed_texts()
    plain = ranks(similarities(judged.embed_videos(), text), part.owner)
    shape = len(part.clips), part.length
    shuffled = [
        ranks(similarities(judged.embed_videos(orders(*shape, draw)), text), part.owner)
        for draw in range(EMBEDDED)
    ]
    ids = np.array(part.caption_ids), np.array(part.clip_ids)
    return plain, shuffled, ids, np.array(part.owners)


def _judged(judged: Judged) -> _Result:
    import torch

    from workbench.tasks.gallery import ranks
    from workbench.tasks.pair_retrieval import all_pairs, fixed_gallery

    part = judged.gallery
    chosen, rows = fixed_gallery(part.owner, len(part.clips))
    right = np.arange(len(chosen))
    shape = len(part.clips), part.length
    plain = ranks(torch.from_numpy(all_pairs(judged, chosen, rows)), right)
    shuffled = [
        ranks(torch.from_numpy(all_pairs(judged, chosen, rows, orders(*shape, draw))), right)
        for draw in range(JUDGED)
    ]
    ids = np.array(part.caption_ids)[rows], np.array(part.clip_ids)[chosen]
    return plain, shuffled, ids, ids[1]
