"""A split prepared for retrieval, a model to be evaluated on it, and the ranks of the right answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.config import DataConfig
from workbench.data.augment.crop import scaled
from workbench.data.sampling import edges, evaluated_frames, frames_of
from workbench.data.store import FrameStore
from workbench.recipe.batch import Text

BATCH = 128
"""Number of clips, captions or pairs that are encoded together."""


@dataclass(frozen=True)
class Ranks:
    """1-based rank of the right answer for each query, pessimistic on ties."""

    t2v: np.ndarray
    """int32 [Q], one per caption."""
    v2t: np.ndarray
    """int32 [V], one per clip: its best-ranked caption."""


@dataclass(frozen=True)
class Gallery:
    """A split prepared for evaluation: each clip once, each caption with the number of its clip."""

    store: FrameStore
    clips: np.ndarray
    """int64 [V], rows of the frame store."""
    owner: np.ndarray
    """int64 [Q], number of each caption's clip in `clips`; the first one if there are several."""
    clip_ids: list[str]
    caption_ids: list[str]
    captions: list[str]
    text: Text
    data: DataConfig | None = None
    """Defines which of the stored frames are used; None for all of them."""
    more: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """int64 [P, 2], further right pairs: numbers of a caption and of a clip, see `FrameStore.shared`."""

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of captions and of clips, both int64 [Q + P], of all right pairs."""
        own = np.stack([np.arange(len(self.owner)), self.owner], 1)
        found = np.concatenate([own, self.more])
        return found[:, 0], found[:, 1]

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.store.frames.shape[1] if self.data is None else self.data.frames

    @property
    def edges(self) -> np.ndarray:
        """Start of each frame and end of the last one, as shares of a clip, float64 [T + 1]."""
        return edges(self.store.frames.shape[1], self.data)

    @property
    def taken(self) -> list[int]:
        """Indices of the stored frames that are used as a clip's frames."""
        stored = self.store.frames.shape[1]
        return list(range(stored)) if self.data is None else evaluated_frames(stored, self.data)

    @property
    def owners(self) -> list[str]:
        """The clip of each caption, by its id."""
        return [self.clip_ids[i] for i in self.owner]

    def frames(self, clips: np.ndarray) -> np.ndarray:
        """uint8 [B, T, H, W, 3] of clips, given by their numbers in `clips`."""
        if self.data is None:
            return self.store.frames[self.clips[clips]]
        return scaled(frames_of(self.store.frames, self.clips[clips], self.data), self.data.size)


@dataclass(frozen=True)
class TaskResult:
    """The result of a task."""

    values: Mapping[str, float]
    """Values by the names of the task's metrics, without a split."""
    files: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """Name of a file of the run directory -> its arrays, such as the results of each query."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Costs of the evaluation by full names (`cost/...`)."""


@dataclass(frozen=True)
class Judged:
    """A model and the gallery that it is evaluated on, without masking."""

    recipe: Any
    """A recipe with the methods that the task needs."""
    gallery: Gallery
    untrained: frozenset[str] = frozenset()
    """Abilities (`workbench.recipe.base.ABILITIES`) of the recipe that are untrained."""
    device: torch.device = torch.device("cpu")
    between: Callable[[], None] = lambda: None
    """Called before each batch; an exception that it raises ends the evaluation."""
    encode: Callable[[list[str]], Text] | None = None
    """Tokens of captions that are not in the gallery."""

    def can(self, ability: str) -> bool:
        """Whether the recipe defines the method and it is trained."""
        return hasattr(self.recipe, ability) and ability not in self.untrained

    @property
    def embeds(self) -> bool:
        """Whether both sides can be embedded and the embeddings are trained."""
        return self.can("embed_video") and self.can("embed_text")

    @property
    def by_pairs(self) -> bool:
        """Whether a task must judge pairs, because embeddings are missing or untrained."""
        return not self.embeds and self.can("match")

    @property
    def scores(self) -> bool:
        """Whether clips and captions can be compared at all, by embeddings or as pairs."""
        return self.embeds or self.by_pairs

    def saying(self, captions: list[str]) -> Judged:
        """The same model and clips with other captions, none of which belongs to a clip."""
        assert self.encode is not None, "whoever judges a model has its tokenizer"
        nobody = np.full(len(captions), -1)
        part = replace(
            self.gallery,
            captions=captions,
            caption_ids=captions,
            owner=nobody,
            more=self.gallery.more[:0],
            text=self.encode(captions),
        )
        return replace(self, gallery=part)

    def batches(self, count: int) -> Iterator[np.ndarray]:
        """Numbers below `count`, in batches."""
        for start in range(0, count, BATCH):
            self.between()
            yield np.arange(start, min(start + BATCH, count))

    def video(self, clips: np.ndarray, order: np.ndarray | None = None) -> Tensor:
        """Clips uint8 [B, T, H, W, 3] on the device; `order` [B, T]: frames to use instead of 0 to T - 1."""
        frames = self.gallery.frames(clips)
        if order is not None:
            frames = np.take_along_axis(frames, order[:, :, None, None, None], axis=1)
        return torch.from_numpy(frames).to(self.device)

    def text(self, rows: np.ndarray) -> Text:
        """Captions [B, L] on the device."""
        return self.gallery.text.select(torch.from_numpy(rows)).to(self.device)

    @torch.no_grad()
    def embed_videos(self, orders: np.ndarray | None = None) -> Tensor:
        """Unit vectors of all clips [V, E], float32 on the CPU; `orders` [V, T] permutes their frames."""
        parts = [
            self.recipe.embed_video(self.video(rows, orders[rows] if orders is not None else None))
            for rows in self.batches(len(self.gallery.clips))
        ]
        return torch.cat(parts).float().cpu()

    @torch.no_grad()
    def embed_texts(self) -> Tensor:
        """Unit vectors of all captions [Q, E], float32 on the CPU."""
        parts = [self.recipe.embed_text(self.text(rows)) for rows in self.batches(len(self.gallery.captions))]
        return torch.cat(parts).float().cpu()

    @torch.no_grad()
    def match(self, clips: np.ndarray, rows: np.ndarray, orders: np.ndarray | None = None) -> np.ndarray:
        """Scores float32 [P] of pairs: `clips` and caption `rows` [P]; `orders` [V, T] permutes frames."""
        scores = []
        for pairs in self.batches(len(clips)):
            own = orders[clips[pairs]] if orders is not None else None
            scores.append(self.recipe.match(self.video(clips[pairs], own), self.text(rows[pairs])))
        return torch.cat(scores).float().cpu().numpy()


