"""Recipes in which one transformer reads a clip beside a caption: LAVENDER, VIOLET, VIOLETv2.

Letters: B batch, C captions of a clip, n tokens of a clip, L positions of a caption, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench import losses
from workbench.distributed import gather, own_rows, size
from workbench.errors import UserError
from workbench.fields import at_least
from workbench.masking.text import TextMasking, TokenMasking
from workbench.models.codebook import OF_CODES
from workbench.models.encoder import Encoder
from workbench.models.fusion import Fused, FusionConfig, FusionEncoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.abilities import AttendingWords
from workbench.recipe.batch import Batch, BatchRng, Draw, Text
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import judgement, perceptron
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places


@dataclass(frozen=True, kw_only=True)
class JointConfig(DualConfig):
    """Settings that these recipes share; each recipe has weights `mlm` and `vtm`."""

    video: VideoConfig = field(default_factory=lambda: VideoConfig(patch=16, tubelet=1, pool="mean"))
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=0))
    """Only the embedding layer is used, because the fusion encoder reads the words."""
    fusion: FusionConfig = field(default_factory=FusionConfig)
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    candidates: int = 4
    """Captions that each clip is matched with, one of them its own; fewer in a small batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("recipe.candidates", self.candidates, 2)
        if self.text.depth or self.text.hidden != "replace" or self.fusion.mode != "concat":
            name = type(self).__module__.rpartition(".")[2]
            raise UserError(f"{name} needs text.depth=0, text.hidden='replace' and fusion.mode='concat'")


class JointEncoder(AttendingWords, DualEncoder):
    """Reads both sides together and predicts words; for the alignment it embeds each side separately."""

    def build_joint(self, config: JointConfig, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        """Builds the encoders, the fusion and the word head; a recipe calls it first."""
        self.vocabulary = vocabulary.longer(1)  # a caption and one word after it
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, self.vocabulary)
        self.fusion = FusionEncoder(config.fusion, video_width=self.video.width, text_width=self.text.width)
        self.word_head = WordHead(config.fusion.width, vocabulary.size)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "fusion": self.fusion}

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """Offsets from a clip's row to those of its wrong captions, `shift` [B, C - 1], all different."""
        if not self.config.weights.vtm:
            return {}
        rows = len(batch.text.tokens)
        order = rng.uniform(rows, rows * rng.size - 1).argsort(dim=1, stable=True)
        return {"shift": order[:, : self.config.candidates - 1] + 1}

    def trained_by(self, ability: str) -> tuple[str, ...]:
        """See `BaseRecipe`; answers are predicted as hidden words."""
        if ability == "answer" and not self.config.weights.mlm:
            return ()
        return super().trained_by(ability)

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        return self.fusion.alone(*self.text.embed(text, mask))

    def answer(self, video: Tensor, question: Text, choices: Text) -> Tensor:
        """Logits [B, A] of answers at a [MASK] after each question, averaged over an answer's tokens.

        choices: answers [A, L] for all questions, or [B, A, L] with different ones for each question.
        """
        logits = self._at_mask(self.video(video).tokens, question)  # [B, V]
        tokens, valid = (x.expand(len(logits), *x.shape[-2:]) for x in (choices.tokens, choices.layout.valid))
        found = logits[:, None].expand(-1, tokens.shape[1], -1).gather(2, tokens)  # [B, A, L]
        return (found * valid).sum(2) / valid.sum(2).clamp(min=1)

    def words_to_fuse(self, text: Text) -> tuple[Tensor, Tensor]:
        return self.text.embed(text)

    def _at_mask(self, video: Tensor, text: Text) -> Tensor:
        """Logits [P, V] of words at a [MASK] that is appended to each caption."""
        text, at = text.append(self.vocabulary.mask)
        words = self._read(video, text).text
        return judgement(self.word_head, (words * at[..., None]).sum(1))

    def _read(
        self, video: Tensor, text: Text, mask: Tensor | None = None, attend: Tensor | None = None
    ) -> Fused:
        words, keep = self.text.embed(text, mask)
        fused: Fused = self.fusion(video, words, keep, attend=attend)
        return fused


@dataclass(frozen=True, kw_only=True)
class ChoosingConfig(JointConfig):
    """Settings of recipes that replace hidden patches by black ones or a learned token, and predict them."""

    video: VideoConfig = field(
        default_factory=lambda: VideoConfig(patch=16, tubelet=1, pool="mean", hidden="zero")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.video.hidden == "drop":
            name = type(self).__module__.rpartition(".")[2]
            raise UserError(f"{name} reads hidden patches too: video.hidden must be 'zero' or 'replace'")


class ChoosingEncoder(JointEncoder):
    """Chooses a clip's own caption among others of the batch by a score for each pair (VIOLET, VIOLETv2)."""

    def build_joint(self, config: JointConfig, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().build_joint(config, frames=frames, size=size, vocabulary=vocabulary)
        self.match_head = perceptron(config.fusion.width, 1)
        # A constant added to all scores of a choice has no effect, so its gradient would be only rounding
        # error.
        self.match_head[-1].bias.requires_grad_(False)

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions."""
        return judgement(self.match_head, self._read(self.video(video).tokens, text).pooled)[:, 0]

    @property
    def reconstruction(self) -> Reconstruction:
        """A reconstruction from codes if there is a codebook, else from pixels."""
        return Reconstruction("masked", OF_CODES) if hasattr(self, "codebook") else Reconstruction("masked")

    def _drawn(self, batch: Batch, draw: Draw, pixels: Callable[[Tensor], Tensor]) -> Tensor:
        """Clips [B, T, H, W, 3] whose hidden patches show the grey levels that `pixels` predicts.

        pixels: maps tokens [M, D], which were read with the visible words, to grey levels [M, P].
        """
        mask = hidden_places(self, draw)
        video = self.video(batch.video, mask).tokens
        tokens = self._read(video, batch.text, draw.text_mask).video[mask]
        return filled(self.video, batch, mask, pixels(tokens))

    def _vtm(
        self, own: Tensor, video: Tensor, text: Text, shift: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Loss of the choice between a clip's own caption and those `shift` [B, C - 1] rows further.

        Args:
            own: class tokens [B, D] of the clips read with their own captions.
            video: tokens of the clips, [B, n, D].
            mask: Boolean [B, L], hidden words of each caption, the same as for `own`. It must not depend on
                the clips, since it would then reveal which caption is the own one.
        """
        other = wrong_rows(shift).flatten()  # [B * (C - 1)]
        hidden = None if mask is None else gather(mask)[other]
        wrong = self._read(
            video.repeat_interleave(shift.shape[1], 0), text.gathered().select(other), hidden
        ).pooled
        pooled = torch.cat([own[:, None], wrong.unflatten(0, shift.shape)], 1)  # [B, C, D]
        return losses.vtm_choice(judgement(self.match_head, pooled)[..., 0])


def wrong_rows(shift: Tensor) -> Tensor:
    """Rows of each clip's wrong captions in the whole batch, `shift` rows further; both int64 [B, C - 1]."""
    return (own_rows(len(shift), shift.device)[:, None] + shift) % (len(shift) * size())
