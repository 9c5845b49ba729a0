"""InternVideo: general video foundation models via generative and discriminative learning (arXiv:2212.03191).

Two video encoders of one clip. The generative one is a masked autoencoder: tubes of 90 % of the patches are
dropped, and a light decoder predicts their pixels (`mvm`). The contrastive one sees the whole clip, is
aligned with captions (`vtc`), and a decoder that attends to its tokens writes these (`lm`). In a
coordinator the contrastive encoder's vector queries the generative one's tokens, and the sum is also aligned
with captions (`joint`), while both encoders are fixed. `recipe` trains all of this together, without
gradients of `joint` to an encoder; the paper trains in three stages: `predict`, `contrast`, `coordinate`.
Both encoders may come from earlier runs, by `init_from`:

    part="generative", source="video", and part="decoder"    of a run of videomae
    part="video"                                             of a run of mac, or of coca with the same encoder
    part="text"                                              of a run of coca

The two are built alike except for the class token. The switch is `coordinate`: `attention`, `concat` (a
perceptron of as many parameters over both encoders' vectors), or `off` (the contrastive encoder alone).

Differs from the paper: the shared small core from a random start, without CLIP's weights and without labels;
what asks and what is asked, at which depth, and that projections learn with the coordinator are our choice,
as are the weights; learned instead of sine positions; a pixel decoder of one block; captions are embedded by
the lower half of a causal decoder and written by the upper one, as in CoCa; the stage `align` trains both
encoders through the coordinator.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from workbench import losses, targets
from workbench.errors import UserError
from workbench.fields import at_least, one_of
from workbench.masking.video import TubeMasking, VideoMasking
from workbench.models.caption import BOS, EOS, CaptionDecoder, Read, check_marks
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.encoder import Encoder
from workbench.models.pooler import Coordinator
from workbench.models.text import TextConfig, Vocabulary
from workbench.models.video import Encoded, VideoEncoder
from workbench.recipe.base import EMBEDDINGS, Phase
from workbench.recipe.batch import Batch, Draw, Text
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import unit
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places

if TYPE_CHECKING:
    from workbench.config import RunConfig

HEADS = ("video_head", "text_head", "temperature")

LEARNS = {"predict": ("mvm",), "contrast": ("vtc", "lm"), "coordinate": ("joint",)}
"""Phase -> its losses."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    mvm: float = 1.0
    vtc: float = 1.0
    lm: float = 1.0
    joint: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    text: TextConfig = field(default_factory=lambda: TextConfig(words=(BOS, EOS)))
    """`depth` is the number of blocks in each half of the decoder."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: VideoMasking | None = TubeMasking(ratio=0.9)
    coordinate: Literal["attention", "concat", "off"] = "attention"
    coordinator_depth: int = 2
    temperature: float = 0.07
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.coordinate", self.coordinate, ("attention", "concat", "off"))
        at_least("recipe.coordinator_depth", self.coordinator_depth, 1)
        if self.video_masking is None or self.video.hidden != "drop":
            raise UserError(
                "internvideo predicts what was dropped: it needs a video_masking and video.hidden='drop'"
            )
        if self.text_masking is not None:
            raise UserError("internvideo predicts every word from those before it: it takes no text_masking")
        check_marks("internvideo", self.text)


class Recipe(DualEncoder):
    """Masks and predicts; aligns and writes captions; coordinates both encoders and aligns again.

    Letters: B batch, N tokens of a clip, n of them visible and M hidden, P pixels of a token in all channels,
    S = L + 2 positions of a caption with its begin and end tokens, D width, E shared space, V vocabulary.
    """

    DISTRIBUTED: ClassVar = True

    PHASES: ClassVar = {
        "predict": Phase(("generative.", "decoder.")),
        "contrast": Phase(("video.", "text.", *HEADS)),
        "coordinate": Phase(("coordinator.", *HEADS)),
    }
    reconstruction = Reconstruction("none", targets.OF_COLOURS)
    text: CaptionDecoder  # type: ignore[assignment]  # of which the lower half embeds captions

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        alike = replace(config.video, cls=False, pool="mean", pretrained="")
        self.generative = VideoEncoder(alike, frames=frames, size=size)
        width, keys, pixels = self.video.width, self.generative.width, self.generative.pixels
        self.decoder = PixelDecoder(config.decoder, grid=self.video.grid, encoder_width=keys, pixels=pixels)
        self.text = CaptionDecoder(config.text, vocabulary, memory=width)
        depth, attention = config.coordinator_depth, config.coordinate == "attention"
        self.coordinator: Coordinator | None = None
        if config.coordinate != "off":
            self.coordinator = Coordinator(width, self.video.heads, depth, keys=keys, attention=attention)
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        parts: dict[str, Encoder] = {"video": self.video, "generative": self.generative}
        parts |= {"text": self.text.lower, "writer": self.text.upper, "decoder": self.decoder}
        return parts if self.coordinator is None else {**parts, "coordinator": self.coordinator}

    def trained_by(self, ability: str) -> tuple[str, ...]:
        weights = self.config.weights
        if ability in EMBEDDINGS:
            joint = weights.joint and self.coordinator is not None
            return (
                *(("recipe",) if weights.vtc or joint else ()),
                *(("contrast",) if weights.vtc else ()),
                "align",
                "coordinate",
            )
        objectives = super().trained_by(ability)
        return (*objectives, "contrast") if ability == "generate" and objectives else objectives

    @classmethod
    def check_run(cls, config: RunConfig, drawn: Collection[str]) -> None:
        phases = {stage.objective for stage in config.stages}
        if config.recipe.coordinate == "off" and "coordinate" in phases:
            raise UserError("with coordinate='off' internvideo has nothing to train in a stage 'coordinate'")
        for phase, terms in LEARNS.items():
            if phase in phases and not any(getattr(config.recipe.weights, term) for term in terms):
                names = " or ".join(f"weights.{term}" for term in terms)
                raise UserError(f"internvideo has nothing to learn in a stage {phase!r} without {names}")

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights = self.config.weights
        terms = self.predict(batch, draw) if weights.mvm and draw.video_mask is not None else {}
        if weights.vtc or weights.lm:
            seen, read = self.video(batch.video), self.text.read(batch.text)  # [B, N, D] and [B, S, D]
            terms |= self._contrast(seen, read)
            if weights.joint and self.coordinator is not None:
                terms |= self._coordinate(seen, read, batch)
        elif weights.joint and self.coordinator is not None:
            terms |= self.coordinate(batch, draw)
        return terms

    def predict(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """First phase: predicts the pixels of the dropped patches."""
        mask = draw.video_mask  # [B, n + M]
        if mask is None:
            raise UserError("internvideo has nothing to predict where nothing is hidden: leave masked=True")
        predicted = self.decoder(self.generative(batch.video, mask).tokens, mask)  # [B, n, D] to [B, M, P]
        return {
            "mvm": losses.mvm(predicted, targets.normalised_pixels(self.video.patches(batch.video, mask)))
        }

    def contrast(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Second phase: aligns whole clips with captions, and writes the captions."""
        return self._contrast(self.video(batch.video), self.text.read(batch.text))

    def coordinate(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Third phase: aligns the coordinated vector of both encoders with captions."""
        with torch.no_grad():
            seen, read = self.video(batch.video), self.text.read(batch.text)
        return self._coordinate(seen, read, batch)

    def _contrast(self, seen: Encoded, read: Read) -> dict[str, Tensor]:
        weights, terms = self.config.weights, {}
        if weights.vtc:
            video, text = self.project(seen.pooled, read.pooled)  # [B, E]
            terms["vtc"] = losses.vtc(video, text, self.temperature())
        if weights.lm:
            logits = self.text(read.states[:, :-1], seen.tokens)  # [B, S - 1, V], each of the next word
            terms["lm"] = losses.lm(logits, read.tokens[:, 1:], read.valid[:, 1:])
        return terms

    def _coordinate(self, seen: Encoded, read: Read, batch: Batch) -> dict[str, Tensor]:
        assert self.coordinator is not None, "see check_run"
        with torch.no_grad():
            generative = self.generative(batch.video)  # tokens [B, N, D]
        both = self.coordinator(seen.pooled.detach(), generative)  # [B, D]
        video, text = self.project(both, read.pooled.detach())  # [B, E]
        return {"joint": losses.vtc(video, text, self.temperature())}

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of clips from both encoders; `mask` [B, N] hides patches from both."""
        pooled = self.video(video, mask).pooled
        if self.coordinator is not None:
            pooled = self.coordinator(pooled, self.generative(video, mask))
        return unit(self.video_head(pooled))

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            raise UserError("internvideo hides no words")
        return self.text.read(text).pooled

    def features(self, video: Tensor) -> Tensor:
        """Tokens [B, N, 2D] of both encoders side by side: each stage trains one of them."""
        return torch.cat([self.video(video).tokens, self.generative(video).tokens], -1)

    def generate(self, video: Tensor, prompts: Sequence[str] | None = None, *, beams: int = 1) -> list[str]:
        """Captions of clips [B, T, H, W, 3] from the contrastive encoder; they begin with their prompts."""
        return self.text.write(self.video(video).tokens, prompts, beams=beams)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask = hidden_places(self, draw)  # [B, n + M]
        predicted = self.decoder(self.generative(batch.video, mask).tokens, mask)  # [B, M, P]
        pixels = targets.denormalised_pixels(predicted, self.video.patches(batch.video, mask))
        return filled(self.video, batch, mask, pixels)
