"""Training texts: the captions of clips, or questions about them with their answers."""

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
    """The store with the training texts of `data.text`; frames are shared.

    A synthetic clip has one question of each kind, such as "what colour is the box red". Raises `UserError`
    if the store has no questions.
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
    """Raises `UserError` if the attributes of every clip, `known`, do not suffice for questions."""
    if data.text == "questions":
        check_known(data.name, known)
