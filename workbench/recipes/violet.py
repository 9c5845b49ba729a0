"""VIOLET: end-to-end video-language transformers with masked visual-token modelling (arXiv:2111.12681).

A clip's tokens and a caption's words are read by one transformer, with patches and words hidden on both
sides. It predicts hidden words and the *codes* of hidden patches: the number of the nearest patch in a
codebook that was fitted before. From the visible patches of a clip, its own caption is chosen among others of
the batch. Half of the samples (rounded up) hide space-time boxes and random words; the other half hide
positions that get much attention when everything is visible (`attended`; 0 switches it off).

Differs from the paper: the shared small core from a random start instead of a Video Swin Transformer and a
trained BERT; patches of a ViT that sees all frames at once, without a class token for each frame; codes by
k-means over the pixels of training patches instead of a dVAE's 8192; boxes fill the same share in every clip,
and are below two thirds in time as well; attended masking counts words without padding; the choice of the
caption shows all words, which takes one more read of the own one, because attended masking hides of a clip
and its own caption together a fixed number, by which that caption would be known; that the positions hidden
by attention were chosen with the own caption, which may tell it too once attention is sharp, is as in the
released code; projections of the clip's mean token and of the class token of a caption read without a clip,
trained by the stage `align` only, so that it can be compared with dual encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from workbench import losses
from workbench.errors import UserError
from workbench.fields import at_least
from workbench.masking.attended import attended
from workbench.masking.positions import places
from workbench.masking.video import BoxMasking, VideoMasking, check_ratio
from workbench.models.codebook import Codebook
from workbench.models.text import Vocabulary
from workbench.recipe.batch import Batch, BatchRng, Draw, Masks
from workbench.recipe.codes import fit_codes
from workbench.recipe.heads import perceptron
from workbench.recipe.joint import ChoosingConfig, ChoosingEncoder

if TYPE_CHECKING:
    from workbench.data.store import FrameStore


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mlm: float = 1.0
    mvm: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(ChoosingConfig):
    video_masking: VideoMasking | None = BoxMasking(ratio=0.15)
    attended: float = 0.15
    """Share of patches and words together that is hidden by attention, in half of the samples; 0 for none."""
    codes: int = 256
    """Size of the codebook."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ratio("attended", self.attended)
        at_least("recipe.codes", self.codes, 2)


class Recipe(ChoosingEncoder):
    """Hides parts of both sides, reads them together, predicts words and codes, chooses the caption.

    Letters: B batch, N tokens of a clip, L positions of a caption, M hidden positions, D width.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.build_joint(config, frames=frames, size=size, vocabulary=vocabulary)
        if config.weights.mvm:
            self.codebook = Codebook(config.codes, self.video.pixels)
            self.code_head = perceptron(config.fusion.width, config.codes)
        self.build_heads(config, text_width=config.fusion.width)

    def prepare(self, store: FrameStore, rng: torch.Generator) -> float:
        """Fits the codebook to training patches."""
        return fit_codes(self.codebook, self.video, store, rng) if self.config.weights.mvm else 0.0

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """The shared alignment uses random masks only.

        Attention hides a fixed number of positions of a clip and its own caption together, which would reveal
        the pair."""
        if objective == "align" and masked:
            return Draw(*super().masks(batch, rng))
        return super().draw(batch, rng, objective=objective, masked=masked)

    def masks(self, batch: Batch, rng: BatchRng) -> Masks:
        """Random boxes and words in half of the samples, attended positions in the other half."""
        by_chance, words = super().masks(batch, rng), batch.text.tokens
        rows, tokens, length = len(words), self.grid.tokens, words.shape[1]
        if not self.config.attended or rows < 2:
            return by_chance
        if rows % 2 and rng.size > 1:
            raise UserError(
                f"violet with attended masking needs an even number of rows per process, not {rows}"
            )
        # One of each two neighbours, so that several processes choose the same rows as one.
        second = rng.uniform(rows // 2) < 0.5
        half = 2 * torch.arange(rows // 2, device=second.device) + second
        by_attention = self._attended(batch.select(half), rng).split([tokens, length], 1)
        masks = []
        for count, drawn, attended_to in zip((tokens, length), by_chance, by_attention, strict=True):
            if drawn is None:
                drawn = torch.zeros(rows, count, dtype=torch.bool, device=half.device)
            masks.append(drawn.index_copy(0, half, attended_to))
        return Masks(*masks)

    @torch.no_grad()
    def _attended(self, batch: Batch, rng: BatchRng) -> Tensor:
        """Samples a share of patches and words together in proportion to their attention, [B, N + L]."""
        words, keep = self.text.embed(batch.text)
        weight = self.fusion.received(self.video(batch.video).tokens, words, keep)
        count = (self.config.attended * (self.grid.tokens + keep.sum(1).double()) + 1e-9).long()
        return attended(weight, count, rng)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        return self._drawn(batch, draw, lambda tokens: self.codebook.pixels(self.code_head(tokens)))

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights = self.config.weights
        video = self.video(batch.video, draw.video_mask).tokens  # [B, N, D]
        terms: dict[str, Tensor] = {}
        if (weights.mlm and draw.text_mask is not None) or (weights.mvm and draw.video_mask is not None):
            terms |= self._predict(batch, draw, video)
        if weights.vtm:  # all words shown: the mask of the own caption fits that of the clip
            own = self._read(video, batch.text).pooled
            terms["vtm"] = self._vtm(own, video, batch.text, draw.chosen["shift"])
        return terms

    def _predict(self, batch: Batch, draw: Draw, video: Tensor) -> dict[str, Tensor]:
        """Losses of words and codes from one pass over both sides; a side that hides nothing has none."""
        weights, patches, words = self.config.weights, draw.video_mask, draw.text_mask
        fused = self._read(video, batch.text, words)
        terms = {}
        if weights.mlm and words is not None:
            hidden = places(words)  # once for both: where attention hides, the device is asked for the number
            terms["mlm"] = losses.mlm(self.word_head(fused.text[hidden]), batch.text.tokens[hidden])
        if weights.mvm and patches is not None:
            hidden = places(patches)
            codes = self.codebook(self.video.patches(batch.video)[hidden])  # [M]
            terms["mvm"] = losses.mvm_codes(self.code_head(fused.video[hidden]), codes)
        return terms
