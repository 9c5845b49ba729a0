"""A fixed vocabulary of patches: each patch is told by the number of the one that is nearest to it."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

ITERATIONS = 10
OF_CODES = "each shows the mean of the training patches with the predicted code, nothing of the true clip"
"""What a picture made by `Codebook.pixels` has to say of itself."""


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
        """The code of each patch, int64 [...] of uint8 [..., pixels]: the first of the nearest centroids."""
        # Autocast would round distances to bfloat16, and with them the choice.
        with torch.autocast(patches.device.type, enabled=False):
            x = patches.flatten(0, -2).float() / 255
            distance = self.centroids.square().sum(1) - 2 * x @ self.centroids.T  # and |x|^2, alike for all
        return distance.argmin(1).view(patches.shape[:-1])

    def pixels(self, logits: Tensor) -> Tensor:
        """Grey levels [..., pixels] of the likeliest codes of logits [..., codes]."""
        return 255 * self.centroids[logits.argmax(-1)]

    @torch.no_grad()
    def fit(self, patches: Tensor, rng: torch.Generator) -> float:
        """Moves the centroids to the means of clusters of uint8 patches [n, pixels]; returns the FLOPs.

        Where fewer patches differ than there are codes, each of them is one, and the other codes are unused.
        """
        from scipy.cluster.vq import kmeans2  # slow to import, and wanted once a run

        codes = len(self.centroids)
        distinct = np.unique(patches.cpu().numpy(), axis=0).astype(np.float32) / 255
        if len(distinct) <= codes:
            # The first of equal centroids is taken, so that copies are never chosen.
            self.centroids.copy_(torch.from_numpy(distinct[np.arange(codes).clip(max=len(distinct) - 1)]))
            return 0.0
        start = torch.randperm(len(distinct), generator=rng)[:codes].numpy()
        samples = patches.cpu().numpy().astype(np.float32) / 255
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a cluster that lost all its patches and stays
            found, _ = kmeans2(samples, distinct[start], iter=ITERATIONS, minit="matrix")
        self.centroids.copy_(torch.from_numpy(found))
        return 2.0 * ITERATIONS * samples.size * codes
