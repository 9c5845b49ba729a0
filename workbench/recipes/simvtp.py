"""SimVTP: simple video-text pre-training with masked autoencoders (arXiv:2212.03490).

One transformer reads video tokens and word embeddings alike. Four passes a step: both together, masked,
to reconstruct pixels (tubes of 90 % hidden, dropped) and words (75 % hidden, replaced); the masked video
alone and the masked text alone, to align them; and twice as many pairs, half of them wrong, to match
them. `weights.vtc = weights.vtm = 0` leaves the pure mask-then-predict arm, one pass a step.

Differs from the paper: the shared small core instead of a ViT-B/16 that starts from VideoMAE; learned
instead of fixed sine positions; the decoder is scaled with the core; the alignment sums over one
process only, as in the released code, but averages its two directions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from workbench import losses, targets
from workbench.errors import UserError
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import TubeMasking, VideoMasking
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.base import BaseRecipe, check_config
from workbench.recipe.batch import Batch, Text
from workbench.recipe.heads import Temperature, projection, unit


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mvm: float = 1.0
    mlm: float = 1.0
    vtc: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    video: VideoConfig = field(default_factory=lambda: VideoConfig(pool="mean"))
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=0))
    """Only the embedding layer is used: the words are read by the video transformer."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: VideoMasking | None = TubeMasking(ratio=0.9)
    text_masking: TextMasking | None = TokenMasking(ratio=0.75)
    embed: int = 128
    temperature: float = 0.05
    learn_temperature: bool = False
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        check_config(self.embed, self.temperature, self.weights)
        if self.text.depth or self.text.hidden != "replace" or self.video.hidden != "drop":
            raise UserError("simvtp needs text.depth=0, text.hidden='replace' and video.hidden='drop'")
        if self.text.width != self.video.width:
            raise UserError("simvtp reads both sides with one encoder: text.width equals video.width")
        if (self.weights.mvm or self.weights.mlm) and not (self.video_masking and self.text_masking):
            raise UserError("simvtp predicts what is hidden: it needs a video and a text masking")


class Recipe(BaseRecipe):
    """Mask both sides, read them with one encoder, predict what was hidden; align and match."""

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width = self.video.width
        self.decoder = PixelDecoder(
            config.decoder, grid=self.video.grid, encoder_width=width, pixels=self.video.pixels
        )
        self.word_head = nn.Linear(width, vocabulary.size)
        self.match_head = nn.Linear(width, 2)
        self.video_head = projection(width, config.embed)
        self.text_head = projection(width, config.embed)
        self.temperature = Temperature(config.temperature, config.learn_temperature)

    def losses(self, batch: Batch, rng: torch.Generator, *, masked: bool = True) -> dict[str, Tensor]:
        weights = self.config.weights
        if not masked:
            if not weights.vtc:
                raise UserError("nothing is hidden and weights.vtc is 0: use a stage with objective='align'")
            return self.align(batch, rng, masked=False)
        video_mask, text_mask = self.video_mask(batch, rng), self.text_mask(batch, rng)
        video = self.video.embed(batch.video, video_mask)  # [B, n, D]
        words, keep = self.text.embed(batch.text, text_mask)  # [B, L, D], [B, L]
        terms: dict[str, Tensor] = {}
        if (weights.mvm and video_mask is not None) or (weights.mlm and text_mask is not None):
            terms |= self._predict(batch, video, words, keep, video_mask, text_mask)
        if weights.vtc:
            terms["vtc"] = losses.vtc(
                unit(self.video_head(self.video.encode(video).pooled)),
                unit(self.text_head(self.video.encode(words, keep).pooled)),
                self.temperature(),
            )
        if weights.vtm:
            terms["vtm"] = self._match(video, words, keep, rng)
        return terms

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        return unit(self.video_head(self.video(video, mask).pooled))

    def embed_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        words, keep = self.text.embed(text, mask)
        return unit(self.text_head(self.video.encode(words, keep).pooled))

    def _predict(
        self,
        batch: Batch,
        video: Tensor,
        words: Tensor,
        keep: Tensor,
        video_mask: Tensor | None,
        text_mask: Tensor | None,
    ) -> dict[str, Tensor]:
        """Pixels and words from one pass over both; a side that hides nothing has no term."""
        n = video.shape[1]
        tokens = self._joint(video, words, keep)
        terms = {}
        if video_mask is not None and self.config.weights.mvm:
            predicted = self.decoder(tokens[:, :n], video_mask)
            patches = self.video.patches(batch.video, video_mask)
            terms["mvm"] = losses.mvm(predicted, targets.normalised_pixels(patches))
        if text_mask is not None and self.config.weights.mlm:
            logits = self.word_head(tokens[:, n:][text_mask])
            terms["mlm"] = losses.mlm(logits, batch.text.tokens[text_mask])
        return terms

    def _match(self, video: Tensor, words: Tensor, keep: Tensor, rng: torch.Generator) -> Tensor:
        """Each text with its own video and with one other at random: 2B pairs, judged by their mean."""
        batch = len(video)
        shift = torch.randint(1, batch, (batch,), generator=rng, device=rng.device)
        other = (torch.arange(batch, device=shift.device) + shift) % batch
        pairs = torch.cat([video, video[other]])
        tokens = self._joint(pairs, words.repeat(2, 1, 1), keep.repeat(2, 1))
        real = torch.cat([keep.new_ones(2 * batch, video.shape[1]), keep.repeat(2, 1)], 1)[..., None]
        mean = (tokens * real).sum(1) / real.sum(1)
        matched = torch.arange(2 * batch, device=mean.device) < batch
        return losses.vtm(self.match_head(mean), matched)

    def _joint(self, video: Tensor, words: Tensor, keep: Tensor) -> Tensor:
        """Encoded tokens [B, n + L, D] of both sides read together."""
        both = torch.cat([keep.new_ones(video.shape[:2]), keep], 1)
        return self.video.encode(torch.cat([video, words.to(video.dtype)], 1), both).tokens
