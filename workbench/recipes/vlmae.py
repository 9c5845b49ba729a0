"""VLMAE: vision-language masked autoencoder (arXiv:2208.09374).

According to the paper, models that learn only how image and text interact have a focal bias; if they also
learn to generate the image, they attend to almost all critical patches. Here half of the patches are
dropped, and a decoder, whose positions also query the words, predicts their pixels (`weights.mvm`) and the
features that a teacher computes from the whole clip (`weights.features`). The teacher is the moving average
of the video encoder. In addition, hidden words are predicted from the visible patches that they
query, clips and captions are aligned, and pairs are judged.

Differs from the paper: an interpretation, because only its abstract could be read; whether the paper trains
in several stages is not known, here it is one. The forms of both generative terms, the decoder that queries
the words, the teacher and its momentum, all ratios, the other losses and all weights are our choice. So are
clips instead of images, the shared small core from a random start, and a clip and a caption that nearly fit
as negatives of each pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import losses, targets
from workbench.distributed import gather
from workbench.errors import UserError
from workbench.fields import share
from workbench.masking.positions import pick
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import PerFrameMasking, VideoMasking
from workbench.models.decoder import DecoderConfig, HiddenDecoder
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.teacher import average_of, follow
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import Encoded, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.abilities import AttendingWords
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualConfig
from workbench.recipe.hard_pairs import HardPairs, wrong_pairs
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places
from workbench.targets.features import normalised_features

if TYPE_CHECKING:
    from workbench.data.store import FrameStore


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed, nor a pass that no term needs."""

    vtc: float = 1.0
    vtm: float = 1.0
    mlm: float = 1.0
    mvm: float = 1.0
    features: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(mode="xattn"))
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: VideoMasking | None = PerFrameMasking(ratio=0.5)
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    momentum: float = 0.996
    """Momentum of the teacher: the share of its old value that it keeps in each step."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        share("recipe.momentum", self.momentum, "[0, 1)")
        if self.text.hidden != "replace" or self.video.hidden != "drop" or self.fusion.mode != "xattn":
            raise UserError("vlmae needs text.hidden='replace', video.hidden='drop' and fusion.mode='xattn'")


class Recipe(AttendingWords, HardPairs):
    """Drops patches, reads both sides, predicts dropped patches and hidden words, aligns and judges.

    Letters: B batch, P pairs, n visible and M hidden patches of a clip, L positions of a caption, D width, d
    width of the decoder.
    """

    DISTRIBUTED: ClassVar = True

    reconstruction = Reconstruction("masked", targets.OF_PATCHES)

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width, words = self.video.width, self.text.width
        self.fusion = FusionEncoder(config.fusion, video_width=width, text_width=words)
        self.decoder = HiddenDecoder(config.decoder, grid=self.video.grid, encoder_width=width, words=words)
        self.pixel_head = nn.Linear(config.decoder.width, self.video.pixels)
        self.feature_head = nn.Linear(config.decoder.width, width)
        self.word_head = WordHead(config.fusion.width, vocabulary.size)
        self.match_head = nn.Linear(config.fusion.width, 2)
        self.teacher = average_of(self.video) if config.weights.features else None
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        parts: dict[str, Encoder] = {"video": self.video, "text": self.text, "fusion": self.fusion}
        parts["decoder"] = self.decoder
        return parts if self.teacher is None else parts | {"teacher": self.teacher}

    def trained_by(self, ability: str) -> tuple[str, ...]:
        weights = self.config.weights
        if ability == "attended" and not (weights.vtm or weights.mlm):
            return ()  # no term has words query patches
        return super().trained_by(ability)

    def prepare(self, store: FrameStore, rng: torch.Generator) -> float:
        if self.teacher is not None:
            follow(self.teacher, self.video, 0.0)  # which may have started from another run
        return 0.0

    def after_step(self, done: float) -> None:
        if self.teacher is not None:
            follow(self.teacher, self.video, self.config.momentum)

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, keep = self.config.weights, batch.text.layout.valid  # [B, L]
        terms: dict[str, Tensor] = {}
        clip = self.video(batch.video, draw.video_mask)  # [B, D], [B, n, D]
        caption = self.text(batch.text, draw.text_mask)  # [B, D], [B, L, D]
        if (weights.mvm or weights.features) and draw.video_mask is not None:
            decoded = self._decode(clip, draw.video_mask, caption, keep)  # [B, M, d]
            terms |= self._generate(batch, draw.video_mask, decoded)
        embedded = self.project(clip.pooled, caption.pooled)  # [B, E] each
        if weights.vtc:
            terms["vtc"] = losses.vtc(*embedded, self.temperature())
        words = draw.text_mask if weights.mlm else None  # [B, L]
        if words is not None or weights.vtm:
            true = self.fusion(clip.tokens, caption.tokens, keep)
        if words is not None:
            terms["mlm"] = losses.mlm(self.word_head(pick(true.text, words)), pick(batch.text.tokens, words))
        if weights.vtm:
            rows, columns = wrong_pairs(*embedded, self.temperature(), draw.chosen["negatives"])  # [2B] each
            clips, captions, real = map(gather, (clip.tokens, caption.tokens, keep))  # of all processes
            wrong = self.fusion(clips[rows], captions[columns], real[columns])
            terms["vtm"] = self.vtm_loss(true.pooled, wrong.pooled, rows == columns)
        return terms

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask = hidden_places(self, draw)
        clip, caption = self.video(batch.video, mask), self.text(batch.text, draw.text_mask)
        predicted = self.pixel_head(self._decode(clip, mask, caption, batch.text.layout.valid))
        pixels = targets.denormalised_patches(predicted, self.video.patches(batch.video, mask))
        return filled(self.video, batch, mask, pixels)

    def _decode(self, clip: Encoded, mask: Tensor, caption: Encoded, keep: Tensor) -> Tensor:
        """Tokens [B, M, d] of the hidden positions, from the visible ones and the encoded caption."""
        words = torch.cat([caption.pooled[:, None], caption.tokens], 1)
        hidden: Tensor = self.decoder(clip.tokens, mask, words, F.pad(keep, (1, 0), value=True))
        return hidden

    def _generate(self, batch: Batch, mask: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """Losses of pixels and features that are predicted from tokens [B, M, d] of the hidden positions."""
        terms = {}
        if self.config.weights.mvm:
            pixels = targets.normalised_patches(self.video.patches(batch.video, mask))
            terms["mvm"] = losses.mvm(self.pixel_head(decoded), pixels)
        if self.teacher is not None:
            with torch.no_grad():
                seen = pick(self.teacher(batch.video).tokens, mask).view(len(mask), -1, self.video.width)
            terms["features"] = losses.mvm(self.feature_head(decoded), normalised_features(seen))
        return terms
