"""The settings, embeddings and contrast of recipes that embed clips and captions in one space."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from workbench import losses
from workbench.errors import UserError
from workbench.fields import at_least, not_negative
from workbench.masking.positions import some_rows
from workbench.masking.text import TextMasking
from workbench.masking.video import VideoMasking
from workbench.models.text import TextConfig, TextEncoder
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.base import EMBEDDINGS, BaseRecipe
from workbench.recipe.batch import Batch, Draw, Text
from workbench.recipe.heads import Temperature, projection, unit

LOWEST_TEMPERATURE = 0.01
"""Below this value the clamp at CLIP's 100 would take effect without notice."""


@dataclass(frozen=True, kw_only=True)
class DualConfig:
    """Settings of every dual encoder; a recipe's `Config` adds its own parts and its paper's defaults."""

    video: VideoConfig = field(default_factory=VideoConfig)
    text: TextConfig = field(default_factory=TextConfig)
    video_masking: VideoMasking | None = None
    text_masking: TextMasking | None = None
    embed: int = 128
    """Width of the shared space."""
    temperature: float = 0.05
    learn_temperature: bool = True
    weights: Any
    """A frozen dataclass with a weight for each of the recipe's losses."""

    def __post_init__(self) -> None:
        at_least("recipe.embed", self.embed, 1)
        if not LOWEST_TEMPERATURE <= self.temperature < math.inf:
            raise UserError(
                f"recipe.temperature must be a number of at least {LOWEST_TEMPERATURE}, not "
                f"{self.temperature!r}"
            )
        weights = asdict(self.weights)
        for name, value in weights.items():
            not_negative(f"recipe.weights.{name}", value)
        if not any(weights.values()):
            raise UserError("all of recipe.weights are 0: there is nothing to train")


def rows_of(batch: Batch, draw: Draw, rows: slice) -> tuple[Batch, Draw]:
    """Some rows of a batch, and the random choices of these rows."""
    video, text = (None if mask is None else some_rows(mask, rows) for mask in draw[:2])
    return batch.select(rows), Draw(video, text, {name: chosen[rows] for name, chosen in draw.chosen.items()})


class DualEncoder(BaseRecipe):
    """Embeds clips and captions with two encoders, or with one that reads both (`pooled_text`)."""

    CONTRASTS: ClassVar[tuple[str, ...]] = ("align",)

    video: VideoEncoder
    text: TextEncoder
    video_head: nn.Module
    text_head: nn.Module

    def build_heads(self, config: DualConfig, text_width: int = 0) -> None:
        """Builds the projections to the shared space and the temperature; a recipe calls it last.

        text_width: width of the vectors from `pooled_text`; 0 for the text encoder's width.
        """
        self.video_head = projection(self.video.width, config.embed)
        self.text_head = projection(text_width or self.text.width, config.embed)
        self.temperature = Temperature(config.temperature, config.learn_temperature)

    def trained_by(self, ability: str) -> tuple[str, ...]:
        """See `BaseRecipe`; only `align` trains embeddings if the recipe's own losses have no contrast."""
        if ability not in EMBEDDINGS:
            return super().trained_by(ability)
        return ("recipe", "align") if self.weights().get("vtc") else ("align",)

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of uint8 clips [B, T, H, W, 3]; `mask` [B, N], True = hidden."""
        return unit(self.video_head(self.video(video, mask).pooled))

    def embed_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of captions [B, L]; `mask` [B, L], True = hidden."""
        return unit(self.text_head(self.pooled_text(text, mask)))

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        """One vector for each caption, [B, D]."""
        return self.text(text, mask).pooled

    def project(self, video: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors [B, E] in the shared space, of pooled clips and pooled captions, [B, D] each."""
        return unit(self.video_head(video)), unit(self.text_head(text))

    def align(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The contrastive loss of clips and captions alone, which all arms of a comparison can share."""
        return self.contrast_of(*self.embedded(batch, draw))

    def embedded(self, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor]:
        """Unit vectors [B, E] of the visible parts of clips and of captions, for the contrastive loss."""
        return self.embed_video(batch.video, draw.video_mask), self.embed_text(batch.text, draw.text_mask)

    def contrast_of(self, video: Tensor, text: Tensor) -> dict[str, Tensor]:
        """The losses of an objective in `CONTRASTS`, computed only from both sides' unit vectors [B, E]."""
        return {"vtc": losses.vtc(video, text, self.temperature())}
