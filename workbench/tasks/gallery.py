"""A split ready to be searched: embeddings of its two sides, and the ranks of the right answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.data.store import FrameStore
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Text


@dataclass(frozen=True)
class Ranks:
    """1-based rank of the right answer for each query, pessimistic on ties."""

    t2v: np.ndarray
    """int32 [Q], one per caption."""
    v2t: np.ndarray
    """int32 [V], one per clip: its best-ranked caption."""


@dataclass(frozen=True)
class Gallery:
    """A split ready to be evaluated: each clip once, each caption with the number of its clip."""

    clips: np.ndarray
    """int64 [V], rows of the frame store."""
    owner: np.ndarray
    """int64 [Q], number of each caption's clip in `clips`."""
    clip_ids: list[str]
    caption_ids: list[str]
    captions: list[str]
    text: Text


def gallery(store: FrameStore, split: str, text: Text) -> Gallery:
    """The gallery of `split`; `text` holds its captions in order."""
    part = store.splits[split]
    clips, owner = np.unique(part.clips, return_inverse=True)
    ids = [store.clip_ids[i] for i in clips]
    return Gallery(clips, owner, ids, part.ids, part.captions, text)


@torch.no_grad()
def embed(
    recipe: BaseRecipe,
    store: FrameStore,
    part: Gallery,
    *,
    device: torch.device,
    batch: int = 128,
    between: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Unit vectors of all clips [V, E] and captions [Q, E], float32 on the CPU.

    `between` is called before each batch; what it raises ends the embedding.
    """
    video, text = [], []
    for i in range(0, len(part.clips), batch):
        between()
        clips = torch.from_numpy(store.frames[part.clips[i : i + batch]])
        video.append(recipe.embed_video(clips.to(device)))
    for i in range(0, len(part.captions), batch):
        between()
        text.append(recipe.embed_text(part.text.select(slice(i, i + batch)).to(device)))
    return torch.cat(video).float().cpu(), torch.cat(text).float().cpu()


def ranks(video: Tensor, text: Tensor, owner: np.ndarray) -> Ranks:
    """Ranks in both directions, by cosine similarity.

    A wrong answer that scores the same as the right one counts as better (pessimistic), so a model that
    gives one score to everything ranks last, not first. For clips with several captions the best-ranked
    caption counts, and the clip's other captions do not compete with it.

    Args:
        video: [V, E]; text: [Q, E]; owner: [Q], the clip each caption belongs to.
    """
    # In float32 the sums of equal vectors differ in the last bit from column to column, and ties are broken.
    score = (text.double() @ video.double().T).float()  # [Q, V]
    if not torch.isfinite(score).all():
        raise FloatingPointError("similarities are not finite: the model has diverged")
    index = torch.from_numpy(owner)
    right = score.gather(1, index[:, None])
    t2v = (score >= right).sum(1)
    mine = index[:, None] == torch.arange(len(video))  # [Q, V]
    best = score.masked_fill(~mine, float("-inf")).amax(0)  # [V]
    v2t = 1 + ((score >= best) & ~mine).sum(0)
    return Ranks(t2v.numpy().astype(np.int32), v2t.numpy().astype(np.int32))


def metrics(found: Ranks) -> dict[str, float]:
    """Recall at 1, 5, 10 in percent, median and mean rank, in both directions."""
    out: dict[str, float] = {}
    for name, rank in (("t2v", found.t2v), ("v2t", found.v2t)):
        for k in (1, 5, 10):
            out[f"{name}_r{k}"] = float(100 * (rank <= k).mean())
        out[f"{name}_medr"] = float(np.median(rank))
        out[f"{name}_meanr"] = float(rank.mean())
    return out
