"""What training reads beside each clip: its captions, or questions about it with their answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.data.questions import about, check_known
from workbench.data.store import FrameStore, Split

if TYPE_CHECKING:
    from workbench.config import DataConfig


def with_training_texts(store: FrameStore, data: DataConfig) -> FrameStore:
    """The same clips, whose training texts are those of `data.text`; frames are shared.

    Of questions a drawn clip has one of each kind, as "what colour is the box red". Raises `UserError` where
    the store knows of none.
    """
    if data.text == "captions":
        return store
    clips = np.unique(store.splits["train"].clips)
    asked = about(store, clips)
    row = {store.clip_ids[clip]: clip for clip in clips.tolist()}
    split = Split(
        clips=np.array([row[one.clip] for one in asked], np.int64),
        captions=[f"{one.text} {one.answer}" for one in asked],
        ids=[one.id for one in asked],
        groups=[one.clip for one in asked],
    )
    return replace(store, splits=store.splits | {"train": split})


def check(data: DataConfig, known: Collection[str]) -> None:
    """Refuses questions where `known`, the names of what is known of every clip, are too few."""
    if data.text == "questions":
        check_known(data.name, known)
