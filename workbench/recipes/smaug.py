"""SMAUG: sparse masked autoencoder for efficient video-language pre-training (arXiv:2211.11446).

Half of the patches of each frame are dropped, and the rest is read frame by frame. Two parts reduce the input
further. A sparsifier within the encoder keeps only those visible patches that the frame's class token attends
to most (`keep_patches`); a selector scores the frames by their content and by the caption, and only the best
are read with it (`keep_frames`). Dropped patches and frames cost no further computation. Pixels of hidden
patches are predicted from the rest of the clip, hidden words from the selected frames that they query; clips
and captions are aligned, and pairs are judged. Evaluation drops no patch; pairs are judged by selected
frames.

Differs from the paper: only its abstract and the caption of a figure could be read, so that this is our
interpretation. Masking of both sides, a masked autoencoder that reads frames, the two parts and the
prediction of pixels are the paper's. All else is our choice: ratios; how the sparsifier scores, after which
block and how much it keeps; the selector's layers, how much it keeps and how it learns (frames are drawn by
their scores in training; a straight-through gradient comes by what they tell the words); the set of losses
and their weights; a decoder that reads the whole clip; words that query class tokens of frames as well as
patches, and the mean class token for the alignment, which is one of masked clips and captions; a clip and a
caption that nearly fit as negatives of each pair; the shared small core from a random start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench import losses, targets
from workbench.distributed import gather
from workbench.errors import UserError
from workbench.fields import share
from workbench.masking.positions import pick
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import PerFrameMasking, TubeMasking
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.encoder import Encoder
from workbench.models.fusion import Fused, FusionConfig, FusionEncoder
from workbench.models.selectors.sparse import Frames, FrameSelector, Kept, ceil_count, read_frames
from workbench.models.text import TextEncoder, Vocabulary
from workbench.models.video import Encoded, VideoConfig, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.batch import Batch, BatchRng, Draw, Text
from workbench.recipe.dual import DualConfig
from workbench.recipe.hard_pairs import HardPairs, wrong_pairs
from workbench.recipe.heads import judgement, match_score, unit
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    vtm: float = 1.0
    mlm: float = 1.0
    mvm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(patch=16, tubelet=1))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(mode="xattn"))
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: PerFrameMasking | TubeMasking | None = PerFrameMasking(ratio=0.5)
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    keep_patches: float = 0.5
    """Share of a frame's visible patches that the encoder reads to its end, rounded up; 1 for all."""
    keep_after: float = 0.5
    """Share of the encoder's blocks, rounded up, after which the other patches are dropped."""
    keep_frames: float = 0.5
    """Share of a clip's frames that are read with a caption, rounded up; 1 for all."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("keep_patches", "keep_after", "keep_frames"):
            share(f"recipe.{name}", getattr(self, name), "(0, 1]")
        if self.text.hidden != "replace" or self.video.hidden != "drop" or self.fusion.mode != "xattn":
            raise UserError("smaug needs text.hidden='replace', video.hidden='drop' and fusion.mode='xattn'")
        if not isinstance(self.video_masking, PerFrameMasking | TubeMasking | None) or not self.video.cls:
            raise UserError("smaug needs PerFrameMasking or TubeMasking, or none, and video.cls=True")


class Recipe(HardPairs):
    """Drops patches, reads frames, predicts pixels; selects frames, predicts words, judges pairs.

    Letters: B batch, P pairs, T frames, K of them selected, N patches of a clip, m of a frame that are kept,
    L positions of a caption, D width.
    """

    DISTRIBUTED: ClassVar = True

    reconstruction = Reconstruction("none", targets.OF_PATCHES)

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width, words, slots = self.video.width, self.text.width, self.video.grid.time
        self.fusion = FusionEncoder(config.fusion, video_width=width, text_width=words)
        self.decoder = PixelDecoder(
            config.decoder, grid=self.video.grid, encoder_width=width, pixels=self.video.pixels
        )
        selected = ceil_count(config.keep_frames, slots)
        self.selector = FrameSelector(width, words, count=selected) if selected < slots else None
        self.word_head = WordHead(config.fusion.width, vocabulary.size)
        self.match_head = nn.Linear(config.fusion.width, 2)
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "fusion": self.fusion, "decoder": self.decoder}

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """Negatives, and uniform numbers that select the frames of each pair, `frames` [B, 3, T].

        The three pairs of a row are the true one and two wrong ones."""
        chosen = super().choices(batch, rng)
        if self.selector is not None:
            chosen["frames"] = rng.uniform(len(batch.text.tokens), 3, self.grid.time)
        return chosen

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, keep = self.config.weights, batch.text.layout.valid  # [B, L]
        terms: dict[str, Tensor] = {}
        clip = self._encode(batch.video, draw.video_mask, sparse=True)
        if weights.mvm and draw.video_mask is not None:
            hidden = targets.normalised_patches(self.video.patches(batch.video, draw.video_mask))
            terms["mvm"] = losses.mvm(self._pixels(clip, draw.video_mask), hidden)
        words = draw.text_mask if weights.mlm else None  # [B, L]
        fuses = weights.vtm or words is not None
        if not (fuses or weights.vtc):  # no loss needs the caption
            return terms
        caption = self.text(batch.text, draw.text_mask)  # [B, D], [B, L, D]
        embedded = self.project(clip.vectors.mean(1), caption.pooled)  # [B, E] each
        if weights.vtc:
            terms["vtc"] = losses.vtc(*embedded, self.temperature())
        if fuses:
            true = self._read(clip.all, caption, keep, _chance(draw, slice(0, 1)))
        if words is not None:
            terms["mlm"] = losses.mlm(self.word_head(pick(true.text, words)), pick(batch.text.tokens, words))
        if weights.vtm:
            rows, columns = wrong_pairs(*embedded, self.temperature(), draw.chosen["negatives"])  # [2B] each
            clips, real = gather(clip.all), gather(keep)  # of all processes
            other = Encoded(gather(caption.pooled)[columns], gather(caption.tokens)[columns])
            wrong = self._read(clips[rows], other, real[columns], _chance(draw, slice(1, 3)))
            terms["vtm"] = self.vtm_loss(true.pooled, wrong.pooled, rows == columns)
        return terms

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of uint8 clips, from all frames and all patches that `mask` [B, N] leaves."""
        return unit(self.video_head(self._encode(video, mask).vectors.mean(1)))

    def features(self, video: Tensor) -> Tensor:
        """Tokens [B, N, D] of clips, for probes."""
        return self._encode(video).tokens.flatten(1, 2)

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions, see `heads.match_score`."""
        fused = self._read(self._encode(video).all, self.text(text), text.layout.valid)
        logits = judgement(self.match_head, fused.pooled)
        return match_score(logits)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask = hidden_places(self, draw)
        predicted = self._pixels(self._encode(batch.video, mask, sparse=True), mask)
        pixels = targets.denormalised_patches(predicted, self.video.patches(batch.video, mask))
        return filled(self.video, batch, mask, pixels)

    def kept(self, batch: Batch, draw: Draw) -> Kept:
        """The parts of these clips that sparsifier and selector keep in a step with this draw."""
        clip = self._encode(batch.video, draw.video_mask, sparse=True)
        if self.selector is None:
            shares = torch.full(clip.tokens.shape[:2], 1 / self.grid.time, device=batch.video.device)
            return Kept(clip.left, shares > 0, shares)
        shares = self.selector.share(clip.all, self.text(batch.text, draw.text_mask).pooled)
        chosen = self.selector.choose(shares, _chance(draw, slice(0, 1)))
        return Kept(clip.left, torch.zeros_like(shares).scatter(1, chosen, 1.0) > 0, shares)

    def _encode(self, video: Tensor, mask: Tensor | None = None, *, sparse: bool = False) -> Frames:
        """Reads the visible patches of each frame separately; drops more on the way if `sparse`."""
        keep = self.config.keep_patches if sparse else 1.0
        return read_frames(self.video, video, mask, keep=keep, after=self.config.keep_after)

    def _pixels(self, clip: Frames, mask: Tensor) -> Tensor:
        """Pixels [B, hidden positions, pixels of a patch] of the patches that `mask` [B, N] hides."""
        pixels: Tensor = self.decoder(clip.tokens.flatten(1, 2), ~clip.left, asked=mask)
        return pixels

    def _read(self, video: Tensor, caption: Encoded, keep: Tensor, chance: Tensor | None = None) -> Fused:
        """Words of each pair query the frames of its clip [P, T, 1 + m, D] that are selected for it."""
        chosen, weight = video.flatten(1, 2), None
        if self.selector is not None:
            chosen, weight = self.selector(video, caption.pooled, chance)  # [P, K * (1 + m), D]
        fused: Fused = self.fusion(chosen, caption.tokens, keep, weight=weight)
        return fused


def _chance(draw: Draw, which: slice) -> Tensor | None:
    """Numbers that select the frames of some of each row's three pairs, [P, T]; None for the best ones."""
    frames = draw.chosen.get("frames")
    return None if frames is None else frames[:, which].transpose(0, 1).flatten(0, 1)
