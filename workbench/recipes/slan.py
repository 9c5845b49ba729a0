"""SLAN: self-locator aided network for cross-modal understanding (arXiv:2211.16208); all but its two parts, a
region filter and a region adaptor, is our own choice, since only the paper's abstract could be read.

The filter selects the regions of a frame that matter to a caption, the adaptor moves them with the help of
the caption, and their content is aligned with single words; boxes are never given. Ours starts from 21
regions in each frame. Each level keeps the most relevant of them (by the cosine of the word that fits best;
the choice has a straight-through gradient), then moves them, by attention to each other, to the words and to
the patches.
Three objectives: clips and captions are contrasted (`vtc`); words query the content of the remaining
regions, by which pairs are judged (`vtm`); the regions of a clip fit the words of its caption better than
those of another clip do, and better than they fit another caption (`region`). The regions of every pair, also
of a false one, are selected by its own caption; otherwise they would reveal which pair is true.

- `levels`: regions of each frame that each level keeps; 21 keeps all, `()` keeps all at their first
positions.
- `adapt`: whether levels move the regions that they keep.

Differs from the paper: clips instead of images, frame by frame; the shared small core from a random start.
Our choice are number and sizes of the first regions, the levels (8 regions, then 4), the form of both parts,
one map of patches for all levels, the three objectives, their weights and their negatives. Captions are not
written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather
from workbench.errors import UserError
from workbench.fields import positive
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.selectors.regions import (
    ANCHORS,
    RegionAdaptor,
    anchors,
    cosines,
    most_relevant,
    relevance,
    sample,
)
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, Draw, Text
from workbench.recipe.dual import DualConfig
from workbench.recipe.hard_pairs import HardPairs, true_and_wrong_pairs
from workbench.recipe.heads import judgement, match_score, projection


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    vtm: float = 1.0
    region: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(patch=16, tubelet=1, pool="mean"))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(mode="xattn"))
    levels: tuple[int, ...] = (8, 4)
    adapt: bool = True
    sharpness: float = 0.05
    """Temperature of the soft choices of regions of a frame, and of regions of a clip for a word."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("recipe.sharpness", self.sharpness)
        if any(a < b for a, b in pairwise((ANCHORS, *self.levels, 1))):
            raise UserError(
                f"recipe.levels of slan must be from {ANCHORS} down to 1 and never rise, not {self.levels}"
            )
        if self.video_masking is not None or self.text_masking is not None:
            raise UserError("slan finds regions and words in what is shown whole: it takes no masking")
        if self.fusion.mode != "xattn" or self.text.width != self.video.width:
            raise UserError("slan needs fusion.mode='xattn' and text.width equal to video.width")


class Located(NamedTuple):
    """Regions that were found for captions, R in each of the T frames of P clips."""

    boxes: Tensor
    """[P, T, R, 4]"""
    seen: Tensor
    """[P, T, R, D], their content."""
    weight: Tensor
    """[P, T, R], the weights of their choice: all 1, with a gradient."""
    cosine: Tensor
    """[P, T, R, L], cosines of regions and words."""


