"""SimVTP: simple video-text pre-training with masked autoencoders (arXiv:2212.03490).

One transformer reads video tokens and word embeddings. A step has four passes: both sides together, masked,
to reconstruct pixels (90 % hidden in tubes, dropped) and words (75 % hidden, replaced); the masked video
alone and the masked text alone, to align them; and twice as many pairs, half of them wrong, to match them.
`weights.vtc = weights.vtm = 0` leaves the pure mask-then-predict arm, one pass a step.

Differs from the paper: the shared small core instead of a ViT-B/16 that starts from VideoMAE, with a class
token in front, which the other tokens attend to and which is never pooled; learned instead of fixed sine
positions; the decoder is scaled with the core; means over words leave out padding; the alignment is that of
the whole batch and averages its two directions, where the released code sums over each process alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench import losses, targets
from workbench.distributed import gather, own_rows
from workbench.errors import UserError
from workbench.masking.positions import pick
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import TubeMasking, VideoMasking
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.encoder import Encoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, BatchRng, Draw, Text
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import judgement, match_score
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mvm: float = 1.0
    mlm: float = 1.0
    vtc: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(pool="mean"))
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=0))
    """Only the embedding layer is used, because the video transformer reads the words."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: VideoMasking | None = TubeMasking(ratio=0.9)
    text_masking: TextMasking | None = TokenMasking(ratio=0.75)
    learn_temperature: bool = False
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text.depth or self.text.hidden != "replace" or self.video.hidden != "drop":
            raise UserError("simvtp needs text.depth=0, text.hidden='replace' and video.hidden='drop'")
        if self.text.width != self.video.width:
            raise UserError("simvtp reads both sides with one encoder: text.width must equal video.width")
        if (self.weights.mvm or self.weights.mlm) and not (self.video_masking and self.text_masking):
            raise UserError("simvtp predicts what is hidden: it needs a video and a text masking")


class Recipe(DualEncoder):
    """Masks both sides, reads them with one encoder, predicts what was hidden; aligns and matches.

    Letters: B batch, n visible tokens of a clip, L positions of a caption, D width.
    """

    DISTRIBUTED: ClassVar = True

    reconstruction = Reconstruction("masked", targets.OF_COLOURS)

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
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "decoder": self.decoder}

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """Samples the masks and the row offset of each caption's wrong clip, [B].

        Pairs are judged in masked steps only."""
        draw = super().draw(batch, rng, objective=objective, masked=masked)
        if objective != "recipe" or not masked or not self.config.weights.vtm:
            return draw
        rows = len(batch.text.tokens)
        if rows * rng.size == 1:
            return draw  # a single clip has no wrong one
        return draw._replace(chosen={"shift": rng.integers(1, rows * rng.size, rows)})

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights = self.config.weights
        video = self.video.embed(batch.video, draw.video_mask)  # [B, n, D]
        words, keep = self.text.embed(batch.text, draw.text_mask)  # [B, L, D], [B, L]
        terms: dict[str, Tensor] = {}
        if (weights.mvm and draw.video_mask is not None) or (weights.mlm and draw.text_mask is not None):
            terms |= self._predict(batch, draw, video, words, keep)
        if weights.vtc:
            clip, caption = self.video.encode(video), self.video.encode(words, keep)  # each read alone
            terms["vtc"] = losses.vtc(*self.project(clip.pooled, caption.pooled), self.temperature())
        if "shift" in draw.chosen:
            every = gather(video)  # [B of all processes, n, D]
            other = (own_rows(len(video), video.device) + draw.chosen["shift"]) % len(every)
            pairs = torch.cat([video, every[other]])
            logits = self._judge(pairs, words.repeat(2, 1, 1), keep.repeat(2, 1))  # [2B, 2]
            terms["vtm"] = losses.vtm(logits, torch.arange(len(pairs), device=video.device) < len(video))
        return terms

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        words, keep = self.text.embed(text, mask)
        return self.video.encode(words, keep).pooled

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions, see `heads.match_score`."""
        words, keep = self.text.embed(text)
        logits = self._judge(self.video.embed(video), words, keep)
        return match_score(logits)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask = hidden_places(self, draw)
        video = self.video.embed(batch.video, mask)  # [B, n, D]
        tokens = self._joint(video, *self.text.embed(batch.text, draw.text_mask))
        predicted = self.decoder(tokens[:, : video.shape[1]], mask)
        pixels = targets.denormalised_pixels(predicted, self.video.patches(batch.video, mask))
        return filled(self.video, batch, mask, pixels)

    def _predict(
        self, batch: Batch, draw: Draw, video: Tensor, words: Tensor, keep: Tensor
    ) -> dict[str, Tensor]:
        """Losses of pixels and words from one pass over both sides; a side that hides nothing has none."""
        n = video.shape[1]
        tokens = self._joint(video, words, keep)
        terms = {}
        if draw.video_mask is not None and self.config.weights.mvm:
            predicted = self.decoder(tokens[:, :n], draw.video_mask)
            patches = self.video.patches(batch.video, draw.video_mask)
            terms["mvm"] = losses.mvm(predicted, targets.normalised_pixels(patches))
        if draw.text_mask is not None and self.config.weights.mlm:
            logits = self.word_head(pick(tokens[:, n:], draw.text_mask))
            terms["mlm"] = losses.mlm(logits, pick(batch.text.tokens, draw.text_mask))
        return terms

    def _judge(self, video: Tensor, words: Tensor, keep: Tensor) -> Tensor:
        """Logits [P, 2] (no match, match) of pairs, from the mean of their tokens."""
        tokens = self._joint(video, words, keep)
        real = torch.cat([keep.new_ones(video.shape[:2]), keep], 1)[..., None]
        return judgement(self.match_head, (tokens * real).sum(1) / real.sum(1))

    def _joint(self, video: Tensor, words: Tensor, keep: Tensor) -> Tensor:
        """Encoded tokens [B, n + L, D] of both sides read together."""
        both = torch.cat([keep.new_ones(video.shape[:2]), keep], 1)
        return self.video.encode(torch.cat([video, words.to(video.dtype)], 1), both).tokens
