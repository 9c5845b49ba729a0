"""What every recipe is: named losses of a batch, the encoders it runs, and what else it is able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from workbench.errors import UserError
from workbench.masking.positions import counted, counted_each
from workbench.masking.video import Grid, floor_count
from workbench.models.encoder import Encoder
from workbench.models.text import Vocabulary
from workbench.models.video import VideoEncoder
from workbench.recipe.batch import Batch, BatchRng, Draw, Masks

if TYPE_CHECKING:
    from workbench.config import RunConfig
    from workbench.data.store import FrameStore
    from workbench.data.truth import Truth


EMBEDDINGS = ("embed_video", "embed_text")
ABILITIES = (*EMBEDDINGS, "match", "generate", "answer", "regions", "attended")
"""Methods of a recipe whose results mean nothing before they are trained, see `BaseRecipe.trained_by`."""


SLICE = 4096
"""Captions whose masks are drawn together where no more than counts are wanted."""


class Phase(NamedTuple):
    """A stretch of training of its own, computed by the recipe's method of the phase's name."""

    trains: tuple[str, ...] = ()
    """Parts that learn in it, by the beginnings of their parameters' names; empty for all."""


class BaseRecipe(nn.Module, ABC):
    """One published system: a subclass builds its parts, names its encoders and its losses.

    Nothing is assumed of how the sides are encoded: they may share every weight, there may be no text
    encoder, and pairs may be judged together only. What else a recipe can do is found by what it defines:

    - `embed_video(video, mask=None)`, `embed_text(text, mask=None)` -> unit vectors [B, E] (see `dual.py`)
    - `match(video, text)` -> logits [P] of pairs judged together
    - `generate(video, prompts=None)` -> captions, a list of B that begin with B prompts, if there are any
    - `answer(video, question, choices)` -> logits [B, A]
    - `embed_steps(video)` -> unit vectors [B, T, E] of moments
    - `regions(video, text)` -> boxes [B, t, R, 4], in shares of the picture (left, top, right, bottom), and
      how well they fit the captions, [B, t, R], in each of the t steps of the clip's grid
    - `attended(video, text)` -> how much captions look at each token of the clip's grid, [B, N]
    - `features(video)` -> [B, N, D] for probes
    - `reconstruct(batch, draw)` -> clips in grey levels, float [B, T, H, W, 3]: what is predicted in the
      hidden places, the truth elsewhere; with `reconstruction`, what to say of it (see `reconstruction.py`)

    Videos are uint8 [B, T, H, W, 3]. What a recipe keeps from step to step (a teacher, a queue, a codebook)
    is a parameter without gradient or a buffer of fixed shape, so that a checkpoint holds it.
    """

    CONTRASTS: ClassVar[tuple[str, ...]] = ()
    """Objectives whose loss is a contrast of embeddings and nothing else, see `DualEncoder.contrast_of`."""

    PHASES: ClassVar[Mapping[str, Phase]] = {}
    """Objectives that a stage may name besides `recipe` and `align`."""

    DISTRIBUTED: ClassVar[bool] = False
    """Whether several processes that share a batch compute what one computes of it (see `distributed`): what
    looks at other rows gathers them, what is drawn of them is drawn for all."""

    READS_IMAGES: ClassVar[bool] = False
    """Whether a batch may be of single images [B, 1, H, W, 3] where clips have more frames."""

    def __init__(self, config: Any, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def encoders(self) -> dict[str, Encoder]:
        """Every stack of transformer blocks that a step may run, by name: `video`, `text`, `fusion`, ..."""

    @abstractmethod
    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Named unweighted terms of the recipe's objective, scalars, of what the draw leaves to see.

        Terms of weight 0 are left out, and those that predict what is hidden where the draw's masks are None.
        """

    def align(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Only the contrast of clips and captions, of a recipe that embeds both (see `dual.py`)."""
        raise UserError(f"{self.name} embeds no clips and captions: nothing to contrast")

    def forward(self, batch: Batch, draw: Draw, *, objective: str = "recipe") -> dict[str, Tensor]:
        """The one entry of training, under whatever objective: named unweighted terms, scalars.

        Raises `UserError` where no term is left: only hidden words are predicted, say, and none are hidden.
        """
        compute = self.losses if objective == "recipe" else getattr(self, objective)
        terms: dict[str, Tensor] = compute(batch, draw)
        if not terms:
            weighted = [f"weights.{name}" for name, weight in self.weights(objective).items() if weight]
            raise UserError(
                f"{self.name} has nothing to learn where nothing is hidden: nothing but "
                f"{' and '.join(weighted)} is above 0"
            )
        return terms

    def weights(self, objective: str = "recipe") -> dict[str, float]:
        """Weight of each term, from the recipe's config; the shared alignment has one term."""
        return {"vtc": 1.0} if objective == "align" else asdict(self.config.weights)

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """Whatever chance decides in a step: the masks, then the `choices` of the recipe's own objective."""
        video, text = self.masks(batch, rng) if masked else Masks()
        return Draw(video, text, self.choices(batch, rng) if objective == "recipe" else {})

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """What the recipe's own losses draw besides masks, masked or not: `Draw.chosen`, [B, ...] each."""
        return {}

    def masks(self, batch: Batch, rng: BatchRng) -> Masks:
        """Both sides at once: a recipe may look at one side, or run itself, to hide the other.

        The masks say how much they hide as far as that is known (see `masking.positions`).
        """
        video, text = self.config.video_masking, self.config.text_masking
        rows, known = len(batch.text.tokens), batch.text.known
        patches: Tensor | None = None
        words: Tensor | None = None
        if video is not None and (each := video.hidden(self.grid)):
            patches = counted_each(video(self.grid, rows, rng), each)
        if text is not None and text.ratio:
            equal = self.config.text.hidden == "drop"
            words = text(batch.text.layout, rng, equal=equal)
            if equal:
                counted_each(words, floor_count(text.ratio, words.shape[1]))
            elif known is not None:
                counted(words, int(text.counts(known.valid).sum()))
        return Masks(patches, words)

    def hidden_shares(self, batch: Batch, rng: BatchRng) -> dict[str, float]:
        """What a masked step really hides of these clips' tokens and of these captions' words.

        A ratio is not that share: counts are rounded down, and where words are dropped, padding goes first.
        Rows go through in slices of `SLICE`, so that the masks of all captions of a data set are never in
        memory together; only a recipe whose masks look at more than captions draws all of them at once.

        batch: on whatever device; the masks are drawn on that of `rng`.
        """
        rows = len(batch.text.tokens)
        step = SLICE if type(self).masks is BaseRecipe.masks else max(1, rows)
        patches, hidden_patches, words, hidden_words = 0, 0, 0, 0
        for start in range(0, rows, step):
            part = batch.select(slice(start, start + step)).to(rng.device)
            masks, valid = self.masks(part, rng), part.text.layout.valid
            if masks.video is not None:
                patches += masks.video.numel()
                hidden_patches += int(masks.video.sum())
            if masks.text is not None:
                words += int(valid.sum())
                hidden_words += int((masks.text & valid).sum())
        # In single precision as ever, so that the same counts give the same recorded number.
        of_words = float(torch.tensor(hidden_words) / torch.tensor(words)) if words else 0.0
        return {
            "mask/video_hidden": hidden_patches / patches if patches else 0.0,
            "mask/text_hidden": of_words,
        }

    def attach(self, truths: Sequence[Truth | None]) -> None:
        """Takes what is known of the training data beside pixels, to be found by `Batch.source` and `.index`.

        Called in each process, also of a resumed run: what is kept of it has no place in a checkpoint.
        `UserError` where an objective needs what the data do not know.

        truths: one for each data set of the run, in the order of its stages; None for data that only stages
            of `align` read.
        """

    def prepare(self, store: FrameStore, rng: torch.Generator) -> float:
        """Fits what must be there before the first step, such as a codebook, into buffers.

        store: what the first stage trains on.

        Returns: FLOPs of what torch did not compute itself; its own are counted.
        """
        return 0.0

    def after_step(self, done: float) -> None:
        """After each optimiser step, without gradients: teachers, queues, schedules.

        done: share of the run that is over, from 0 to 1; each stage counts alike, whatever its length.
        """

    def rates(self) -> dict[str, float]:
        """Factors of the learning rate, by the beginnings of parameters' names; 1 for all others."""
        return {}

    def trained_by(self, ability: str) -> tuple[str, ...]:
        """Objectives that train one of `ABILITIES`; unless a recipe says otherwise, its own losses.

        Embeddings, once trained, stay valid. Any other ability is valid only if the last stage trained it:
        other objectives move the encoders below its head, and leave the head as it was.
        """
        term = {"match": "vtm", "generate": "lm"}.get(ability, "")
        return ("recipe",) if self.weights().get(term, 1.0) else ()

    @property
    def name(self) -> str:
        """Of its module."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def grid(self) -> Grid:
        """Tokens of a clip along time, height and width."""
        video = self.encoders()["video"]
        assert isinstance(video, VideoEncoder), "clips are read by a VideoEncoder"
        return video.grid

    @classmethod
    def objectives(cls) -> tuple[str, ...]:
        """What a stage may name: its own losses, the alignment where it can align, and its phases."""
        align = () if cls.align is BaseRecipe.align else ("align",)
        return ("recipe", *align, *cls.PHASES)

    @classmethod
    def check_objective(cls, objective: str) -> None:
        """Refuses a stage's objective that the recipe does not have."""
        known = cls.objectives()
        if objective not in known:
            name = cls.__module__.rpartition(".")[2]
            raise UserError(f"{name} has no objective {objective!r}; it has {', '.join(known)}")

    @classmethod
    def check_run(cls, config: RunConfig, drawn: Collection[str]) -> None:
        """Refuses a run that cannot be, as far as its configuration tells; called before there are data.

        drawn: names of those of the run's data whose motion is known.
        """

    def learns(self, parameter: str, objective: str) -> bool:
        """Whether a parameter that is trained at all is trained under an objective."""
        trains = self.PHASES[objective].trains if objective in self.PHASES else ()
        return not trains or parameter.startswith(trains)