class Recipe(HardPairs):
    """Encodes and contrasts both sides, finds regions of true and false pairs; judges and aligns these.

    Letters: B batch, P pairs, T frames, S patches of one, N = T S, R regions of one, L words, D width.
    """

    DISTRIBUTED: ClassVar = True
    PAIR_TERMS: ClassVar = ("vtm", "region")

    anchors: Tensor

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width, fusion = self.video.width, config.fusion
        self.fusion = FusionEncoder(fusion, video_width=width, text_width=width)
        self.adaptor = RegionAdaptor(width, 1, fusion.heads) if config.adapt and config.levels else None
        self.region_head, self.word_head = projection(width, config.embed), projection(width, config.embed)
        self.match_head = nn.Linear(fusion.width, 2)
        self.build_heads(config)
        self.register_buffer("anchors", anchors(), persistent=False)

    def encoders(self) -> dict[str, Encoder]:
        adaptor: dict[str, Encoder] = {} if self.adaptor is None else {"adaptor": self.adaptor}
        return {"video": self.video, "text": self.text, "fusion": self.fusion, **adaptor}

    def trained_by(self, ability: str) -> tuple[str, ...]:
        weights = self.config.weights
        if ability == "regions" and not (weights.vtm or weights.region):
            return ()
        return super().trained_by(ability)

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, layout, terms = self.config.weights, batch.text.layout, {}
        clip, caption = self.video(batch.video), self.text(batch.text)  # tokens [B, N, D] and [B, L, D]
        video, text = self.project(clip.pooled, caption.pooled)  # [B, E]
        if weights.vtc:
            terms["vtc"] = losses.vtc(video, text, self.temperature())
        if not (weights.vtm or weights.region):
            return terms
        rows, columns = true_and_wrong_pairs(video, text, self.temperature(), draw.chosen["negatives"])
        every = (caption.tokens, layout.valid, layout.content)
        words, keep, content = (gather(x)[columns] for x in every)  # of all processes
        found = self.locate(gather(clip.tokens)[rows], words, keep, content)
        if weights.vtm:
            terms["vtm"] = losses.vtm(self._judge(found, words, keep), rows == columns)
        if weights.region:
            sharpness = self.config.sharpness
            fit = losses.word_region_similarity(found.cosine, content, sharpness)  # [3B]
            right, *others = fit.chunk(3)
            choices = [losses.vtm_choice(torch.stack([right, one], 1), sharpness) for one in others]
            terms["region"] = sum(choices, right.new_zeros(())) / 2
        return terms

    def locate(self, patches: Tensor, words: Tensor, keep: Tensor, content: Tensor) -> Located:
        """The regions of each pair, of patches [P, N, D] and words [P, L, D].

        keep, content: Boolean [P, L], False at padding, and the words that regions are compared with.
        """
        cells, named = (self.grid.height, self.grid.width), self.word_head(words)  # [P, L, E]
        keys = torch.cat([words, patches], 1)  # [P, L + N, D]
        no_padding = torch.cat([keep, keep.new_ones(patches.shape[:2])], 1)
        tokens = patches.unflatten(1, (self.grid.time, -1))  # [P, T, S, D]
        boxes = self.anchors.expand(*tokens.shape[:2], -1, -1)  # [P, T, R, 4]
        weight = boxes.new_ones(boxes.shape[:3])
        seen = sample(tokens, boxes, cells)  # [P, T, R, D]
        for count in self.config.levels:
            relevant = relevance(cosines(self.region_head(seen), named), content)
            index, chosen = most_relevant(relevant, count, self.config.sharpness)
            boxes = boxes.gather(2, index[..., None].expand(-1, -1, -1, 4))
            weight = weight.gather(2, index) * chosen
            seen = sample(tokens, boxes, cells)
            if self.adaptor is not None:
                boxes = self.adaptor(boxes, seen * weight[..., None], keys, no_padding)
                seen = sample(tokens, boxes, cells)
        return Located(boxes, seen, weight, cosines(self.region_head(seen), named))

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions, see `heads.match_score`."""
        found, words = self._locate(video, text)
        logits = self._judge(found, words, text.layout.valid)
        return match_score(logits)

    def regions(self, video: Tensor, text: Text) -> tuple[Tensor, Tensor]:
        """Boxes [B, T, R, 4] that are found for captions, and how relevant they are, [B, T, R]."""
        found, _ = self._locate(video, text)
        return found.boxes, relevance(found.cosine, text.layout.content)

    def _locate(self, video: Tensor, text: Text) -> tuple[Located, Tensor]:
        words = self.text(text).tokens
        return self.locate(self.video(video).tokens, words, text.layout.valid, text.layout.content), words

    def _judge(self, found: Located, words: Tensor, keep: Tensor) -> Tensor:
        """Logits [P, 2] (no match, match), from words [P, L, D] that query the content of the regions."""
        seen, weight = found.seen.flatten(1, 2), found.weight.flatten(1)  # [P, T R, D] and [P, T R]
        return judgement(self.match_head, self.fusion(seen, words, keep, weight=weight).pooled)
