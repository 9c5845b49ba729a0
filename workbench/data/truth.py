"""Ground truth of the clips of a frame store beside pixels, for synthetic data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Truth:
    """Ground truth of one frame store."""

    data: str
    """Name of the data set."""
    clips: int
    """Number of clips in the store, training or not."""
    training: np.ndarray
    """int64 [n], rows of the training clips, in order."""
    motion: Callable[[np.ndarray], Iterator[tuple[np.ndarray, np.ndarray]]] | None = None
    """The pose and cover of the actor in the stored frames S; None if the data set does not provide it.

    For the given rows of the store it yields, in chunks of n clips: pose, float32 [n, S, 4] (x, y, radius in
    pixels of the stored frames, angle in radians from x towards y), and cover, float32 [n, S, h, w], the
    share of each cell of the frame that the actor covers, all 0 while it is not visible.
    """
    boxes: Callable[[np.ndarray], np.ndarray] | None = None
    """Boxes of the actors in the stored frames S; None if the data set does not provide them.

    For the given rows of the store it returns float32 [n, S, actors, 4] (left, top, right, bottom, in shares
    of the frame's sides), the actor that the caption names first; NaN while an actor is not visible.
    """
    attributes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Name -> a value for each clip, None if it is not known, as in `FrameStore.attributes`."""
    labels: Sequence[str] = ()
    """The class of each clip in words, empty if it has none."""
