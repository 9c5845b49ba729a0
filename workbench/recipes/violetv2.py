"""VIOLETv2: an empirical study of video-language transformers with masked vision (arXiv:2209.01540).

VIOLET's network and losses, with a switch for the prediction of hidden patches, `target`: their pixels;
`hog`, their oriented gradients drawn as an image; `flow`, how far they move until the next frame, from the
tokens of both frames, where either is hidden; `depth`, which layer of the scene they show; `codes`, as
VIOLET; or features from a teacher that sees everything: `features_2d`, one that reads each frame alone,
`features_3d`, one that reads whole clips (both from another run, by `init_from` for the part `teacher`), and
`features_ema`, the moving average of the video encoder itself. Errors are absolute, averaged over hidden
positions and their values, and cross-entropies for codes. Groups of 2 x 2 patches are hidden in half of the
samples, boxes in the others.

Differs from the paper: the shared small core from a random start instead of a Video Swin Transformer and a
trained BERT; patches of a ViT that sees all frames at once, without a class token for each frame; pixels are
the default, because the paper's choice, features of a trained image model, has to come from a run; features
of CLIP are those of any teacher that was trained with captions, so they are no value of their own, and a
moving average is our addition; features are standardised; flow and depth are those of synthetic data, means
over patches, and depth is the order of its two layers; codes by k-means over training patches; clips
hide the same share, of the last cell or box a part; a clip's own caption is read once for all
losses; projections of the clip's mean token and of the class token of a caption read without a clip, trained
by the stage `align` only, so that it can be compared with dual encoders.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.errors import UserError
from workbench.fields import at_least, one_of, share
from workbench.masking.positions import pick, places
from workbench.masking.video import CellOrBoxMasking, VideoMasking
from workbench.models.codebook import Codebook
from workbench.models.encoder import Encoder
from workbench.models.teacher import average_of, empty_teacher, follow, is_loaded
from workbench.models.text import Vocabulary
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.codes import fit_codes
from workbench.recipe.heads import perceptron
from workbench.recipe.joint import ChoosingConfig, ChoosingEncoder
from workbench.recipe.true_motion import KNOWN, MotionTable, check_known
from workbench.targets.features import normalised_features
from workbench.targets.hog import hog_image

if TYPE_CHECKING:
    from workbench.config import RunConfig
    from workbench.data.store import FrameStore
    from workbench.data.truth import Truth

OF_A_RUN = ("features_2d", "features_3d")
"""Targets whose teacher comes from another run."""
FEATURES = (*OF_A_RUN, "features_ema")
Target = Literal["pixel", "hog", "flow", "depth", "codes", "features_2d", "features_3d", "features_ema"]
TARGETS: tuple[str, ...] = get_args(Target)
ANYWHERE = [target for target in TARGETS if target not in KNOWN]
"""Targets that are possible with any data."""
NO_TEACHER = "target={!r} needs a run for the part 'teacher' in init_from; 'features_ema' needs none"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mlm: float = 1.0
    mvm: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(ChoosingConfig):
    video_masking: VideoMasking | None = CellOrBoxMasking(ratio=0.3)
    target: Target = "pixel"
    codes: int = 256
    """Size of the codebook for the target `codes`."""
    momentum: float = 0.996
    """Momentum of the teacher of `features_ema`: the share of its old value that it keeps in each step."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.target", self.target, TARGETS)
        at_least("recipe.codes", self.codes, 2)
        share("recipe.momentum", self.momentum, "[0, 1)")
        if self.target in (*KNOWN, "features_2d") and self.video.tubelet != 1:
            raise UserError(f"target={self.target!r} is defined for each frame: video.tubelet must be 1")


