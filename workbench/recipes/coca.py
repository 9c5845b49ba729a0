"""CoCa: contrastive captioners are image-text foundation models (arXiv:2205.01917).

One forward pass for two losses. The lower half of a causal text decoder reads the caption alone and embeds
it by a class token; the upper half attends to the clip as well and predicts each next word. Attention
poolers turn the clip's tokens into `queries` vectors for the decoder and, on top of them, one for the
contrast.

- `pooler`: `cascade`, `parallel` (the one vector is read from the tokens, beside the others) or `none` (the
  decoder attends to all tokens, the contrast uses the pooled vector of the video encoder).
- `split`: `half`, or `none`: every layer attends to the clip; a caption is embedded by a separate pass.

Differs from the paper: the shared small core from a random start, on clips: one space-time encoder instead of
averaged frames; no class token in it; 16 queries instead of 256; two blocks in each half; an upper block that
attends to the clip has a perceptron of its own, as in open_clip; a temperature that stops at 0.01; no labels
as captions. `pooler=none` and `split=none` are ours: they remove one part each. Hiding patches is an
option (`video_masking`), off by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from workbench import losses
from workbench.errors import UserError
from workbench.fields import at_least, one_of
from workbench.models.caption import BOS, EOS, CaptionDecoder, check_marks
from workbench.models.encoder import Encoder
from workbench.models.pooler import Pooled, TwoPoolers
from workbench.models.text import TextConfig, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, Draw, Text
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import unit


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's weights; a term of weight 0 is not computed."""

    vtc: float = 1.0
    lm: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(cls=False, pool="mean"))
    text: TextConfig = field(default_factory=lambda: TextConfig(words=(BOS, EOS)))
    """`depth` is the number of blocks in each half of the decoder."""
    pooler: Literal["cascade", "parallel", "none"] = "cascade"
    queries: int = 16
    """Vectors of a clip that the decoder attends to."""
    split: Literal["half", "none"] = "half"
    temperature: float = 0.07
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.pooler", self.pooler, ("cascade", "parallel", "none"))
        one_of("recipe.split", self.split, ("half", "none"))
        at_least("recipe.queries", self.queries, 1)
        if self.text_masking is not None:
            raise UserError("coca predicts every word from those before it: it takes no text_masking")
        check_marks("coca", self.text)


class Recipe(DualEncoder):
    """Reads the caption, attends to the clip, contrasts the two and predicts each next word.

    Letters: B batch, n tokens of a clip, Q of them pooled (n without poolers), S = L + 2 positions of a
    caption with its begin and end tokens, D width, E shared space, V vocabulary.
    """

    DISTRIBUTED: ClassVar = True

    text: CaptionDecoder  # type: ignore[assignment]  # of which the lower half embeds captions

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        width = self.video.width
        self.pooler = (
            TwoPoolers(config.queries, width, self.video.heads, cascade=config.pooler == "cascade")
            if config.pooler != "none"
            else None
        )
        self.text = CaptionDecoder(config.text, vocabulary, memory=width, split=config.split == "half")
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        pooler: dict[str, Encoder] = {} if self.pooler is None else {"pooler": self.pooler}
        return {"video": self.video, **pooler, **self.text.halves}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights = self.config.weights
        clip = self.look(batch.video, draw.video_mask)  # one vector [B, D] and several [B, Q, D]
        caption = self.text.read(batch.text)  # its class token [B, D], states [B, S, D]
        terms = {}
        if weights.vtc:
            video, text = self.project(clip.single, caption.pooled)  # [B, E]
            terms["vtc"] = losses.vtc(video, text, self.temperature())
        if weights.lm:
            logits = self.text(caption.states[:, :-1], clip.several)  # [B, S - 1, V], each of the next word
            terms["lm"] = losses.lm(logits, caption.tokens[:, 1:], caption.valid[:, 1:])
        return terms

    def look(self, video: Tensor, mask: Tensor | None = None) -> Pooled:
        """The visible clip as one vector for the contrast [B, D] and several for the decoder [B, Q, D]."""
        seen = self.video(video, mask)
        if self.pooler is None:
            return Pooled(seen.pooled, seen.tokens)
        pooled: Pooled = self.pooler(seen.tokens)
        return pooled

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        return unit(self.video_head(self.look(video, mask).single))

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            raise UserError("coca hides no words")
        return self.text.read(text).pooled

    def generate(self, video: Tensor, prompts: Sequence[str] | None = None, *, beams: int = 1) -> list[str]:
        """Captions of clips [B, T, H, W, 3], which begin with their prompts if there are any."""
        return self.text.write(self.look(video).several, prompts, beams=beams)
