"""The base class of recipes: named losses of a batch, the encoders that it runs, and its other abilities."""

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
"""Methods of a recipe whose results are meaningless before they are trained, see `BaseRecipe.trained_by`."""


SLICE = 4096
"""Number of captions whose masks are sampled together when only counts of hidden words are needed."""


class Phase(NamedTuple):
    """A training objective besides `recipe` and `align`; the recipe's method of the same name computes it."""

    trains: tuple[str, ...] = ()
    """Prefixes of the names of the parameters that it trains; empty for all."""


class BaseRecipe(nn.Module, ABC):
    """One published system: a subclass builds its parts, names its encoders and computes its losses.

    The base class does not assume how the sides are encoded: they may share all weights, there may be no text
    encoder, and the recipe may only judge pairs. Other abilities of a recipe are the methods that it defines:

    - `embed_video(video, mask=None)`, `embed_text(text, mask=None)` -> unit vectors [B, E] (see `dual.py`)
    - `match(video, text)` -> logits [P] of pairs judged together
    - `generate(video, prompts=None)` -> B captions, which begin with the B prompts if there are any
    - `answer(video, question, choices)` -> logits [B, A]
    - `embed_steps(video)` -> unit vectors [B, T, E] of moments
    - `regions(video, text)` -> boxes [B, t, R, 4], in shares of the frame (left, top, right, bottom), and
      how well they fit the captions, [B, t, R], in each of the t steps of the clip's grid
    - `attended(video, text)` -> how much captions attend to each token of the clip's grid, [B, N]
    - `features(video)` -> [B, N, D] for probes
    - `reconstruct(batch, draw)` -> clips in grey levels, float [B, T, H, W, 3]: predictions at the
      hidden positions, the ground truth elsewhere; `reconstruction` describes them (see `reconstruction.py`)

    Videos are uint8 [B, T, H, W, 3]. State that a recipe keeps between steps (a teacher, a queue, a codebook)
    is a parameter without gradient or a buffer of fixed shape, so that it is saved in checkpoints.
    """

    CONTRASTS: ClassVar[tuple[str, ...]] = ()
    """Objectives whose loss is only a contrast of embeddings, see `DualEncoder.contrast_of`."""

    PHASES: ClassVar[Mapping[str, Phase]] = {}
    """Objectives that a stage may name besides `recipe` and `align`."""

    DISTRIBUTED: ClassVar[bool] = False
    """Whether several processes that share a batch compute the same as one process (see `distributed`): terms
    that depend on other rows gather them, and random numbers that depend on other rows are drawn for all."""

    READS_IMAGES: ClassVar[bool] = False
    """Whether a batch may contain single images [B, 1, H, W, 3] although clips have more frames."""

    def __init__(self, config: Any, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def encoders(self) -> dict[str, Encoder]:
        """Every stack of transformer blocks that a step may run, by name: `video`, `text`, `fusion`, ..."""

    @abstractmethod
    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Named, unweighted scalar losses of the recipe's own objective, given the choices in `draw`.

        Losses of weight 0 are left out, and so are losses on hidden content where the masks are None.
        """

    def align(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The contrastive loss of clips and captions alone, for a recipe that embeds both (see `dual.py`)."""
        raise UserError(f"{self.name} embeds no clips and captions: nothing to contrast")

    def forward(self, batch: Batch, draw: Draw, *, objective: str = "recipe") -> dict[str, Tensor]:
        """The losses of any objective, by name: unweighted scalars. Training calls only this method.

        Raises `UserError` if no loss is left, for example if only hidden words are predicted and none are
        hidden.
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
        """Weight of each loss, from the recipe's config; the shared alignment has one loss."""
        return {"vtc": 1.0} if objective == "align" else asdict(self.config.weights)

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """All random choices of a step: the masks, then the `choices` of the recipe's own objective."""
        video, text = self.masks(batch, rng) if masked else Masks()
        return Draw(video, text, self.choices(batch, rng) if objective == "recipe" else {})

    def choices(self, batch: Batch, rng: BatchRng) -> dict[str, Tensor]:
        """Random choices of the recipe's own losses besides masks, [B, ...] each: `Draw.chosen`."""
        return {}

    def masks(self, batch: Batch, rng: BatchRng) -> Masks:
        """Samples the masks of both sides; a recipe may use one side, or run itself, to mask the other.

        The masks store the number of positions that they hide if it is known (see `masking.positions`).
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
        """Shares of these clips' tokens and of these captions' words that a masked step hides, from 0 to 1.

        They differ from the ratio: counts are rounded down, and if words are dropped, padding is dropped
        first. Masks are sampled in slices of `SLICE` rows, so that those of all captions of a data set are
        never in memory together; a recipe with its own `masks` samples all of them at once.

        batch: on any device; the masks are sampled on that of `rng`.
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
        # In single precision, as in earlier runs, so that the same counts give the same recorded number.
        of_words = float(torch.tensor(hidden_words) / torch.tensor(words)) if words else 0.0
        return {
            "mask/video_hidden": hidden_patches / patches if patches else 0.0,
            "mask/text_hidden": of_words,
        }

    def attach(self, truths: Sequence[Truth | None]) -> None:
        """Receives the training data's ground truth; `Batch.source` and `.index` give the rows of a step.

        It is called in each process, also when a run resumes, because checkpoints do not contain ground
        truth. Raises `UserError` if an objective needs ground truth that the data do not have.

        truths: one for each data set of the run, in the order of its stages; None for data that only stages
            of `align` read.
        """

    def prepare(self, store: FrameStore, rng: torch.Generator) -> float:
        """Fits buffers that the first step needs, such as a codebook.

        store: the training data of the first stage.

        Returns: FLOPs of computations outside torch; those in torch are counted automatically.
        """
        return 0.0

    def after_step(self, done: float) -> None:
        """Updates teachers, queues and schedules after each optimiser step, without gradients.

        done: share of the run that is over, from 0 to 1; all stages count equally, whatever their lengths.
        """

    def rates(self) -> dict[str, float]:
        """Factors of the learning rate by prefix of the parameters' names; 1 for all others."""
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
        """Name of the recipe's module."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def grid(self) -> Grid:
        """Tokens of a clip along time, height and width."""
        video = self.encoders()["video"]
        assert isinstance(video, VideoEncoder), "clips are read by a VideoEncoder"
        return video.grid

    @classmethod
    def objectives(cls) -> tuple[str, ...]:
        """Objectives that a stage may name: `recipe`, `align` if the recipe supports it, and its phases."""
        align = () if cls.align is BaseRecipe.align else ("align",)
        return ("recipe", *align, *cls.PHASES)

    @classmethod
    def check_objective(cls, objective: str) -> None:
        """Raises `UserError` for an objective that the recipe does not have."""
        known = cls.objectives()
        if objective not in known:
            name = cls.__module__.rpartition(".")[2]
            raise UserError(f"{name} has no objective {objective!r}; it has {', '.join(known)}")

    @classmethod
    def check_run(cls, config: RunConfig, drawn: Collection[str]) -> None:
        """Raises `UserError` for a configuration that cannot be run; called before the data are read.

        drawn: names of the run's data sets whose motion is known.
        """

    def learns(self, parameter: str, objective: str) -> bool:
        """Whether an objective trains a parameter, given that the parameter is trainable."""
        trains = self.PHASES[objective].trains if objective in self.PHASES else ()
        return not trains or parameter.startswith(trains)
