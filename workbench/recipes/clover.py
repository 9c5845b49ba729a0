"""Clover: towards a unified video-language alignment and fusion model (arXiv:2207.07885).

Clip V and caption T are encoded as they are and with a share hidden, V_m and T_m (blocks of patches and
content words, both replaced), and fused crosswise: fused(V_m, T) and fused(V, T_m). Three objectives:
tri-modal alignment (`vtc`) pulls V towards T, T_m and a fused vector, and T towards V, V_m and the other one,
by an exclusive contrast, in which the positives of one anchor are no negatives of each other; pair-wise
ranking (`rank`) keeps the match of V and T ahead of those of V and T_m and of V_m and T by a margin; and
hidden words are predicted from fused(V, T_m) with a focal loss (`mlm`). Switches: `exclusive`,
`weights.rank`, and `fused_hides`: which fused vector an anchor is pulled to. Masked passes are additional
to unmasked ones: each step makes two passes through each encoder and through the fusion.

Differs from the paper: the shared small core from a random start instead of a Video Swin Transformer and a
trained BERT; content words instead of the objects and verbs that a scene-graph parser finds; 0.3 of each
caption's tokens instead of a chance of 0.3 for each word, the last one perhaps not whole; rectangles drawn at
once, the last one trimmed, and patches of 8 pixels; linear projections instead of perceptrons; the fusion
reads the words without the text encoder's class token, by pre-norm blocks with a class token of its own.
If nothing of a side is hidden, its masked positive and its ranking are left out, and clip and caption are
fused unmasked.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from workbench import losses
from workbench.errors import UserError
from workbench.fields import not_negative, one_of
from workbench.masking.positions import pick
from workbench.masking.text import ContentWordMasking, TextMasking
from workbench.masking.video import BlockMasking, VideoMasking
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.abilities import AttendingWords
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import projection, unit


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mlm: float = 1.0
    vtc: float = 1.0
    rank: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(hidden="replace", pool="mean"))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(depth=3))
    video_masking: VideoMasking | None = BlockMasking(ratio=0.2)
    text_masking: TextMasking | None = ContentWordMasking(ratio=0.3)
    learn_temperature: bool = False
    exclusive: bool = True
    """Leaves an anchor's other positives out of each term's denominator, which else contains all 3B
    logits."""
    fused_hides: Literal["own", "other"] = "own"
    """Which side is masked in the fused vector that an anchor is pulled to. `own`: V to fused(V_m, T) and T
    to fused(V, T_m), so that the other side has to supply what is hidden. `other`: the reverse, in which the
    vector has seen all of its anchor. The authors' repository has contained code for both."""
    margin: float = 5.0
    """Margin of the ranking loss, in logits (0.25 in cosine at temperature 0.05)."""
    gamma: float = 2.0
    """Exponent of the focal loss; 0 is plain cross-entropy."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.fused_hides", self.fused_hides, ("own", "other"))
        not_negative("recipe.margin", self.margin)
        not_negative("recipe.gamma", self.gamma)
        if self.text.hidden != "replace" or self.fusion.mode != "concat":
            raise UserError("clover needs text.hidden='replace' and fusion.mode='concat'")


class Recipe(AttendingWords, DualEncoder):
    """Encodes both sides unmasked and masked, fuses them crosswise, aligns, ranks and predicts hidden words.

    Letters: B batch, M hidden words of all captions, L places of a caption, D width, E of the shared space.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width = config.fusion.width
        self.fusion = FusionEncoder(config.fusion, video_width=self.video.width, text_width=self.text.width)
        self.word_head = WordHead(width, vocabulary.size)
        self.masked_video_head = projection(width, config.embed)  # of fused(V_m, T)
        self.masked_text_head = projection(width, config.embed)  # of fused(V, T_m)
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "fusion": self.fusion}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, keep, scale = self.config.weights, batch.text.layout.valid, self.temperature()
        hides_video, hides_text = draw.video_mask is not None, draw.text_mask is not None
        # Each pass runs at most once, and only if a loss needs it.
        clip = functools.cache(lambda hide: self.video(batch.video, draw.video_mask if hide else None))
        caption = functools.cache(lambda hide: self.text(batch.text, draw.text_mask if hide else None))
        fused = functools.cache(lambda v, t: self.fusion(clip(v).tokens, caption(t).tokens, keep))
        terms: dict[str, Tensor] = {}
        if weights.mlm and draw.text_mask is not None:
            words = pick(fused(False, True).text, draw.text_mask)  # [M, D]
            hidden = pick(batch.text.tokens, draw.text_mask)
            terms["mlm"] = losses.mlm_focal(self.word_head(words), hidden, self.config.gamma)
        ranks = weights.rank and (hides_video or hides_text)
        if weights.vtc or ranks:  # V and V_m, T and T_m, each [B, E]
            videos = [unit(self.video_head(clip(hide).pooled)) for hide in (False, True)[: 1 + hides_video]]
            texts = [unit(self.text_head(caption(hide).pooled)) for hide in (False, True)[: 1 + hides_text]]
        if weights.vtc:
            fused_v = unit(self.masked_video_head(fused(hides_video, False).pooled))  # [B, E]
            fused_t = unit(self.masked_text_head(fused(False, hides_text).pooled))  # [B, E]
            for_clip, for_caption = fused_v, fused_t
            if self.config.fused_hides == "other":
                for_clip, for_caption = fused_t, fused_v
            nce = functools.partial(losses.multi_positive_nce, scale=scale, exclusive=self.config.exclusive)
            terms["vtc"] = nce(videos[0], [*texts, for_clip]) + nce(texts[0], [*videos, for_caption])
        if ranks:
            right = scale * (videos[0] * texts[0]).sum(1)  # [B]
            wrong = [videos[0] * text for text in texts[1:]] + [video * texts[0] for video in videos[1:]]
            terms["rank"] = sum(
                (losses.ranking(right, scale * product.sum(1), self.config.margin) for product in wrong),
                right.new_zeros(()),
            )
        return terms
