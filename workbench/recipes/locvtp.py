"""LocVTP: video-text pre-training for temporal localization (arXiv:2207.10362).

A clip is a row of time steps, a caption a row of words, all in one space. Coarse: the mean of the steps is
aligned with the caption, with similar samples as soft positives (`vtc`). Fine: each step is pulled to the
word of its own caption that fits it best, away from a few others of that caption, and each word to its best
step (`fine`). The same loss is also computed with a positive that is a few positions further; learned vectors
encode direction and length of the shift (`shifted`). The tail of another clip is pasted in at a random step,
which has to be found (`splice`). Switches: the weights, and `targets`. `embed_steps` gives the steps for
grounding.

Differs from the paper: after the released code, which its authors call uncleaned, as far as it differs; steps
of a small ViT that sees all frames at once instead of snippets of a C3D, a small BERT instead of DistilBERT,
both from a random start; cosines at a learned temperature of 0.05 instead of products of normed vectors; no
gradient through soft targets, which are at the temperature of the contrast (released: a factor of 1) and the
same for both directions (released: transposed for the second); all weights 1 instead of fine 10 and shifted
1000, which would drown the coarse term; fine negatives are drawn without the positive, which the released
code may draw, and those of the shifted contrast are the same, so that its positive, without its shift, may be
among them; a shift that would leave clip or caption ends there, and how far shifts go is our choice; the seam
is one of the steps, the first one for a clip that has no seam, instead of one of five classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather
from workbench.errors import UserError
from workbench.fields import at_least, one_of, positive
from workbench.models.encoder import Encoder
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, BatchRng, Draw, Text
from workbench.recipe.correspondence import Fits, Shift, best_fits
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import ResidualProjection, Temperature, unit
from workbench.recipe.joint import wrong_rows
from workbench.targets.precision import at_least_float32


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    fine: float = 1.0
    shifted: float = 1.0
    splice: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(
        default_factory=lambda: VideoConfig(patch=16, tubelet=1, cls=False, pool="mean")
    )
    targets: Literal["soft", "hard"] = "soft"
    """Targets of the coarse contrast: similarity of the samples (`soft`), or only the own pair (`hard`)."""
    negatives: int = 4
    """Negatives of each positive, from the same caption or clip; fewer if there are fewer."""
    fine_temperature: float = 0.07
    shift: int = 2
    """Maximum distance of the shifted positive, in steps or words."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.targets", self.targets, ("soft", "hard"))
        at_least("recipe.negatives", self.negatives, 1)
        at_least("recipe.shift", self.shift, 1)
        positive("recipe.fine_temperature", self.fine_temperature)
        if self.video_masking is not None or self.text_masking is not None:
            raise UserError("locvtp hides nothing: video_masking and text_masking must be None")
        if self.video.pool != "mean":
            raise UserError("locvtp pools the tokens of each step: video.pool must be 'mean'")


