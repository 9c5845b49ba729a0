"""VIOLET: end-to-end video-language transformers with masked visual-token modelling (arXiv:2111.12681).

A clip's tokens and a caption's words are read by one transformer, with patches and words hidden on both
sides. Hidden words are predicted, and of hidden patches the *codes*: the number of the nearest patch in a
codebook that was made before. From what both sides show, each clip is told its own caption from others of
the batch. Half of the samples hide boxes in space and time, and words by chance; the other half hide what
gets much attention when everything is shown (`attended`; 0 switches it off).

Differs from the paper: the shared small core from a random start instead of a Video Swin Transformer and a
trained BERT; patches of a ViT that sees all frames at once, without a class token for each frame; codes by
k-means over the pixels of training patches instead of a dVAE's 8192; boxes fill the same share in every
clip, and are below two thirds in time as well; attended masking counts words without padding; a clip's own
caption is read once for all three losses; projections of the clip's mean token and of the class token of
a caption read without a clip, trained by the stage `align` only, so that it can be compared with dual
encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench import losses
from workbench.errors import UserError
from workbench.fields import at_least
from workbench.masking.attended import attended
from workbench.masking.video import BoxMasking, VideoMasking, check_ratio
from workbench.models.codebook import Codebook
from workbench.models.text import Vocabulary
from workbench.models.video import VideoConfig
from workbench.recipe.batch import Batch, BatchRng, Draw, Masks
from workbench.recipe.codes import fit_codes
from workbench.recipe.heads import perceptron
from workbench.recipe.joint import ChoosingEncoder, JointConfig

if TYPE_CHECKING:
    from workbench.data.store import FrameStore


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mlm: float = 1.0
    mvm: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(JointConfig):
    video: VideoConfig = field(
        default_factory=lambda: VideoConfig(patch=16, tubelet=1, pool="mean", hidden="zero")
    )
    video_masking: VideoMasking | None = BoxMasking(ratio=0.15)
    attended: float = 0.15
    """Share of patches and words together that is hidden by attention, in half of the samples; 0: in none."""
    codes: int = 256
    """Size of the codebook."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ratio("attended", self.attended)
        at_least("recipe.codes", self.codes, 2)
        if self.video.hidden == "drop":
            raise UserError("violet reads hidden patches too: video.hidden is 'zero' or 'replace'")


class Recipe(ChoosingEncoder):
    """Hide parts of both sides, read them together, predict words and codes, choose the caption.

    Letters: B batch, N tokens of a clip, L places of a caption, M hidden places, D width.
    """

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

    def masks(self, batch: Batch, rng: BatchRng) -> Masks:
        """Boxes and words by chance in half of the samples, in the other half what is attended to."""
        drawn, words = super().masks(batch, rng), batch.text.layout.valid
        if not self.config.attended:
            return drawn
        chosen = self._attended(batch, rng).split([self.grid.tokens, words.shape[1]], 1)
        turn = rng.uniform(len(words), 1) < 0.5
        video, text = (
            own & turn if other is None else torch.where(turn, own, other)
            for own, other in zip(chosen, drawn, strict=True)
        )
        return Masks(video, text)

    @torch.no_grad()
    def _attended(self, batch: Batch, rng: BatchRng) -> Tensor:
        """A share of patches and words together, the likelier the more attention they get, [B, N + L]."""
        words, keep = self.text.embed(batch.text)
        weight = self.fusion.received(self.video(batch.video).tokens, words, keep)
        count = (self.config.attended * (self.grid.tokens + keep.sum(1).double()) + 1e-9).long()
        return attended(weight, count, rng)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        return self._drawn(batch, draw, lambda tokens: self.codebook.pixels(self.code_head(tokens)))

    def losses(self, batch: Batch, draw: Draw, *, masked: bool = True) -> dict[str, Tensor]:
        weights, patches, words = self.config.weights, draw.video_mask, draw.text_mask
        video = self.video(batch.video, patches).tokens  # [B, N, D]
        fused = self._read(video, batch.text, words)
        terms = {}
        if weights.mlm and words is not None:
            terms["mlm"] = losses.mlm(self.word_head(fused.text[words]), batch.text.tokens[words])
        if weights.mvm and patches is not None:
            codes = self.codebook(self.video.patches(batch.video)[patches])  # [M]
            terms["mvm"] = losses.mvm_codes(self.code_head(fused.video[patches]), codes)
        if weights.vtm:
            terms["vtm"] = self._vtm(fused.pooled, video, batch, draw)
        if not terms:
            raise UserError("violet has nothing to learn where nothing is hidden and weights.vtm is 0")
        return terms
