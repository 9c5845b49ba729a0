"""HiTeA: hierarchical temporal-aware video-language pre-training (arXiv:2212.14546); our choice of losses.

Only the paper's abstract and the fine-tuning part of the code could be read: the parts named there are here,
but how they are computed is our choice. A clip has a long view (all frames) and a short view (a window of
neighbouring ones). Moments (`moment`): the short view is pulled to those words of its caption that fit it
best, away from the words of other captions. Relations (`relation`): clip and caption as a whole at two
resolutions, fused(long, caption) and fused(short, caption with hidden words), predict each other, and no
gradient goes to the predicted vector. The base losses: contrast (`vtc`), matching with hard negatives
(`vtm`), hidden words (`mlm`), captions word by word (`lm`).

Both views come from the frames of a step: for the short one the other frames' patches are dropped before the
encoder. So no additional frames need to be stored, the window keeps its true position in time, and it
costs less than half of a long view. Both views of a single frame are the same.

Differs from the paper: all of `moment`, `relation` and of how views are taken, and the set of base losses
with their weights, is our choice; the shared small core from a random start instead of MViTv2 and a trained
BERT; every third of three fusion blocks is one of joint attention; no momentum copy and no queue; a caption
is written from the long view alone, with an empty prefix; only content words are chosen and contrasted, and
the same word in another caption is not pushed away.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather
from workbench.errors import UserError
from workbench.fields import at_least, share
from workbench.masking.positions import counted_each, pick
from workbench.masking.text import TextMasking, TokenMasking
from workbench.models.caption import BOS, EOS, CaptionDecoder, check_marks
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipe.dual import DualConfig
from workbench.recipe.hard_pairs import HardPairs, wrong_pairs
from workbench.recipe.heads import perceptron, unit


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    vtm: float = 1.0
    mlm: float = 1.0
    lm: float = 1.0
    moment: float = 1.0
    relation: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(patch=16, tubelet=1, pool="mean"))
    text: TextConfig = field(default_factory=lambda: TextConfig(words=(BOS, EOS)))
    """Settings of the text encoder and of the decoder."""
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(mode="stride", depth=3))
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    temperature: float = 0.07
    short: float = 0.5
    """Share of the time steps in the short view, which has at least one."""
    words: int = 3
    """Number of words of the caption that are positives of the short view."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("recipe.words", self.words, 1)
        share("recipe.short", self.short, "(0, 1)")
        if self.video_masking is not None or self.video.hidden != "drop":
            raise UserError(
                "hitea drops what its short view lacks: it needs video_masking=None and video.hidden='drop'"
            )
        if self.text.hidden != "replace" or self.fusion.mode != "stride":
            raise UserError("hitea needs text.hidden='replace' and fusion.mode='stride'")
        check_marks("hitea", self.text)


class Recipe(HardPairs):
    """Encodes both views, and the caption with and without hidden words; fuses, predicts and aligns.

    Letters: B batch, N tokens of a clip, L positions of a caption, S = L + 2 with its begin and end tokens, M
    hidden words, D width, E shared space, V vocabulary.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width, weights = config.fusion.width, config.weights
        self.fusion = FusionEncoder(config.fusion, video_width=self.video.width, text_width=self.text.width)
        self.word_head = WordHead(width, vocabulary.size)
        self.match_head = nn.Linear(width, 2)
        self.decoder = CaptionDecoder(
            config.text, vocabulary, memory=self.video.width, split=False, embeds=False
        )
        if weights.relation:
            self.predictor = perceptron(width, width)
        self.window = max(1, int(config.short * self.grid.time))
        """Time steps of the short view."""
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "fusion": self.fusion, "decoder": self.decoder}

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """The short view's first time step, `start` [B], and negatives."""
        weights, chosen = self.config.weights, {}
        if weights.moment or weights.relation:
            chosen["start"] = rng.integers(0, self.grid.time - self.window + 1, len(batch.text.tokens))
        return chosen | super().choices(batch, rng)

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, text, hides = self.config.weights, batch.text, draw.text_mask is not None
        keep, terms = text.layout.valid, {}  # [B, L]
        # Each pass runs at most once, and only if a loss needs it.
        long = functools.cache(lambda: self.video(batch.video))
        short = functools.cache(lambda: self.video(batch.video, self.outside(draw.chosen["start"])))
        caption = functools.cache(lambda hide: self.text(text, draw.text_mask if hide else None))
        fused = functools.cache(lambda view, hide: self.fusion(view().tokens, caption(hide).tokens, keep))
        if weights.mlm and draw.text_mask is not None:
            words = pick(fused(long, True).text, draw.text_mask)  # [M, D]
            terms["mlm"] = losses.mlm(self.word_head(words), pick(text.tokens, draw.text_mask))
        if weights.lm:
            states, tokens, valid = self.decoder.words(text)  # [B, S, D], [B, S]
            logits = self.decoder(states[:, :-1], long().tokens)  # [B, S - 1, V], each of the next word
            terms["lm"] = losses.lm(logits, tokens[:, 1:], valid[:, 1:])
        if weights.vtc or weights.vtm:
            clips, captions = self.project(long().pooled, caption(False).pooled)  # [B, E]
        if weights.vtc:
            terms["vtc"] = losses.vtc(clips, captions, self.temperature())
        if weights.vtm:
            rows, columns = wrong_pairs(clips, captions, self.temperature(), draw.chosen["negatives"])
            seen, read, real = map(gather, (long().tokens, caption(False).tokens, keep))  # of all processes
            wrong = self.fusion(seen[rows], read[columns], real[columns]).pooled  # [2B, D]
            terms["vtm"] = self.vtm_loss(fused(long, False).pooled, wrong, rows == columns)
        if weights.moment:
            moment, words = unit(self.video_head(short().pooled)), unit(self.text_head(caption(False).tokens))
            content = text.layout.content & keep  # [B, L]
            terms["moment"] = losses.moment_nce(
                moment, words, text.tokens, content, self.config.words, self.temperature()
            )
        if weights.relation:
            whole, part = fused(long, False).pooled, fused(short, hides).pooled  # [B, D]
            forth = losses.negative_cosine(self.predictor(part), whole)
            terms["relation"] = (forth + losses.negative_cosine(self.predictor(whole), part)) / 2
        return terms

    def outside(self, start: Tensor) -> Tensor:
        """Patches outside the short view that begins at time step `start` [B], Boolean [B, N]."""
        step = torch.arange(self.grid.tokens, device=start.device) // self.grid.space
        begun = start[:, None]
        outside = (step < begun) | (step >= begun + self.window)
        return counted_each(outside, (self.grid.time - self.window) * self.grid.space)

    def generate(self, video: Tensor, prompts: Sequence[str] | None = None, *, beams: int = 1) -> list[str]:
        """Captions of clips [B, T, H, W, 3], which begin with their prompts if there are any."""
        return self.decoder.write(self.video(video).tokens, prompts, beams=beams)