class Recipe(DualEncoder):
    """Encodes both sides, aligns them as a whole and part by part, and finds where clips are spliced.

    Letters: B batch, T steps of a clip, L positions of a caption, A anchors and K candidates (T and L, or L
    and T), D width, E shared space.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        weights = config.weights
        if weights.shifted:
            self.word_shift, self.step_shift = (Shift(config.embed, config.shift) for _ in range(2))
        self.splices = bool(weights.splice) and self.grid.time > 1
        if self.splices:
            self.splice_head = nn.Linear(self.video.width, 1, bias=False)
        elif not (weights.vtc or weights.fine or weights.shifted):
            raise UserError("locvtp cannot splice clips of one step: another of its weights must be above 0")
        self.video_head = ResidualProjection(self.video.width, config.embed)
        self.text_head = ResidualProjection(self.text.width, config.embed)
        self.temperature = Temperature(config.temperature, config.learn_temperature)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text}

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """Random choices of negatives, shifts and seams.

        They are uniform numbers that select negatives, `other_*` [B, A, K]; shifts of positives, `*_shift`
        [B, A]; and the step `seam` [B] from which the clip `tail` [B] rows further is pasted in; 0 for
        none."""
        (rows, places), steps, weights = batch.text.tokens.shape, self.grid.time, self.config.weights
        chosen: dict[str, Tensor] = {}
        if weights.fine or weights.shifted:
            chosen["other_words"] = rng.uniform(rows, steps, places)
            chosen["other_steps"] = rng.uniform(rows, places, steps)
        if weights.shifted:
            for name, anchors in (("word_shift", steps), ("step_shift", places)):
                back = rng.integers(-self.config.shift, self.config.shift, rows, anchors)
                chosen[name] = back + (back >= 0)  # any but 0
        if self.splices:
            chosen["seam"] = rng.integers(0, steps, rows)
            chosen["tail"] = rng.integers(1, max(2, rows * rng.size), rows)
        return chosen

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, valid, terms = self.config.weights, batch.text.layout.valid, {}  # valid [B, L]
        if weights.vtc or weights.fine or weights.shifted:
            steps, caption = self.embed_steps(batch.video), self.text(batch.text)  # [B, T, E]
        if weights.vtc:
            contrast = losses.vtc_soft if self.config.targets == "soft" else losses.vtc
            whole = unit(self.text_head(caption.pooled))  # [B, E]
            terms["vtc"] = contrast(unit(steps.mean(1)), whole, self.temperature())
        if weights.fine or weights.shifted:
            words, all_steps = unit(self.text_head(caption.tokens)), valid.new_ones(steps.shape[:2])
            negatives = self.config.negatives
            to_words = best_fits(steps, words, (all_steps, valid), draw.chosen["other_words"], negatives)
            to_steps = best_fits(words, steps, (valid, all_steps), draw.chosen["other_steps"], negatives)
        if weights.fine:
            terms["fine"] = (self._fine(to_words) + self._fine(to_steps)) / 2
        if weights.shifted:
            forth = self._shifted(steps, words, to_words, draw.chosen["word_shift"], self.word_shift)
            back = self._shifted(words, steps, to_steps, draw.chosen["step_shift"], self.step_shift)
            terms["shifted"] = (forth + back) / 2
        if self.splices:
            terms["splice"] = self._splice(batch.video, draw.chosen["seam"], draw.chosen["tail"])
        return terms

    def steps(self, video: Tensor) -> Tensor:
        """The mean token of each time step of uint8 clips, [B, T, D]."""
        return self.video(video).tokens.unflatten(1, (self.grid.time, -1)).mean(2)

    def embed_steps(self, video: Tensor) -> Tensor:
        """Unit vectors [B, T, E] of the time steps of uint8 clips [B, frames, H, W, 3]."""
        return unit(self.video_head(self.steps(video)))

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            raise UserError("locvtp hides no patches")
        return unit(self.embed_steps(video).mean(1))

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            raise UserError("locvtp hides no words")
        return super().pooled_text(text)

    def _fine(self, fits: Fits) -> Tensor:
        return losses.own_negatives_nce(
            fits.positive, fits.negatives, fits.counts, self.config.fine_temperature
        )

    def _shifted(self, anchors: Tensor, others: Tensor, fits: Fits, shift: Tensor, shift_by: Shift) -> Tensor:
        """As `_fine`, with the same negatives, but with positives `shift` [B, A] candidates further."""
        place = (fits.best + shift).clamp(min=0).minimum(fits.last)  # [B, A]
        further = others.gather(1, place[..., None].expand(-1, -1, others.shape[2]))  # [B, A, E]
        positive = (anchors * shift_by(further, place - fits.best)).sum(2)
        return losses.own_negatives_nce(positive, fits.negatives, fits.counts, self.config.fine_temperature)

    def _splice(self, video: Tensor, seam: Tensor, tail: Tensor) -> Tensor:
        """Loss of finding the step at which another clip's tail begins: cross-entropy over T steps."""
        frame = torch.arange(video.shape[1], device=video.device) // self.video.config.tubelet
        in_tail = (frame >= seam[:, None]) & (seam[:, None] > 0)  # [B, frames]
        other_clip = gather(video)[wrong_rows(tail[:, None])[:, 0]]
        spliced = torch.where(in_tail[..., None, None, None], other_clip, video)
        logits = self.splice_head(self.steps(spliced))[..., 0]  # [B, T]
        return F.cross_entropy(at_least_float32(logits), seam)
