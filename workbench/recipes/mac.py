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
from typing import ClassVar

from torch import Tensor

from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import PerFrameMasking, VideoMasking
from workbench.models.encoder import Encoder
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualConfig, DualEncoder


@dataclass(frozen=True, kw_only=True)
class Weights:
    vtc: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video_masking: VideoMasking | None = PerFrameMasking(ratio=0.6)
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    weights: Weights = field(default_factory=Weights)


class Recipe(DualEncoder):
    """Mask, encode what is visible, align."""

    DISTRIBUTED: ClassVar = True

    CONTRASTS: ClassVar[tuple[str, ...]] = ("recipe", "align")

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text}

    def losses(self, batch: Batch, draw: Draw, *, masked: bool = True) -> dict[str, Tensor]:
        return self.align(batch, draw)
