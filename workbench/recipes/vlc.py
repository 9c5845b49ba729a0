"""VLC: vision-language transformers from captions (arXiv:2205.09256).

One transformer, that of a masked autoencoder, reads the words of a caption and the visible patches of a clip,
each with a vector of its side. A step has two passes, both over clips of which 60 % of each frame is dropped.
The first hides words too, and predicts them and the dropped pixels from the tokens of both together. The
second shows all words, in half of the rows with another row's clip: pairs are judged by the class token, and
words and patches of true pairs are pulled together, those of false ones apart, by optimal transport
(`weights.wpa = 0` leaves that out). The paper's point is a start without labels, from an autoencoder:

    videomae.Config(video=vlc.Config().video)    the recipe of an earlier run, with the same encoder
    init_from=(InitFrom(part="video", run=...),) in a run of this recipe; likewise for the part `decoder`

Differs from the paper: videos instead of images; the shared small core, from a random start unless
`init_from` names a run; learned instead of fixed sine positions; one class token, the encoder's, instead of
one a side and a separator; vectors of the sides start at zero; no dropout, and attention scores are not
clamped; a hidden word is always replaced by [MASK], and the last hidden word of a caption may be so in part;
both passes drop the same patches; a false clip comes from the same batch; the decoder is scaled with the
core, one block instead of eight, and reads no class token; pixels are standardised from [0, 1], not from
ImageNet's units; projections of the class token of a clip read without words and of a caption read without a
clip, trained by the stage `align` only, so that it can be compared with dual encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench import losses, targets
from workbench.distributed import gather, own_rows
from workbench.errors import UserError
from workbench.masking.positions import pick
from workbench.masking.text import TextMasking, WholeWordMasking
from workbench.masking.video import PerFrameMasking, VideoMasking, lowest
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.encoder import Encoder
from workbench.models.fusion import Fused
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.batch import Batch, BatchRng, Draw, Text
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import judgement, match_score, unit
from workbench.recipe.reconstruction import Reconstruction, filled, hidden_places


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The released weights; a term of weight 0 is not computed, nor a pass that no term needs."""

    mlm: float = 1.0
    mvm: float = 1.0
    vtm: float = 1.0
    wpa: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(patch=16, tubelet=1))
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=0))
    """Only the embedding layer is used, because the video transformer reads the words."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    video_masking: VideoMasking | None = PerFrameMasking(ratio=0.6)
    text_masking: TextMasking | None = WholeWordMasking(ratio=0.15)
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text.depth or self.text.hidden != "replace" or self.video.hidden != "drop":
            raise UserError("vlc needs text.depth=0, text.hidden='replace' and video.hidden='drop'")
        if self.text.width != self.video.width:
            raise UserError("vlc reads both sides with one encoder: text.width must equal video.width")


class Recipe(DualEncoder):
    """Drops patches, reads the rest with the words, predicts what was hidden; judges and aligns pairs.

    Letters: B batch, P pairs, n visible tokens of a clip, L positions of a caption, D width.
    """

    DISTRIBUTED: ClassVar = True

    reconstruction = Reconstruction("masked", targets.OF_PATCHES)

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width = self.video.width
        self.side = nn.Parameter(torch.zeros(2, width))
        """Added to each token: a vector for its side, clip or caption."""
        self.decoder = PixelDecoder(
            config.decoder, grid=self.video.grid, encoder_width=width, pixels=self.video.pixels
        )
        self.word_head = WordHead(width, vocabulary.size)
        self.match_head = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
        self.build_heads(config)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "decoder": self.decoder}

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """Row offset from each caption to the clip with which it is judged, `shift` [B].

        It is 0 for the own clip, in half of the rows (rounded down)."""
        rows, weights = len(batch.text.tokens), self.config.weights
        if rows < 2 or not (weights.vtm or weights.wpa):
            return {}
        whole = rows * rng.size
        own = rng.own(lowest(rng.for_all().uniform(whole), whole // 2))
        return {"shift": rng.integers(1, whole, rows).masked_fill(own, 0)}

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights = self.config.weights
        video = self._patches(batch.video, draw.video_mask)  # [B, n, D]
        terms: dict[str, Tensor] = {}
        if (weights.mlm and draw.text_mask is not None) or (weights.mvm and draw.video_mask is not None):
            terms |= self._predict(batch, draw, video)
        if weights.vtm or weights.wpa:
            every, rows = gather(video), own_rows(len(video), video.device)
            other = (rows + draw.chosen.get("shift", 0)) % len(every)
            terms |= self._compare(every[other], batch.text, other == rows)
        return terms

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of uint8 clips [B, T, H, W, 3], read without words; `mask` [B, N] hides."""
        return unit(self.video_head(self.video.encode(self._patches(video, mask)).pooled))

    def features(self, video: Tensor) -> Tensor:
        """Tokens [B, N, D] of clips read without words, for probes."""
        return self.video.encode(self._patches(video)).tokens

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        return self.video.encode(*self._words(text, mask)).pooled

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions, see `heads.match_score`."""
        logits = judgement(self.match_head, self._read(self._patches(video), text).pooled)
        return match_score(logits)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        mask = hidden_places(self, draw)
        read = self._read(self._patches(batch.video, mask), batch.text, draw.text_mask)
        predicted = self.decoder(read.video, mask)
        pixels = targets.denormalised_patches(predicted, self.video.patches(batch.video, mask))
        return filled(self.video, batch, mask, pixels)

    def _predict(self, batch: Batch, draw: Draw, video: Tensor) -> dict[str, Tensor]:
        """Losses of words and pixels from one pass over both sides; a side that hides nothing has none."""
        read = self._read(video, batch.text, draw.text_mask)
        terms = {}
        if self.config.weights.mlm and draw.text_mask is not None:
            logits = self.word_head(pick(read.text, draw.text_mask))
            terms["mlm"] = losses.mlm(logits, pick(batch.text.tokens, draw.text_mask))
        if self.config.weights.mvm and draw.video_mask is not None:
            predicted = self.decoder(read.video, draw.video_mask)
            patches = self.video.patches(batch.video, draw.video_mask)
            terms["mvm"] = losses.mvm(predicted, targets.normalised_patches(patches))
        return terms

    def _compare(self, video: Tensor, text: Text, matched: Tensor) -> dict[str, Tensor]:
        """Losses `vtm` and `wpa` of clips [B, n, D] and captions; `matched` [B] marks true pairs."""
        read = self._read(video, text)
        terms = {}
        if self.config.weights.vtm:
            terms["vtm"] = losses.vtm(judgement(self.match_head, read.pooled), matched)
        if self.config.weights.wpa:
            terms["wpa"] = losses.wpa(read.text, read.video, text.layout.valid, matched)
        return terms

    def _patches(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Visible patches [B, n, D] before the blocks."""
        return self.video.embed(video, mask) + self.side[0]

    def _words(self, text: Text, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Words [B, L, D] before the blocks, and which are not padding [B, L]."""
        words, keep = self.text.embed(text, mask)
        return words + self.side[1], keep

    def _read(self, video: Tensor, text: Text, mask: Tensor | None = None) -> Fused:
        """One pass over the words of each pair, then its patches [P, n, D]; `mask` [P, L] hides words."""
        words, keep = self._words(text, mask)
        seen = torch.cat([keep, keep.new_ones(video.shape[:2])], 1)
        pooled, tokens = self.video.encode(torch.cat([words, video], 1), seen)
        length = words.shape[1]
        return Fused(video=tokens[:, length:], text=tokens[:, :length], pooled=pooled)
