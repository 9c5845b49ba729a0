"""Questions about clips: generated from the contents of synthetic clips, or from a benchmark.

Those of a benchmark are attributes of its clips: `questions`, pairs of a question and its answer in plain
words, or `choices`, captions with the number of the right one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np

from workbench.data.moving_shapes import questions as drawn
from workbench.data.moving_shapes.questions import Question
from workbench.data.store import FrameStore
from workbench.errors import UserError

KNOWN = (drawn.KNOWN, ("questions",), ("choices",))
"""Alternatives of the attributes that clips need for questions."""
MOST = 1500
"""Number of candidate answers, the commonest of the training questions, as is usual for MSRVTT-QA."""


def about(store: FrameStore, rows: np.ndarray) -> list[Question]:
    """The questions about clips, rows [V] of the store, clip by clip.

    Those of a benchmark have no kind; open ones no options, choices no text. Raises `UserError` if the store
    has none.
    """
    if not {"questions", "choices"} & set(store.attributes):
        return drawn.about(store, rows)
    found: list[Question] = []
    for row in rows.tolist():
        clip = store.clip_ids[row]
        asked: list[tuple[str, str, tuple[str, ...]]] = [
            (text, answer, ()) for text, answer in _of(store, "questions", row)
        ]
        asked += [("", options[right], tuple(options)) for options, right in _of(store, "choices", row)]
        found += [
            Question(f"{clip}#{number}", clip, "", text, answer, options, options)
            for number, (text, answer, options) in enumerate(asked)
        ]
    return found


def answers(store: FrameStore) -> tuple[str, ...]:
    """All answers to open questions about a store: those of synthetic clips, or the commonest in training."""
    if "questions" not in store.attributes:
        return drawn.EVERY
    clips = np.unique(store.splits["train"].clips)
    counts = Counter(answer for row in clips.tolist() for _, answer in _of(store, "questions", row))
    return tuple(answer for answer, _ in counts.most_common(MOST))


def check_known(name: str, known: Collection[str]) -> None:
    """Raises `UserError` if the attributes of every clip, `known`, do not suffice for questions."""
    if "questions" not in known and not set(drawn.KNOWN) <= set(known):
        raise UserError(
            f"data.text='questions' does not go with {name}: questions about each clip must be known, or its "
            f"{', '.join(drawn.KNOWN)}, as in moving_shapes"
        )


def _of(store: FrameStore, what: str, row: int) -> list[Any]:
    values = store.attributes.get(what)
    return values[row] or [] if values is not None else []
