"""What every recipe is: named losses of a batch, and embeddings of its two sides."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.config import at_least, not_negative
from workbench.errors import UserError
from workbench.models.text import Vocabulary
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import Batch, Text
from workbench.recipe.heads import Temperature

LOWEST_TEMPERATURE = 0.01
"""Below it, the clamp at CLIP's 100 would act in silence."""


def check_config(embed: int, temperature: float, weights: Any) -> None:
    """What every recipe's `Config` asks of the shared space and of the weights of its losses."""
    at_least("recipe.embed", embed, 1)
    if not LOWEST_TEMPERATURE <= temperature < math.inf:
        raise UserError(
            f"recipe.temperature is a number of at least {LOWEST_TEMPERATURE}, not {temperature!r}"
        )
    for name, value in asdict(weights).items():
        not_negative(f"recipe.weights.{name}", value)
    if not any(asdict(weights).values()):
        raise UserError("all of recipe.weights are 0: there is nothing to train")


class BaseRecipe(nn.Module, ABC):
    """One published system. A subclass builds its parts, sets `video` and names its losses.

    Nothing is assumed of how the two sides are encoded: they may share every weight.
    """

    video: VideoEncoder
    temperature: Temperature

    def __init__(self, config: Any, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def losses(self, batch: Batch, rng: torch.Generator, *, masked: bool = True) -> dict[str, Tensor]:
        """Named unweighted terms of the recipe's objective, scalars; `masked=False` hides nothing."""

    @abstractmethod
    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of uint8 clips [B, T, H, W, 3]."""

    @abstractmethod
    def embed_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of captions [B, L]."""

    def align(self, batch: Batch, rng: torch.Generator, *, masked: bool) -> dict[str, Tensor]:
        """Only the contrast of clips and captions: the stage that every arm of a comparison can share."""
        video = self.embed_video(batch.video, self.video_mask(batch, rng) if masked else None)
        text = self.embed_text(batch.text, self.text_mask(batch, rng) if masked else None)
        return {"vtc": losses.vtc(video, text, self.temperature())}

    def weights(self) -> dict[str, float]:
        """Weight of each term, from the recipe's config."""
        return asdict(self.config.weights)

    def video_mask(self, batch: Batch, rng: torch.Generator) -> Tensor | None:
        """The recipe's video mask [B, N], True = hidden; None where it hides nothing."""
        masking = self.config.video_masking
        if masking is None or masking.hidden(self.video.grid) == 0:
            return None
        return masking(self.video.grid, len(batch.video), rng)

    def text_mask(self, batch: Batch, rng: torch.Generator) -> Tensor | None:
        """The recipe's text mask [B, L], True = hidden; None where it hides nothing."""
        masking = self.config.text_masking
        if masking is None or masking.ratio == 0:
            return None
        return masking(batch.text.layout, rng, equal=self.config.text.hidden == "drop")

    def hidden_shares(self, text: Text, rng: torch.Generator) -> dict[str, float]:
        """What a masked step really hides of the clips' tokens and of these captions' words.

        A ratio is not that share: counts are rounded down, and where words are dropped, padding goes first.
        """
        masking, grid = self.config.video_masking, self.video.grid
        mask, valid = self.text_mask(Batch(torch.empty(0), text), rng), text.layout.valid
        return {
            "mask/video_hidden": masking.hidden(grid) / grid.tokens if masking is not None else 0.0,
            "mask/text_hidden": float((mask & valid).sum() / valid.sum()) if mask is not None else 0.0,
        }
