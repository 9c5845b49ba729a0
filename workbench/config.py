"""Configurations, which identify runs, their JSON form and their keys.

A configuration is ordinary typed Python. `RunConfig` holds a recipe's own `Config` (in
`workbench/recipes/<name>.py`), the data, the stages and the optimiser. Properties of the machine
(paths, device, workers) are not part of it, so the same configuration has the same key on every machine;
`init_from` names runs by study, key and seed if the names must be the same everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from workbench.errors import UserError
from workbench.fields import added, at_least, divides, not_negative, one_of, positive
from workbench.serial import canonical, from_dict, to_dict


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data of a run, and the resolution at which clips are stored."""

    name: str = "moving_shapes"
    """A data set of `workbench.data`; `folder` is a folder of your own videos."""
    digest: str = ""
    """Identifies the content; filled in when the data set is first read."""
    clips: int = 0
    """Number of training clips of a synthetic data set; 0 stands for its full size."""
    frames: int = 8
    """Frames of a clip in a training step."""
    size: int = 64
    """Side of the square frames in pixels."""
    stored: int = added(before=0)
    """Stored frames of a clip, from the centres of as many equal intervals; 0 stands for `frames`."""
    sampling: Literal["centre", "random", "contiguous"] = added(before="centre")
    """The stored frames that a training step uses; evaluation uses the centres, or the centred window."""
    stride: int = added(before=1)
    """Distance between neighbouring frames of a contiguous window, in stored frames."""
    stored_size: int = added(before=0)
    """Side of the stored frames in pixels; 0 stands for `size`. Evaluation uses whole frames, scaled to
    `size`."""
    crop: float = added(before=1.0)
    """Smallest share of a frame's area in a random resized crop (arXiv:1409.4842), which training samples
    anew each time, the same for all frames of a clip; 1 uses whole frames."""
    flip: float = added(before=0.0)
    """Probability that training mirrors a clip; 0 by default, because captions mention left and right."""
    jitter: float = added(before=0.0)
    """Largest relative change of brightness, contrast and saturation of a clip in training."""
    text: Literal["captions", "questions"] = added(before="captions")
    """Texts in training: the clips' captions, or questions about them followed by the answer, for data with
    ground truth such as moving_shapes."""

    def __post_init__(self) -> None:
        at_least("data.frames", self.frames, 1)
        at_least("data.size", self.size, 8)
        at_least("data.clips", self.clips, 0)
        at_least("data.stored", self.stored, 0)
        at_least("data.stride", self.stride, 1)
        one_of("data.sampling", self.sampling, ("centre", "random", "contiguous"))
        one_of("data.text", self.text, ("captions", "questions"))
        at_least("data.stored_size", self.stored_size, 0)
        if self.stored_size and self.stored_size <= self.size:
            raise UserError(
                f"data.stored_size must be 0 or above data.size={self.size}, not {self.stored_size}"
            )
        if not 0 < self.crop <= 1:
            raise UserError(f"data.crop must be a share of a frame's area in (0, 1], not {self.crop!r}")
        for name, share in (("data.flip", self.flip), ("data.jitter", self.jitter)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} must be a number in [0, 1], not {share!r}")
        if self.stored and self.stored <= self.frames:  # equality would be a twin of 0 with another key
            raise UserError(f"data.stored must be 0 or above data.frames={self.frames}, not {self.stored}")
        if self.sampling != "centre" and self.stored <= self.frames:
            raise UserError(f"{self.sampling} sampling needs data.stored above data.frames={self.frames}")
        if self.sampling != "contiguous" and self.stride != 1:
            raise UserError(f"data.stride must be 1 unless data.sampling is 'contiguous', not {self.stride}")
        if (window := (self.frames - 1) * self.stride + 1) > max(self.stored, self.frames):
            raise UserError(
                f"data.frames at data.stride must span at most data.stored={self.stored} frames, not {window}"
            )
        if self.digest and not (self.digest.isascii() and self.digest.isalnum()):  # a folder's name
            raise UserError(f"data.digest must consist of letters and digits, not {self.digest!r}")

    @property
    def kept_frames(self) -> int:
        """Frames of a clip in the frame store."""
        return self.stored or self.frames

    @property
    def kept_size(self) -> int:
        """Side of the frames in the frame store, in pixels."""
        return self.stored_size or self.size

    @property
    def moved(self) -> bool:
        """Whether training crops, scales or mirrors the stored frames, which moves objects."""
        return bool(self.stored_size or self.crop < 1 or self.flip)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The end of a stage. FLOPs are converted into steps after the first step has been measured."""

    unit: Literal["steps", "epochs", "pflops", "seconds"] = "pflops"
    amount: float

    def __post_init__(self) -> None:
        if self.unit not in ("steps", "epochs", "pflops", "seconds"):
            raise UserError(f"a budget's unit must be steps, epochs, pflops or seconds, not {self.unit!r}")
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise UserError(f"a budget must be a positive number of {self.unit}, not {self.amount!r}")

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Other data that alternate with the stage's own, such as images with videos (arXiv:2104.00650).

    Each batch comes from one data set (see also OmniVL, arXiv:2209.07526)."""

    data: DataConfig
    share: float
    """Share of the stage's steps whose batch comes from these data."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"the share of mixed data must be above 0 and below 1, not {self.share!r}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run's training with one objective and one budget."""

    objective: str = "recipe"
    """`recipe`: the recipe's own losses; `align`: only the contrastive loss between whole clips and texts; or
    the name of a phase of the recipe, one of its `PHASES`."""
    masked: bool = True
    """Whether masks are used; FLIP's unmasked tuning (arXiv:2212.00794) does without."""
    budget: Budget
    data: DataConfig | None = added(before=None)
    """Its training data; None for the run's own data."""
    mix: tuple[Mixed, ...] = added(before=())
    """Data that alternate with its own; the remaining steps use the stage's own data."""

    def __post_init__(self) -> None:
        if not self.objective.isidentifier():
            raise UserError(f"a stage's objective must be recipe, align or a phase, not {self.objective!r}")
        if (total := float(sum(Fraction(repr(one.share)) for one in self.mix))) >= 1:
            raise UserError(
                f"the shares of mixed data must add up to less than 1, which leaves the rest to the stage's "
                f"own data, not to {total:g}"
            )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and a cosine to zero, restarted at every stage."""

    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """AdamW weight decay, for parameters that do not opt out (`no_decay`)."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW betas."""
    warmup: float = 0.1
    """Share of a stage's steps over which the learning rate rises from zero."""
    batch_size: int = 128
    """Clips in a batch, over all processes."""
    clip_norm: float = 1.0
    """Maximum gradient norm."""
    accumulate: int = added(before=1)
    """Number of parts of a batch that are embedded one after another, each of them twice (GradCache,
    arXiv:2101.06983), for contrastive batches that do not fit into memory; 1 embeds all at once."""
    recompute: bool = added(before=False)
    """Activation checkpointing (arXiv:1604.06174): only the input of each transformer block is kept, and the
    backward pass computes the block again, which saves memory and costs about a third more FLOPs."""
    compile: bool = added(before=False)
    """`torch.compile` of each transformer block on an accelerator; on CPUs it has no effect. The run's
    record says whether blocks were compiled."""

    def __post_init__(self) -> None:
        at_least("optim.batch_size", self.batch_size, 2)
        at_least("optim.accumulate", self.accumulate, 1)
        divides("optim.accumulate", self.accumulate, "optim.batch_size", self.batch_size)
        positive("optim.lr", self.lr)
        positive("optim.clip_norm", self.clip_norm)
        not_negative("optim.weight_decay", self.weight_decay)
        for name, value in (("optim.warmup", self.warmup), *(("optim.betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise UserError(f"{name} must be a number in [0, 1), not {value!r}")


@dataclass(frozen=True, kw_only=True)
class InitFrom:
    """A part of the recipe starts from the weights of another run of this workbench."""

    part: str
    """Prefix of the names of its parameters, such as `video`; empty for the whole recipe."""
    run: str
    """`STUDY/KEY-sSEED` beside this run's study, or the path of a run directory."""
    source: str = ""
    """The prefix in the other run; empty if it is the same."""
    sha256: str = ""
    """SHA-256 of the other run's weights; a mismatch is an error. Empty accepts any weights."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: one cell (everything but `seed`) with one seed."""

    recipe: Any
    """The `Config` of a module in `workbench.recipes`."""
    data: DataConfig = field(default_factory=DataConfig)
    stages: tuple[Stage, ...]
    """Stages of training, in order."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluations: int = 4
    """Number of evaluations on the validation split, evenly spaced; the last one is at the end."""
    seed: int = 0
    """Seed of initialisation and of all sampling, from 0 to 2**63 - 1."""
    tasks: tuple[str, ...] = added(before=("retrieval",))
    """Tasks that evaluate the trained model: modules of `workbench.tasks`, as far as its recipe supports
    them."""
    evaluate_on: tuple[DataConfig, ...] = added(before=())
    """Other data that it is also evaluated on; their metrics are named `test/DATA:METRIC`."""
    init_from: tuple[InitFrom, ...] = added(before=())
    """Parts that start from the weights of other runs."""

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError("a run must have at least one stage")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise UserError(f"a run must have one or more tasks, each named once, not {self.tasks!r}")
        for data in (*self.training_data, *self.evaluate_on):
            if data.frames not in (self.data.frames, 1) or data.size != self.data.size:
                raise UserError(
                    f"all data of a run must have {self.data.frames} frames of {self.data.size} pixels, or "
                    f"one frame where they are images; {data.name} has {data.frames} of {data.size}"
                )
        for stage in self.stages:
            mixed = [one.data.name for one in stage.mix]
            if len({(stage.data or self.data).name, *mixed}) < 1 + len(mixed):
                raise UserError(
                    f"the data that a stage mixes must each be named once and differ from its own, not be "
                    f"{', '.join(mixed)}"
                )
        others = [data.name for data in self.evaluate_on]
        if len({self.data.name, *others}) < 1 + len(others):
            raise UserError(f"evaluate_on must name each data set once, and not {self.data.name!r}")
        if any(data.text != "captions" for data in self.evaluate_on):  # it would be a twin with another key
            raise UserError("data.text is what training reads: evaluate_on must leave it at 'captions'")
        if any((data.crop, data.flip, data.jitter) != (1, 0, 0) for data in self.evaluate_on):
            raise UserError(
                "data.crop, data.flip and data.jitter change what training sees: evaluate_on must leave "
                "them at 1, 0 and 0"
            )
        at_least("evaluations", self.evaluations, 1)
        at_least("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise UserError(f"seed must be below 2**63, not {self.seed}")

    @property
    def training_data(self) -> tuple[DataConfig, ...]:
        """The data sets of the stages in order, each once."""
        return self._read_by(self.stages)

    @property
    def recipe_data(self) -> tuple[DataConfig, ...]:
        """The training data that stages with other objectives than `align` read."""
        return self._read_by([stage for stage in self.stages if stage.objective != "align"])

    def _read_by(self, stages: Sequence[Stage]) -> tuple[DataConfig, ...]:
        own = [(stage.data or self.data, *(one.data for one in stage.mix)) for stage in stages]
        return tuple(dict.fromkeys(data for some in own for data in some))

    @property
    def all_data(self) -> tuple[DataConfig, ...]:
        """All data sets to prepare: the run's own, those of its stages and those of its evaluation."""
        return tuple(dict.fromkeys((self.data, *self.training_data, *self.evaluate_on)))

    def with_data(self, change: Callable[[DataConfig], DataConfig], **more: Any) -> RunConfig:
        """The same run with `change` applied to all its data.

        more: new values of other fields, which must fit the new data and are therefore set together."""
        stages = [
            replace(
                stage,
                data=None if stage.data is None else change(stage.data),
                mix=tuple(replace(one, data=change(one.data)) for one in stage.mix),
            )
            for stage in self.stages
        ]
        return replace(
            self,
            data=change(self.data),
            stages=tuple(stages),
            evaluate_on=tuple(map(change, self.evaluate_on)),
            **more,
        )

    @property
    def recipe_name(self) -> str:
        """Module name of the recipe, e.g. `mac`."""
        return type(self.recipe).__module__.rpartition(".")[2]

    def key(self) -> str:
        """Twelve hexadecimal digits that identify the cell: the configuration without its seed.

        Equivalent configurations share a key: a masking with ratio 0 hides nothing, whatever its strategy.
        """
        content = canonical(self)
        del content["seed"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps(to_dict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> RunConfig:
        """A configuration from its JSON form. Raises `UserError` for one that does not fit this version."""
        try:
            config = from_dict(json.loads(text))
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise UserError(f"not a run configuration of this version: {error}") from error
        if not isinstance(config, RunConfig):
            raise UserError(f"expected a RunConfig, found {type(config).__name__}")
        if not type(config.recipe).__module__.startswith("workbench.recipes."):
            raise UserError(f"recipe must be the Config of a recipe, not {type(config.recipe).__name__}")
        return config
