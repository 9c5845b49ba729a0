"""What is known of the clips of a frame store beside their pixels, where they were drawn and not filmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Truth:
    """Of one frame store."""

    data: str
    """Name of the data set."""
    clips: int
    """Of the store, training or not."""
    training: np.ndarray
    """int64 [n], rows of the training clips, in order."""
    motion: Callable[[np.ndarray], Iterator[tuple[np.ndarray, np.ndarray]]] | None = None
    """Where the one actor of each clip is in the stored frames S; None where the data set does not know.

    For those rows of the store that it is called with, some at a time: pose, float32 [n, S, 4] (x, y, radius
    in pixels of the stored frames, angle in radians from x towards y), and cover, float32 [n, S, h, w], the
    share of each place of the picture that the actor covers, all 0 where it is not to be seen.
    """
    boxes: Callable[[np.ndarray], np.ndarray] | None = None
    """Where each actor is seen in the stored frames S; None where the data set does not know.

    For those rows of the store that it is called with: float32 [n, S, actors, 4] (left, top, right, bottom,
    in shares of the picture's sides), the actor that the caption names first; not a number where an actor is
    not seen.
    """
    attributes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Name -> a value for each clip, None where it is not known, as `FrameStore.attributes`."""
    labels: Sequence[str] = ()
    """The class of each clip in words, empty where it has none."""
