"""MaskVLM: masked vision and language modelling, each conditioned on the other (arXiv:2208.02131).

Two encoders read clip and caption twice, unmasked and with a share hidden (groups of 2 x 2 patches, words).
Hidden content of one side is predicted from the rest of it and from the *unmasked* other side: the two
stacks of a cross-modality encoder query the other side's tokens; a linear layer predicts words, a decoder
that queries the words once more predicts pixels. In addition, clips and captions are aligned, and pairs are
judged by the product of the two class tokens after the cross-modality encoder. The switch `condition` sets
what each side is predicted from: the other side unmasked, that side masked, or nothing of it.

Differs from the paper: videos instead of images; the shared small core from a random start, two blocks in
each cross-modality stack and one in the decoder instead of three; keys are the other encoder's tokens at
every block; class tokens of the cross-modality encoder's own; hidden patches become a learned token before
the encoder; the temperature is learned. The paper itself could be read in part: how its parts are laid out,
the kind of its losses, ratios and weights are those that others report for it; that pixels are predicted as
they are, in [0, 1], that pairs are judged unmasked, each clip and each caption also with a hard negative, and
the factor of the encoders' lower learning rate are our choice.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather
from workbench.errors import UserError
from workbench.fields import one_of, positive
from workbench.masking.positions import pick
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import CellMasking, VideoMasking
from workbench.models.cross import CrossStack
from workbench.models.decoder import DecoderConfig
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import Encoded, VideoConfig, VideoEncoder
from workbench.recipe.abilities import AttendingWords
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualConfig
from workbench.recipe.hard_pairs import HardPairs, true_and_wrong_pairs
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    vtm: float = 1.0
    mlm: float = 0.5
    mvm: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(hidden="replace"))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(mode="both"))
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(width=128))
    video_masking: VideoMasking | None = CellMasking(ratio=0.6)
    text_masking: TextMasking | None = TokenMasking(ratio=0.3)
    temperature: float = 0.07
    condition: Literal["full", "masked", "none"] = "full"
    """The other side in the prediction of hidden content: unmasked (`full`), masked too, or left out
    (`none`)."""
    encoder_rate: float = 0.5
    """Learning rate of the two encoders, as a share of that of the other parts."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.condition", self.condition, ("full", "masked", "none"))
        positive("recipe.encoder_rate", self.encoder_rate)
        if self.text.hidden != "replace" or self.video.hidden != "replace" or self.fusion.mode != "both":
            raise UserError("maskvlm needs text.hidden and video.hidden 'replace', and fusion.mode='both'")


class Recipe(AttendingWords, HardPairs):
    """Encodes both sides twice, aligns them, predicts what was hidden on each and judges pairs.

    Letters: B batch, N tokens of a clip, L positions of a caption, D width.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width, inner = config.fusion.width, config.decoder
        self.fusion = FusionEncoder(config.fusion, video_width=self.video.width, text_width=self.text.width)
        self.decoder = CrossStack(inner.width, inner.depth, inner.heads, reads=width, keys=self.text.width)
        self.pixel_head = nn.Linear(inner.width, self.video.pixels)
        self.word_head = nn.Linear(width, vocabulary.size)
        self.match_head = nn.Linear(width, 2)
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "fusion": self.fusion, "decoder": self.decoder}

    def trained_by(self, ability: str) -> tuple[str, ...]:
        weights = self.config.weights
        if ability == "attended" and not (weights.vtm or weights.mlm):
            return ()  # no term has words query patches
        return super().trained_by(ability)

    def rates(self) -> dict[str, float]:
        return {"video.": self.config.encoder_rate, "text.": self.config.encoder_rate}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, condition = self.config.weights, self.config.condition
        keep, terms = batch.text.layout.valid, {}  # [B, L]
        # Each side is encoded once unmasked and once masked, and only if a loss needs it.
        clip = functools.cache(lambda hide: self.video(batch.video, draw.video_mask if hide else None))
        caption = functools.cache(lambda hide: self.text(batch.text, draw.text_mask if hide else None))
        if weights.mvm and draw.video_mask is not None:
            beside = None if condition == "none" else caption(condition == "masked")
            decoded = pick(self._decoded(clip(True), beside, keep), draw.video_mask)  # [hidden patches, d]
            hidden = self.video.patches(batch.video, draw.video_mask).flatten(0, 1)
            terms["mvm"] = losses.mvm_l1(self.pixel_head(decoded), hidden / 255)
        if weights.mlm and draw.text_mask is not None:
            patches = None if condition == "none" else clip(condition == "masked").tokens
            words = pick(self.fusion.read(caption(True).tokens, keep, patches), draw.text_mask)
            terms["mlm"] = losses.mlm(self.word_head(words), pick(batch.text.tokens, draw.text_mask))
        if weights.vtc or weights.vtm:
            video, text = clip(False), caption(False)
            embedded = self.project(video.pooled, text.pooled)  # [B, E] each
        if weights.vtc:
            terms["vtc"] = losses.vtc(*embedded, self.temperature())
        if weights.vtm:
            rows, columns = true_and_wrong_pairs(*embedded, self.temperature(), draw.chosen["negatives"])
            clips, words, real = gather(video.tokens), gather(text.tokens), gather(keep)  # of all processes
            logits = self.judge(clips[rows], words[columns], real[columns])  # [3B, 2]
            terms["vtm"] = losses.vtm(logits, rows == columns)
        return terms

    @property
    def reconstruction(self) -> Reconstruction:
        return Reconstruction(self.config.condition)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask, condition = hidden_places(self, draw), self.config.condition
        hide = draw.text_mask if condition == "masked" else None
        beside = None if condition == "none" else self.text(batch.text, hide)
        decoded = self._decoded(self.video(batch.video, mask), beside, batch.text.layout.valid)[mask]
        return filled(self.video, batch, mask, 255 * self.pixel_head(decoded))

    def _decoded(self, video: Encoded, text: Encoded | None, keep: Tensor) -> Tensor:
        """The decoder's tokens [B, N, d], from the visible part of the clip and, unless None, the caption."""
        tokens = self.fusion.look(video.tokens, None if text is None else text.tokens, keep)
        words = None if text is None else torch.cat([text.pooled[:, None], text.tokens], 1)
        decoded: Tensor = self.decoder(tokens, None, words, F.pad(keep, (1, 0), value=True))[0]
        return decoded