class Recipe(ChoosingEncoder):
    """Hides parts of both sides, reads them together, predicts words and the target, chooses the caption.

    Letters: B batch, T frames, N tokens of a clip, S of a frame, L positions of a caption, M hidden
    positions, C values of a position, D width.
    """

    DISTRIBUTED: ClassVar = True

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.build_joint(config, frames=frames, size=size, vocabulary=vocabulary)
        self.size, self.target = size, config.target if config.weights.mvm else ""
        width, pixels = config.fusion.width, self.video.pixels
        if self.target == "flow" and frames == 1:
            raise UserError("target='flow' needs two frames: a clip of one has none")
        if self.target in KNOWN:
            self.known = MotionTable()
        elif self.target == "codes":
            self.codebook = Codebook(config.codes, pixels)
        elif self.target == "features_ema":
            self.teacher = average_of(self.video)
        elif self.target in FEATURES:
            read = 1 if self.target == "features_2d" else frames
            self.teacher = empty_teacher(config.video, frames=read, size=size)
        values = {"pixel": pixels, "hog": pixels // 3, "flow": 2, "depth": 1, "codes": config.codes}
        if self.target in ("codes", *FEATURES):
            self.mvm_head: nn.Module = perceptron(width, values.get(self.target, self.video.width))
        elif self.target:
            self.mvm_head = nn.Linear(2 * width if self.target == "flow" else width, values[self.target])
        self.build_heads(config, text_width=width)

    def encoders(self) -> dict[str, Encoder]:
        teacher: dict[str, Encoder] = {"teacher": self.teacher} if self.target in FEATURES else {}
        return super().encoders() | teacher

    @classmethod
    def check_run(cls, config: RunConfig, drawn: Collection[str]) -> None:
        target = config.recipe.target if config.recipe.weights.mvm else ""
        if target in KNOWN:
            check_known(target, config.recipe_data, drawn, ANYWHERE)
        from_runs = {source.part.partition(".")[0] for source in config.init_from}
        if target in OF_A_RUN and not from_runs & {"", "teacher"}:
            raise UserError(NO_TEACHER.format(target))

    def attach(self, truths: Sequence[Truth | None]) -> None:
        if self.target in KNOWN:
            self.known.fill(self.target, truths, self.grid, self.size, ANYWHERE)

    def prepare(self, store: FrameStore, rng: torch.Generator) -> float:
        """Fits the codebook or starts the moving average; raises `UserError` if a teacher is missing."""
        if self.target == "codes":
            return fit_codes(self.codebook, self.video, store, rng)
        if self.target == "features_ema":
            follow(self.teacher, self.video, 0.0)  # which may have started from another run
        elif self.target in FEATURES and not is_loaded(self.teacher):
            raise UserError(NO_TEACHER.format(self.target))
        return 0.0

    def after_step(self, done: float) -> None:
        if self.target == "features_ema":
            follow(self.teacher, self.video, self.config.momentum)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        if self.config.target == "pixel":
            return self._drawn(batch, draw, lambda tokens: 255 * self.mvm_head(tokens))
        if self.config.target == "codes":
            return self._drawn(batch, draw, lambda tokens: self.codebook.pixels(self.mvm_head(tokens)))
        raise UserError(f"target={self.config.target!r} is not an image of the clip; 'pixel' and 'codes' are")

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights, patches, words = self.config.weights, draw.video_mask, draw.text_mask
        video = self.video(batch.video, patches).tokens  # [B, N, D]
        fused = self._read(video, batch.text, words)
        terms = {}
        if weights.mlm and words is not None:
            terms["mlm"] = losses.mlm(self.word_head(pick(fused.text, words)), pick(batch.text.tokens, words))
        if weights.mvm and patches is not None:
            terms["mvm"] = self._mvm(batch, fused.video, patches)
        if weights.vtm:
            terms["vtm"] = self._vtm(fused.pooled, video, batch.text, draw.chosen["shift"], words)
        return terms

    def _mvm(self, batch: Batch, tokens: Tensor, mask: Tensor) -> Tensor:
        """Loss of the target at the hidden positions, from tokens [B, N, D]; `mask` [B, N] selects them."""
        if self.target == "flow":  # of each frame but the last: from both tokens, where either is hidden
            before, after = slice(None, -self.grid.space), slice(self.grid.space, None)
            flow, known = self.known(batch).split([2, 1], -1)  # [B, N - S, ...]
            mask = (mask[:, before] | mask[:, after]) & known[..., 0].bool()
            hidden = places(mask)  # once for both: the device is asked how many there are
            pairs = torch.cat([tokens[:, before], tokens[:, after]], -1)[hidden]
            return losses.mvm_l1(self.mvm_head(pairs), flow[hidden])
        predicted = self.mvm_head(pick(tokens, mask))  # [M, C]
        with torch.no_grad():
            target = self._targets(batch, mask)
        return (losses.mvm_codes if self.target == "codes" else losses.mvm_l1)(predicted, target)

    def _targets(self, batch: Batch, mask: Tensor) -> Tensor:
        """Targets at the hidden positions, [M, C], or codes [M]."""
        video = batch.video
        match self.target:
            case "pixel":
                return pick(self.video.patches(video), mask) / 255
            case "hog":  # of the colours as the encoder reads them
                edges = hog_image(video * self.video.scale[:3])[..., None]
                return pick(self.video.patches(edges), mask)
            case "depth":
                return pick(self.known(batch), mask)
            case "codes":
                return self.codebook(pick(self.video.patches(video), mask))
            case "features_2d":
                video = video.flatten(0, 1)[:, None]  # [B * T, 1, H, W, 3]
        seen = self.teacher(video).tokens.reshape(*mask.shape, -1)  # [B, N, D]
        return normalised_features(pick(seen, mask))
