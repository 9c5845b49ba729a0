"""Clips of which it is known what they show, as planted galleries and as frame stores of noise."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import planted
import torch
from small import FRAMES, SIZE

from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, say
from workbench.data.store import FrameStore, Split
from workbench.recipe.batch import Layout, Text


def scenes(count, seed=0):
    """Combinations drawn from all, none twice."""
    every = world.combinations()
    return [every[i] for i in np.random.default_rng(seed).permutation(len(every))[:count]]


def caption(parts, number=0):
    """One of the captions of what a clip shows."""
    rng = np.random.default_rng(number)
    words = {slot: int(rng.integers(len(WORDS[slot][parts[slot]]))) for slot in WORDS}
    return say(int(rng.integers(3)), parts, words)


class Words:
    """A tokenizer whose tokens are the numbers of all texts that it was ever given."""

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        tokens = torch.arange(len(self.texts), len(self.texts) + len(texts))[:, None]
        self.texts += texts
        everywhere = torch.ones_like(tokens, dtype=torch.bool)
        return Text(tokens, Layout(everywhere, tokens, everywhere))

    def read(self, text):
        """The texts of a batch [B, 1]."""
        return [self.texts[number] for number in text.tokens[:, 0].tolist()]


def gallery(shown, train=60):
    """Clip v of the gallery shows scene v; behind them stand the training clips."""
    part = planted.gallery(np.arange(len(shown)))
    every = [*shown, *scenes(train, seed=1)]
    ids = [*part.clip_ids, *(f"train{i}" for i in range(train))]
    behind = np.arange(len(shown), len(every))
    captions = [caption(parts, i) for i, parts in enumerate(every)]
    store = SimpleNamespace(
        name="planted",
        frames=part.store.frames,
        clip_ids=ids,
        attributes={slot: [parts[slot] for parts in every] for slot in WORDS},
        splits={"train": Split(behind, [captions[i] for i in behind], ids[len(shown) :], ids[len(shown) :])},
    )
    return replace(part, store=store, captions=captions[: len(shown)])


def known(store, path):
    """The store of random clips as one that knows what they show, with captions that say it."""
    shown = scenes(len(store.clip_ids))
    record = json.loads((store.path / "store.json").read_text())
    for clip, parts in zip(record["clips"], shown, strict=True):
        clip["attributes"], clip["captions"] = parts, [caption(parts)]
    path.mkdir()
    (path / "frames.npy").symlink_to(store.path / "frames.npy")
    (path / "store.json").write_text(json.dumps(record))
    found = FrameStore.open(path)
    assert found.frames.shape[1:3] == (FRAMES, SIZE)
    return found
