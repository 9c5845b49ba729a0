"""MAC: masked contrastive pre-training for video-text retrieval (arXiv:2212.00986).

Two encoders; a high share of the video's tokens is dropped before its encoder, a share of the words is
hidden from the text encoder, and the two class tokens are aligned. Nothing is reconstructed.

Differs from the paper: the shared small core instead of ViT-B/16 and DistilBERT, from a random start
unless weights are given; the paper's default ratios could not be read, 60 % of the video is inferred
from its "60 % FLOPs off"; a learned temperature, starting at the fixed 0.05 of Frozen in Time
(arXiv:2104.00650), on which MAC builds; the class token sees all frames at once (joint attention).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import PerFrameMasking, VideoMasking
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.base import BaseRecipe, check_config
from workbench.recipe.batch import Batch, Text
from workbench.recipe.heads import Temperature, projection, unit


@dataclass(frozen=True, kw_only=True)
class Weights:
    vtc: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    video: VideoConfig = field(default_factory=VideoConfig)
    text: TextConfig = field(default_factory=TextConfig)
    video_masking: VideoMasking | None = PerFrameMasking(ratio=0.6)
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    embed: int = 128
    """Width of the shared space."""
    temperature: float = 0.05
    learn_temperature: bool = True
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        check_config(self.embed, self.temperature, self.weights)


class Recipe(BaseRecipe):
    """Mask, encode what is visible, align."""

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.video_head = projection(self.video.width, config.embed)
        self.text_head = projection(self.text.width, config.embed)
        self.temperature = Temperature(config.temperature, config.learn_temperature)

    def losses(self, batch: Batch, rng: torch.Generator, *, masked: bool = True) -> dict[str, Tensor]:
        return self.align(batch, rng, masked=masked)

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        return unit(self.video_head(self.video(video, mask).pooled))

    def embed_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        return unit(self.text_head(self.text(text, mask).pooled))
