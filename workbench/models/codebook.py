"""A fixed vocabulary of patches: the code of a patch is the number of the nearest one."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

ITERATIONS = 10
OF_CODES = "each shows the mean of the training patches with the predicted code, nothing of the true clip"
"""The note that must accompany an image made by `Codebook.pixels`."""


class Codebook(nn.Module):
    """k-means over the pixels of patches, in place of the trained codes of a dVAE (VIOLET, arXiv:2111.12681).

    Before it is fitted, its patches are random.
    """

    centroids: Tensor
    """float32 [codes, pixels], in [0, 1]."""

    def __init__(self, codes: int, pixels: int) -> None:
        super().__init__()
        self.register_buffer("centroids", nn.init.uniform_(torch.empty(codes, pixels)))

    def forward(self, patches: Tensor) -> Tensor:
        """Codes int64 [...] of patches uint8 [..., pixels]: the first of the nearest centroids."""
        # Autocast would round distances to bfloat16, which would change the choice.
        with torch.autocast(patches.device.type, enabled=False):
            x = patches.flatten(0, -2).float() / 255
            distance = self.centroids.square().sum(1) - 2 * x @ self.centroids.T  # and |x|^2, alike for all
        return distance.argmin(1).view(patches.shape[:-1])

    def pixels(self, logits: Tensor) -> Tensor:
        """Grey levels [..., pixels] of the likeliest codes of logits [..., codes]."""
        return 255 * self.centroids[logits.argmax(-1)]

    @torch.no_grad()
    def fit(self, patches: Tensor, rng: torch.Generator) -> float:
        """Fits the centroids to uint8 patches [n, pixels] by k-means; returns the FLOPs.

        If there are fewer different patches than codes, each of them is a code, and the others are unused.
        """
        from scipy.cluster.vq import kmeans2  # slow to import, and needed once in a run

        codes = len(self.centroids)
        distinct = np.unique(patches.cpu().numpy(), axis=0).astype(np.float32) / 255
        if len(distinct) <= codes:
            # The first of equal centroids is taken, so that copies are never chosen.
            self.centroids.copy_(torch.from_numpy(distinct[np.arange(codes).clip(max=len(distinct) - 1)]))
            return 0.0
        start = torch.randperm(len(distinct), generator=rng)[:codes].numpy()
        samples = patches.cpu().numpy().astype(np.float32) / 255
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about empty clusters, which keep their centroids
            found, _ = kmeans2(samples, distinct[start], iter=ITERATIONS, minit="matrix")
        self.centroids.copy_(torch.from_numpy(found))
        return 2.0 * ITERATIONS * samples.size * codes
