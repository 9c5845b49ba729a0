"""The gallery as ranked by a run for a query, from the embeddings that the run has stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.errors import UserError
from workbench.tracking.run_dir import RunDir

if TYPE_CHECKING:
    from workbench.data.store import FrameStore

CHUNK = 1024
"""Number of queries that are scored together."""


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Unit vectors of a run's test split. They were stored in half precision."""

    video: np.ndarray
    """float32 [V, E]"""
    text: np.ndarray
    """float32 [Q, E]"""
    clips: tuple[str, ...]
    """[V], clip ids."""
    queries: tuple[str, ...]
    """[Q], caption ids."""
    captions: tuple[str, ...]
    """[Q]"""
    right: np.ndarray
    """int [Q], which of `clips` belongs to each query; of several, the first."""
    more: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """int [P, 2], further right pairs: a query and one of `clips`, see `with_shared`."""

    def right_clips(self, query: int) -> np.ndarray:
        """Which of `clips` are right for a query, int [n]."""
        return np.append(self.right[query], self.more[self.more[:, 0] == query, 1])

    def is_right_for(self, clip: int) -> np.ndarray:
        """Which queries a clip is right for, Boolean [Q]."""
        found: np.ndarray = self.right == clip
        found[self.more[self.more[:, 1] == clip, 0]] = True
        return found

    @property
    def caption_of(self) -> dict[str, str]:
        """Clip id -> its first caption."""
        pairs = zip(self.right, self.captions, strict=True)
        return {self.clips[clip]: text for clip, text in reversed(list(pairs))}


def read_embeddings(run: RunDir) -> Embeddings:
    """The embeddings in `embeddings.npz`. Raises `UserError` if the file is missing or damaged."""
    path = run.file("embeddings.npz")
    names = ("video", "text", "video_id", "text_id", "text_group", "caption")
    try:
        video, text, clips, queries, owners, captions = run.read_arrays("embeddings.npz", *names)
    except FileNotFoundError as error:
        raise UserError(
            f"the run {run.path.name} left no embeddings: it is of an earlier version, or comes from an "
            "archive, which leaves them out"
        ) from error
    row = {name: i for i, name in enumerate(clips.tolist())}
    shapes = video.ndim == text.ndim == 2 and video.shape[1] == text.shape[1]
    if not (shapes and len(video) == len(row) and len(text) == len(queries) == len(owners) == len(captions)):
        raise UserError(f"{path} is damaged: its arrays do not fit together")
    if not set(owners.tolist()) <= set(row):
        raise UserError(f"{path} is damaged: it has captions of clips that it lacks")
    return Embeddings(
        video=video.astype(np.float32),
        text=text.astype(np.float32),
        clips=tuple(row),
        queries=tuple(queries.tolist()),
        captions=tuple(captions.tolist()),
        right=np.array([row[name] for name in owners.tolist()], dtype=np.int64),
    )


def with_shared(found: Embeddings, store: FrameStore) -> Embeddings:
    """The same with all right clips of each query, where equal captions of the data are one query (see
    `FrameStore.shared`); the run's own files name only the first of them.

    store: of the data that the run was tested on.
    """
    if not store.shared:
        return found
    rows = {clip: row for row, clip in enumerate(found.clips)}
    queries = {caption: number for number, caption in enumerate(found.captions)}
    part = store.splits["test"]
    named = zip(part.captions, (store.clip_ids[i] for i in part.clips), strict=True)
    pairs = {(queries[text], rows[clip]) for text, clip in named if text in queries and clip in rows}
    more = sorted(pairs - set(enumerate(found.right.tolist())))
    return replace(found, more=np.array(more, np.int64).reshape(-1, 2))


def ranking(found: Embeddings, query: np.ndarray, right: int | np.ndarray | None = None) -> pl.DataFrame:
    """The whole gallery for one query, best first: rank (from 1), clip, score (cosine), right.

    Args:
        query: unit vector [E].
        right: row of the right clip, or rows of several, None where nobody knows; among equal scores they
            come last, as in `workbench.tasks.gallery.ranks`.
    """
    score = found.video @ query.astype(np.float32)
    is_right = np.isin(np.arange(len(score)), -1 if right is None else right)
    order = np.lexsort((is_right, -score))
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(order) + 1),
            "clip": [found.clips[i] for i in order],
            "score": score[order],
            "right": is_right[order],
        }
    )


def captions_for(found: Embeddings, clip: int) -> pl.DataFrame:
    """All captions for one clip, a row of `found.video`, best first: rank (from 1), query, caption, clip
    (whose it is; of several, the first), score (cosine), right. Among equal scores the right ones come
    last."""
    score = found.text @ found.video[clip]
    is_right = found.is_right_for(clip)
    order = np.lexsort((is_right, -score))
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(order) + 1),
            "query": [found.queries[i] for i in order],
            "caption": [found.captions[i] for i in order],
            "clip": [found.clips[found.right[i]] for i in order],
            "score": score[order],
            "right": is_right[order],
        }
    )


def differing(mine: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Attributes in which a clip differs from the right one: name -> (its value, the right value).

    Lists, such as timelines, are left out: hardly any clip shares one with another.
    """
    named = {name: value for name, value in right.items() if not isinstance(value, list)}
    return {name: (mine.get(name), value) for name, value in named.items() if mine.get(name) != value}


def confusions(
    found: Embeddings, attributes: Mapping[str, Sequence[Any]], missed: np.ndarray
) -> pl.DataFrame | None:
    """How often each attribute is wrong where the first clip of the ranking is the wrong one.

    Args:
        attributes: name -> values [V], in the order of `found.clips`.
        missed: Boolean [Q], the queries that the run answered wrongly. It knew so in full precision; the
            stored half precision decides only which wrong clip came first.

    Returns:
        attribute, wrong (of so many queries), missed (queries whose first clip is wrong), share (of these),
        chance (the share for a clip drawn at random from the others). None without attributes or misses.
        Lists are left out, see `differing`.
    """
    chunks = [_best_wrong(found, slice(i, i + CHUNK)) for i in range(0, len(found.queries), CHUNK)]
    first = np.concatenate(chunks or [np.array([], dtype=np.int64)])
    named = {n: v for n, v in attributes.items() if not any(isinstance(one, list) for one in v)}
    if not named or not missed.any():
        return None
    rows = []
    for name, values in named.items():
        _, code, count = np.unique([str(v) for v in values], return_inverse=True, return_counts=True)
        wrong = code[first[missed]] != code[found.right[missed]]
        others = len(values) - count[code[found.right[missed]]]
        chance = float((others / max(1, len(values) - 1)).mean())
        rows.append((name, int(wrong.sum()), int(missed.sum()), float(wrong.mean()), chance))
    schema = {"attribute": pl.String(), "wrong": pl.Int64(), "missed": pl.Int64(), "share": pl.Float64(),
              "chance": pl.Float64()}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row").sort("share", descending=True, maintain_order=True)


def _best_wrong(found: Embeddings, part: slice) -> np.ndarray:
    """Row of the wrong clip with the best score, for some queries."""
    score = found.text[part] @ found.video.T
    right = found.right[part]
    score[np.arange(len(right)), right] = -np.inf
    query, clip = found.more.T
    here = (query >= (part.start or 0)) & (query < (part.start or 0) + len(right))
    score[query[here] - (part.start or 0), clip[here]] = -np.inf
    return score.argmax(1)
