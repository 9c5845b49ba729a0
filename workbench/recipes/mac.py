"""MAC: masked contrastive pre-training for video-text retrieval (arXiv:2212.00986).

There are two encoders. A high share of the video's tokens is dropped before its encoder, a share of the words
is hidden from the text encoder, and the two class tokens are aligned. Nothing is reconstructed unless
`weights.mvm` is above 0: then the pixels of hidden patches are predicted too, as FLIP tried
(arXiv:2212.00794).

Differs from the paper: the shared small core instead of ViT-B/16 and DistilBERT, from a random start
unless weights are given; the paper's default ratios could not be read, 60 % of the video is inferred
from its "60 % FLOPs off"; a learned temperature, starting at the fixed 0.05 of Frozen in Time
(arXiv:2104.00650), on which MAC builds; the class token sees all frames at once (joint attention). The
decoder of `weights.mvm` and its weight are our choice.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from workbench import losses, targets
from workbench.errors import UserError
from workbench.fields import added
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import PerFrameMasking, VideoMasking
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.encoder import Encoder
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualConfig, DualEncoder

if TYPE_CHECKING:
    from workbench.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    mvm: float = added(before=0.0)
    """Weight of predicting the pixels of hidden patches from the visible ones."""


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video_masking: VideoMasking | None = PerFrameMasking(ratio=0.6)
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    decoder: DecoderConfig = added(before=DecoderConfig())
    """Pixel decoder, used if `weights.mvm` is above 0."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights.mvm and self.video.hidden != "drop":
            raise UserError("mac predicts pixels of what was dropped: weights.mvm needs video.hidden='drop'")
        if not self.weights.vtc:
            raise UserError("mac aligns clips and captions: its weights.vtc must be above 0")


class Recipe(DualEncoder):
    """Masks both sides, encodes the visible parts and aligns them."""

    DISTRIBUTED: ClassVar = True

    CONTRASTS: ClassVar[tuple[str, ...]] = ("recipe", "align")

    @classmethod
    def check_run(cls, config: RunConfig, drawn: Collection[str]) -> None:
        if config.optim.accumulate > 1 and config.recipe.weights.mvm:
            raise UserError("optim.accumulate is for contrasts alone, not for mac with weights.mvm")

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.build_heads(config)
        self.decoder: PixelDecoder | None = None
        if config.weights.mvm:
            grid, width, pixels = self.video.grid, self.video.width, self.video.pixels
            self.decoder = PixelDecoder(config.decoder, grid=grid, encoder_width=width, pixels=pixels)

    def encoders(self) -> dict[str, Encoder]:
        parts: dict[str, Encoder] = {"video": self.video, "text": self.text}
        return parts if self.decoder is None else {**parts, "decoder": self.decoder}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        mask = draw.video_mask  # [B, N]
        if self.decoder is None or mask is None:
            return self.align(batch, draw)
        clip = self.video(batch.video, mask)
        embedded = self.project(clip.pooled, self.pooled_text(batch.text, draw.text_mask))  # [B, E] each
        hidden = targets.normalised_patches(self.video.patches(batch.video, mask))  # [B, M, P]
        return self.contrast_of(*embedded) | {"mvm": losses.mvm(self.decoder(clip.tokens, mask), hidden)}
