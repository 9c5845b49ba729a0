"""What training reads beside each clip: its captions, or questions about it with their answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.data.moving_shapes import questions
from workbench.data.store import FrameStore, Split
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig


def told(store: FrameStore, data: DataConfig) -> FrameStore:
    """The same clips, whose training texts are those of `data.text`; frames are shared.

    Of questions a clip has one of each kind, as "what colour is the box red". Raises `UserError` where the
    store does not know what its clips show.
    """
    if data.text == "captions":
        return store
    clips = np.unique(store.splits["train"].clips)
    asked = questions.about(store, clips)
    split = Split(
        clips=clips.repeat(len(questions.KINDS)),
        captions=[f"{one.text} {one.answer}" for one in asked],
        ids=[one.id for one in asked],
        groups=[one.clip for one in asked],
    )
    return replace(store, splits=store.splits | {"train": split})


def check(data: DataConfig, known: Collection[str]) -> None:
    """Refuses questions where `known`, the names of what is known of every clip, are too few."""
    if data.text == "questions" and not set(questions.KNOWN) <= set(known):
        raise UserError(f"data.text='questions' does not go with {data.name}: {questions.NEEDED}")
