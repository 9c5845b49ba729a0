"""Recipes whose fusion of both sides shows how much words look at the clip: Clover, MaskVLM, VLMAE."""

from __future__ import annotations

from torch import Tensor

from workbench.models.fusion import FusionEncoder
from workbench.models.text import TextEncoder
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import Text


class AttendingWords:
    """The ability `attended`, see `BaseRecipe`, of recipes that encode each side alone and then fuse both."""

    video: VideoEncoder
    text: TextEncoder
    fusion: FusionEncoder

    def attended(self, video: Tensor, text: Text) -> Tensor:
        """How much the words of each caption look at each token of its clip, [B, N]."""
        keep = text.layout.valid
        return self.fusion(self.video(video).tokens, self.text(text).tokens, keep, show=True).attended(keep)
