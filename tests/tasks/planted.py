"""Galleries and models that are planted by hand: clips and captions know their numbers."""

from types import SimpleNamespace

import numpy as np
import torch

from workbench.recipe.batch import Layout, Text
from workbench.tasks.gallery import Gallery, Judged


def gallery(owner, frames=4):
    """Frame t of clip v has the pixels (v, t, ...); a caption's tokens are its row and its clip."""
    owner = np.asarray(owner)
    clips = int(owner.max()) + 1
    pixels = np.zeros((clips, frames, 2, 2, 3), np.uint8)
    pixels[..., 0] = np.arange(clips)[:, None, None, None]
    pixels[..., 1] = np.arange(frames)[None, :, None, None]
    tokens = torch.from_numpy(np.stack([np.arange(len(owner)), owner], 1))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Gallery(
        store=SimpleNamespace(frames=pixels),
        clips=np.arange(clips),
        owner=owner,
        clip_ids=[f"clip{v}" for v in range(clips)],
        caption_ids=[f"clip{v}#{q}" for q, v in enumerate(owner)],
        captions=[f"caption {q}" for q in range(len(owner))],
        text=Text(tokens, Layout(everywhere, tokens, everywhere)),
    )


def judged(recipe, part):
    return Judged(recipe, part)


def numbers(video):
    """The clips of frames [B, T, ...], and the times of their frames [B, T]."""
    return video[:, 0, 0, 0, 0].long(), video[:, :, 0, 0, 1].long()


class Matching:
    """Judges a pair by a table [Q, V] of captions and clips."""

    def __init__(self, table):
        self.table, self.pairs, self.orders = torch.as_tensor(table, dtype=torch.float32), 0, []

    def match(self, video, text):
        clip, times = numbers(video)
        self.pairs += len(clip)
        self.orders.append(times)
        scores = self.table[text.tokens[:, 0], clip]
        return (scores[:, None] @ torch.ones(1, 1))[:, 0]  # 2 FLOPs a pair


class Both(Matching):
    """It also embeds both sides, as given vectors."""

    def __init__(self, table, video, text):
        super().__init__(table)
        self.video, self.text = video, text

    def embed_video(self, video):
        return self.video[numbers(video)[0]]

    def embed_text(self, text):
        return self.text[text.tokens[:, 0]]


def random_vectors(count, seed, width=6):
    found = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(found, dim=1)
