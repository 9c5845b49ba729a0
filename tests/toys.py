"""Recipes that belong to no paper, as tests plant them: each is able to do one thing only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from workbench.masking.text import TextMasking
from workbench.masking.video import VideoMasking
from workbench.models.encoder import Encoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.base import BaseRecipe, Phase
from workbench.recipe.batch import Batch, Draw, Text


@dataclass(frozen=True, kw_only=True)
class Weights:
    pair: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    video: VideoConfig = field(
        default_factory=lambda: VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=2)
    )
    text: TextConfig = field(default_factory=lambda: TextConfig(width=32, depth=1, heads=2))
    video_masking: VideoMasking | None = None
    text_masking: TextMasking | None = None
    weights: Weights = field(default_factory=Weights)


class Recipe(BaseRecipe):
    """Judges pairs and embeds nothing: it can neither align nor be searched."""

    PHASES: ClassVar[Mapping[str, Phase]] = {"warm": Phase(trains=("head",))}

    def __init__(self, config: Any, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.head = nn.Linear(64, 1)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        other = batch.text.select(torch.arange(len(batch.video)).roll(1))
        right, wrong = self.match(batch.video, batch.text), self.match(batch.video, other)
        softplus = nn.functional.softplus
        return {"pair": (softplus(-right) + softplus(wrong)).mean()}

    def warm(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        return self.losses(batch, draw)

    def weights(self, objective: str = "recipe") -> dict[str, float]:
        return asdict(self.config.weights)

    def match(self, video: Tensor, text: Text) -> Tensor:
        pair = torch.cat([self.video(video).pooled, self.text(text).pooled], 1)
        return self.head(pair)[:, 0]
