"""ClipBERT: less is more, learning from sparsely sampled clips (arXiv:2102.06183).

A step reads a few short clips of a video, each separately: every frame is encoded as an image, the frames of
a clip are averaged position by position, and one transformer reads the average with the caption. `aggregate`
combines the scores of the clips: x_j = log sum_i exp(x_ij) over clips i (`lse`), their mean, or their
maximum. A share of the positions is dropped in training. Evaluation reads all clips of the video.

Differs from the paper: a ViT's patches of single frames instead of a ResNet's grid, dropped before it
instead of behind it; the shared small core from a random start instead of trained weights; a video has as
few frames as are stored, so a clip is two of eight; one stage with both losses over clips instead of images
first; in half of the rows the caption is another clip's, with words hidden there too, and hidden words are
predicted in the other rows; projections of the mean token and of the class token of a caption read without
a clip, trained by the stage `align` only, which reads all frames, so that it can be compared with dual
encoders. Averages over frames and over clips do not depend on their order, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather, own_rows
from workbench.errors import UserError
from workbench.fields import at_least, one_of
from workbench.masking.positions import counted, counted_each, each_of, pick
from workbench.masking.text import TextMasking, TokenMasking
from workbench.masking.video import Grid, TubeMasking
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.models.word_head import WordHead
from workbench.recipe.batch import Batch, BatchRng, Draw, Text, to_device
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import judgement, match_score, unit


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mlm: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video: VideoConfig = field(default_factory=lambda: VideoConfig(patch=16, tubelet=1, pool="mean"))
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=0))
    """Only the embedding layer is used: the words are read by the fusion."""
    fusion: FusionConfig = field(default_factory=FusionConfig)
    video_masking: TubeMasking | None = TubeMasking(ratio=0.3)
    """Positions that are dropped, the same in all frames; the paper keeps 100."""
    text_masking: TextMasking | None = TokenMasking(ratio=0.15)
    clips: int = 2
    """Clips of a video that are read in a training step."""
    frames: int = 2
    """Frames of a clip; a video is cut into clips of this length."""
    aggregate: Literal["lse", "mean", "max"] = "lse"
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("recipe.clips", self.clips, 1)
        at_least("recipe.frames", self.frames, 1)
        one_of("recipe.aggregate", self.aggregate, ("lse", "mean", "max"))
        if self.text.depth or self.text.hidden != "replace" or self.fusion.mode != "concat":
            raise UserError("clipbert needs text.depth=0, text.hidden='replace' and fusion.mode='concat'")
        if not isinstance(self.video_masking, TubeMasking | None) or self.video.hidden != "drop":
            raise UserError(
                "clipbert averages frames place by place: it needs TubeMasking, or none, and "
                "video.hidden='drop'"
            )


class Recipe(DualEncoder):
    """Samples clips, encodes their frames, reads each clip with the caption and combines the scores.

    Letters: B batch, K clips of a video, n visible positions of a frame, L positions of a caption, D width.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.frames = min(config.frames, frames)
        if frames % self.frames or self.frames % config.video.tubelet:
            raise UserError(
                f"clipbert cuts {frames} frames into clips of recipe.frames={config.frames}, and these into "
                f"tubelets of {config.video.tubelet}: each must divide the one before"
            )
        self.windows = frames // self.frames
        self.slots = frames // config.video.tubelet
        self.video = VideoEncoder(config.video, frames=config.video.tubelet, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.fusion = FusionEncoder(config.fusion, video_width=self.video.width, text_width=self.text.width)
        self.word_head = WordHead(config.fusion.width, vocabulary.size)
        self.match_head = nn.Linear(config.fusion.width, 2)
        self.build_heads(config, text_width=config.fusion.width)

    @property
    def grid(self) -> Grid:
        """The grid of the whole video; the encoder's own grid is that of one temporal slot."""
        return self.video.grid._replace(time=self.slots)

    def encoders(self) -> dict[str, Encoder]:
        return {"video": self.video, "text": self.text, "fusion": self.fusion}

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """Samples masks, clips [B, K], row offsets of captions [B] and the words to predict, Boolean [B, L].

        The clips of a row are all different; an offset of 0 keeps a row's own caption."""
        draw = super().draw(batch, rng, objective=objective, masked=masked)
        if objective != "recipe":
            return draw
        rows = len(batch.text.tokens)
        chosen = {
            "clips": rng.uniform(rows, self.windows).argsort(dim=1, stable=True)[:, : self.config.clips]
        }
        shift = torch.zeros(rows, dtype=torch.int64)
        if self.config.weights.vtm and rows > 1:
            host = rng.on_host
            shift, keep = host.integers(1, rows * rng.size, rows), host.uniform(rows) < 0.5
            shift = shift.masked_fill(keep, 0)
            chosen["shift"] = to_device(shift, rng.device)
        if draw.text_mask is not None:
            matched = shift == 0
            asked = draw.text_mask & to_device(matched, rng.device)[:, None]
            if (known := batch.text.known) is not None and self.config.text_masking is not None:
                counted(asked, int((self.config.text_masking.counts(known.valid) * matched).sum()))
            chosen["asked"] = asked
        return draw._replace(chosen=chosen)

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, row = self.config.weights, torch.arange(len(batch.video), device=batch.video.device)
        views = self.cut(batch.video)[row[:, None], draw.chosen["clips"]]  # [B, K, m, H, W, 3]
        video = self.encode(views, draw.video_mask)  # [B, K, n, D]
        captions, clips = batch.text.gathered(), own_rows(len(row), row.device)  # of all processes; [B]
        judged = (clips + draw.chosen.get("shift", 0)) % len(captions.tokens)  # [B], the caption of each clip
        text, mask = captions.select(judged), None
        if draw.text_mask is not None:
            mask = gather(draw.text_mask)[judged]
        pooled, words = self.read(video, text, mask)  # [B, K, D], [B, K, L, D]
        terms = {}
        if weights.mlm and mask is not None:
            asked = draw.chosen["asked"]  # hidden words of the captions that belong to their clips
            logits = self.word_head(pick(words.transpose(1, 2), asked)).flatten(0, 1)  # K for each of them
            tokens = pick(batch.text.tokens, asked).repeat_interleave(video.shape[1])
            terms["mlm"] = losses.mlm(logits, tokens)
        if weights.vtm:
            terms["vtm"] = losses.vtm(self.join(judgement(self.match_head, pooled)), judged == clips)
        return terms

    def embed_video(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit vectors [B, E] of uint8 videos [B, T, H, W, 3], from all frames; `mask` [B, N] hides."""
        return unit(self.video_head(self.encode(self.cut(video), mask).mean((1, 2))))

    def features(self, video: Tensor) -> Tensor:
        """Tokens [B, N, D] of all clips of uint8 videos [B, T, H, W, 3]."""
        return self.encode(self.cut(video)).flatten(1, 2)

    def pooled_text(self, text: Text, mask: Tensor | None = None) -> Tensor:
        return self.fusion.alone(*self.text.embed(text, mask))

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 videos and captions, see `heads.match_score`."""
        pooled, _ = self.read(self.encode(self.cut(video)), text)
        logits = self.join(judgement(self.match_head, pooled))
        return match_score(logits)

    def cut(self, video: Tensor) -> Tensor:
        """All clips [B, T / m, m, H, W, 3] of videos [B, T, H, W, 3]."""
        return video.unflatten(1, (self.windows, self.frames))

    def encode(self, views: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens [B, K, n, D] of clips [B, K, m, H, W, 3], with their frames averaged; `mask` [B, N]."""
        rows, clips, frames = views.shape[:3]
        slots = frames // self.config.video.tubelet
        images = views.flatten(0, 2).unflatten(0, (-1, self.config.video.tubelet))  # [B * K * slots, q, ...]
        if mask is not None:  # the same positions in every slot
            each = each_of(mask)
            mask = mask[:, : self.grid.space].repeat_interleave(clips * slots, 0)
            mask = mask if each is None else counted_each(mask, each // self.slots)
        tokens = self.video(images, mask).tokens
        return tokens.unflatten(0, (rows, clips, slots)).mean(2)

    def read(self, video: Tensor, text: Text, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Class tokens [B, K, D] and words [B, K, L, D] of each clip [B, K, n, D] read with its caption."""
        clips = video.shape[1]
        words, keep = (x.repeat_interleave(clips, 0) for x in self.text.embed(text, mask))
        fused = self.fusion(video.flatten(0, 1), words, keep)
        return fused.pooled.unflatten(0, (-1, clips)), fused.text.unflatten(0, (-1, clips))

    def join(self, scores: Tensor) -> Tensor:
        """One score [B, C] for each class from those of the clips, [B, K, C]."""
        if self.config.aggregate == "lse":
            return scores.logsumexp(1)
        return scores.mean(1) if self.config.aggregate == "mean" else scores.amax(1)