def gallery(store: FrameStore, split: str, text: Text, data: DataConfig | None = None) -> Gallery:
    """The gallery of `split`; `text` contains its captions in order.

    Equal captions of several clips (`FrameStore.shared`) are one query, for which all these clips are right.
    """
    part = store.splits[split]
    clips, owner = np.unique(part.clips, return_inverse=True)
    ids = [store.clip_ids[i] for i in clips]
    if not store.shared:
        return Gallery(store, clips, owner, ids, part.ids, part.captions, text, data)
    number = {caption: i for i, caption in enumerate(dict.fromkeys(part.captions))}
    query = np.array([number[caption] for caption in part.captions])
    _, first = np.unique(query, return_index=True)
    others = np.setdiff1d(np.arange(len(query)), first)
    return Gallery(
        store,
        clips,
        owner[first],
        ids,
        [part.ids[i] for i in first],
        list(number),
        text.select(torch.from_numpy(first)),
        data,
        more=np.stack([query[others], owner[others]], 1),
    )


def similarities(video: Tensor, text: Tensor) -> Tensor:
    """Cosine similarities float32 [Q, V] of unit vectors [V, E] and [Q, E]."""
    # In float32 the sums of equal vectors differ in the last bit between columns, which would break ties.
    return (text.double() @ video.double().T).float()


def right_pairs(owner: np.ndarray, clips: int, more: np.ndarray | None = None) -> Tensor:
    """Which clips are right for which captions, bool [Q, V]; see `Gallery.owner` and `Gallery.more`."""
    right = torch.from_numpy(owner)[:, None] == torch.arange(clips)
    if more is not None:
        right[more[:, 0], more[:, 1]] = True
    return right


def ranks(score: Tensor, owner: np.ndarray, more: np.ndarray | None = None) -> Ranks:
    """Ranks in both directions, from scores [Q, V].

    A wrong answer that scores the same as the right one counts as better (pessimistic), so a model that gives
    the same score to everything ranks last, not first. For clips with several captions the best-ranked
    caption counts, and the clip's other captions do not compete with it; the same holds for captions of
    several clips.

    Args:
        score: float32 [Q, V]; owner: [Q], the clip each caption belongs to; more: `Gallery.more`.
    """
    if not torch.isfinite(score).all():
        raise FloatingPointError("similarities are not finite: the model has diverged")
    mine = right_pairs(owner, score.shape[1], more)  # [Q, V]
    own = score.masked_fill(~mine, float("-inf"))
    t2v = 1 + ((score >= own.amax(1, keepdim=True)) & ~mine).sum(1)
    v2t = 1 + ((score >= own.amax(0)) & ~mine).sum(0)
    return Ranks(t2v.numpy().astype(np.int32), v2t.numpy().astype(np.int32))


def rank_metrics(found: Ranks) -> dict[str, float]:
    """Recall at 1, 5 and 10 in percent, median and mean rank, in both directions."""
    out: dict[str, float] = {}
    for name, rank in (("t2v", found.t2v), ("v2t", found.v2t)):
        for k in (1, 5, 10):
            out[f"{name}_r{k}"] = float(100 * (rank <= k).mean())
        out[f"{name}_medr"] = float(np.median(rank))
        out[f"{name}_meanr"] = float(rank.mean())
    return out


def ranked_by(
    part: Gallery, to_video: Tensor, to_text: Tensor, metrics: str, file: str
) -> tuple[dict[str, float], dict[str, dict[str, np.ndarray]]]:
    """Metrics and a file of ranks, for a task whose two directions have different scores.

    Args:
        to_video, to_text: [Q, V], scores of captions and clips for text-to-video and for video-to-text.
        metrics: prefix of the names of metrics and arrays, such as `dsl_`.
        file: name of the file.
    """
    found = Ranks(ranks(to_video, part.owner, part.more).t2v, ranks(to_text, part.owner, part.more).v2t)
    arrays = {
        "t2v_rank": found.t2v,
        "t2v_id": np.array(part.caption_ids),
        "t2v_group": np.array(part.owners),
        "v2t_rank": found.v2t,
        "v2t_id": np.array(part.clip_ids),
    }
    values = {metrics + name: value for name, value in rank_metrics(found).items()}
    return values, {file: {metrics + name: array for name, array in arrays.items()}}
