"""Abilities of recipes that encode each side and then read both together in a fusion encoder."""

from __future__ import annotations

from torch import Tensor, nn

from workbench.models.fusion import FusionEncoder
from workbench.models.text import TextEncoder
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import Text
from workbench.recipe.heads import judgement, match_score


class AttendingWords:
    """The ability `attended`, see `BaseRecipe`: Clover, MaskVLM, VLMAE and the recipes of `joint.py`."""

    video: VideoEncoder
    text: TextEncoder
    fusion: FusionEncoder

    def attended(self, video: Tensor, text: Text) -> Tensor:
        """How much the words of each caption attend to each token of its clip, [B, N]."""
        words, keep = self.words_to_fuse(text)
        return self.fusion(self.video(video).tokens, words, keep, show=True).attended(keep)

    def words_to_fuse(self, text: Text) -> tuple[Tensor, Tensor]:
        """Captions as the fusion encoder reads them: words [B, L, D], and which are not padding, [B, L]."""
        return self.text(text).tokens, text.layout.valid


class JudgingPairs:
    """The ability `match`, see `BaseRecipe`, by the fusion's class token: HiTeA, MaskVLM, OmniVL, VLMAE."""

    video: VideoEncoder
    text: TextEncoder
    fusion: FusionEncoder
    match_head: nn.Module
    """Maps a pair's pooled vector to two logits: no match, match."""

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions, see `heads.match_score`."""
        return match_score(self.judge(self.video(video).tokens, self.text(text).tokens, text.layout.valid))

    def judge(self, video: Tensor, text: Tensor, keep: Tensor) -> Tensor:
        """Logits [P, 2] (no match, match) of pairs of clips and captions.

        Args:
            video, text: tokens [P, n, D] and [P, L, D] of both sides.
            keep: Boolean [P, L], False at padding.
        """
        return judgement(self.match_head, self.fusion(video, text, keep).pooled)
