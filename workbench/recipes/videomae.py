"""VideoMAE: masked autoencoders learn from few videos (arXiv:2203.12602).

Tubes of 90 % of the patches are dropped, an encoder reads the rest, and a light decoder predicts the pixels
of what was hidden, standardised per cube and colour channel. Captions are not used: the text encoder
and the projections are trained by a stage with `objective="align"` only, the encoder by both.
`video_masking` is the paper's subject: with random or per-frame masking, pixels can be copied over time.

Differs from the paper: the shared small core from a random start; learned instead of fixed sine positions;
the decoder is scaled with the core, one block at half the width instead of four; captions are learned in the
shared alignment stage, which the paper, about video alone, does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from workbench import losses, targets
from workbench.errors import UserError
from workbench.masking.video import TubeMasking, VideoMasking
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.encoder import Encoder
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places


@dataclass(frozen=True, kw_only=True)
class Weights:
    mvm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(cls=False, pool="mean"))
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: VideoMasking | None = TubeMasking(ratio=0.9)
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.video_masking is None or self.video.hidden != "drop":
            raise UserError(
                "videomae predicts what was dropped: it needs a video_masking and video.hidden='drop'"
            )


class Recipe(DualEncoder):
    """Masks clips, encodes the visible patches and predicts the pixels of the hidden ones.

    Letters: B batch, n visible and M hidden tokens of a clip, P pixels of a token in all channels, D width.
    """

    DISTRIBUTED: ClassVar = True

    reconstruction = Reconstruction("none", targets.OF_COLOURS)

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.decoder = PixelDecoder(
            config.decoder, grid=self.video.grid, encoder_width=self.video.width, pixels=self.video.pixels
        )
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "decoder": self.decoder}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        mask = draw.video_mask  # [B, n + M]
        if mask is None:
            raise UserError("videomae has nothing to predict where nothing is hidden: use objective='align'")
        visible = self.video(batch.video, mask).tokens  # [B, n, D]
        predicted = self.decoder(visible, mask)  # [B, M, P]
        hidden = targets.normalised_pixels(self.video.patches(batch.video, mask))  # [B, M, P]
        return {"mvm": losses.mvm(predicted, hidden)}

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask = hidden_places(self, draw)  # [B, n + M]
        predicted = self.decoder(self.video(batch.video, mask).tokens, mask)  # [B, M, P]
        pixels = targets.denormalised_pixels(predicted, self.video.patches(batch.video, mask))
        return filled(self.video, batch, mask, pixels)
