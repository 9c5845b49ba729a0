"""Fitting of a codebook to a recipe's training data before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.models.codebook import Codebook
from workbench.models.video import VideoEncoder

if TYPE_CHECKING:
    from workbench.data.store import FrameStore

PATCHES_PER_CODE = 16
PATCHES_PER_CLIP = 8
"""Average number of patches taken from a clip, which sets how many clips are read."""


def fit_codes(codebook: Codebook, video: VideoEncoder, store: FrameStore, rng: torch.Generator) -> float:
    """Fits the codebook to randomly sampled patches of training clips; returns the FLOPs.

    If more frames are stored than a step uses, it takes those at the centres of equal intervals.
    """
    wanted = PATCHES_PER_CODE * len(codebook.centroids)
    clips = np.unique(store.splits["train"].clips)
    some = torch.randperm(len(clips), generator=rng)[: -(-wanted // PATCHES_PER_CLIP)].numpy()
    count = video.grid.time * video.config.tubelet
    frames = store.centred(np.sort(clips[some]), count, video.grid.height * video.config.patch)
    patches = video.patches(torch.from_numpy(frames)).flatten(0, 1)
    return codebook.fit(patches[torch.randperm(len(patches), generator=rng)[:wanted]], rng)
