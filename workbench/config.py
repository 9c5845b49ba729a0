"""What a run is: the configuration that identifies it, its JSON form, its key.

A configuration is ordinary typed Python. `RunConfig` holds a recipe's own `Config` (in
`workbench/recipes/<name>.py`), the data, the stages and the optimiser. Machine facts (paths, device,
workers) never enter it, so the same configuration has the same key on every machine; `init_from` names runs,
by study, key and seed where they are to have the same name everywhere.
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
    """Which clips a run sees, and at which resolution they are stored."""

    name: str = "moving_shapes"
    """A data set of `workbench.data`; `folder` are one's own videos."""
    digest: str = ""
    """Identifies the content; filled in when the data set is first read."""
    clips: int = 0
    """Number of training clips of a generated data set; 0 stands for its full size."""
    frames: int = 8
    """Frames of a clip that a step sees."""
    size: int = 64
    """Side of the square frames in pixels."""
    stored: int = added(before=0)
    """Frames of a clip that are kept, from the centres of as many equal intervals; 0 stands for `frames`."""
    sampling: Literal["centre", "random", "contiguous"] = added(before="centre")
    """Which of the stored frames a training step takes; evaluation has the centres, or the centred window."""
    stride: int = added(before=1)
    """Stored frames from one frame of a contiguous window to the next."""
    stored_size: int = added(before=0)
    """Side of the frames that are kept, in pixels; 0 stands for `size`. Evaluation sees all of a frame,
    scaled to `size`."""
    crop: float = added(before=1.0)
    """Least share of a frame's area that training sees of a clip: a part drawn anew each time (random resized
    crop, arXiv:1409.4842), the same in all its frames; 1 shows all of it."""
    flip: float = added(before=0.0)
    """Share of the clips that training sees mirrored; none by default, since captions say left and right."""
    jitter: float = added(before=0.0)
    """By how much training changes brightness, contrast and saturation of a clip at most, as a share."""
    text: Literal["captions", "questions"] = added(before="captions")
    """What training reads beside the frames: the clips' captions, or questions about them with the answer
    behind, where what they show is known, as in moving_shapes."""

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
                f"data.stored_size is 0 or more than data.size, {self.size}, not {self.stored_size}"
            )
        if not 0 < self.crop <= 1:
            raise UserError(f"data.crop is a share of a frame's area, above 0 and up to 1, not {self.crop!r}")
        for name, share in (("data.flip", self.flip), ("data.jitter", self.jitter)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is a share from 0 to 1, not {share!r}")
        if self.stored and self.stored <= self.frames:  # as many would be a twin of 0 with another key
            raise UserError(f"data.stored is 0 or more than data.frames, {self.frames}, not {self.stored}")
        if self.sampling != "centre" and self.stored <= self.frames:
            raise UserError(f"{self.sampling} sampling needs data.stored above data.frames, {self.frames}")
        if self.sampling != "contiguous" and self.stride != 1:
            raise UserError(f"data.stride is 1 unless data.sampling is 'contiguous', not {self.stride}")
        if (window := (self.frames - 1) * self.stride + 1) > max(self.stored, self.frames):
            raise UserError(f"data.frames at data.stride span {window}, more than data.stored, {self.stored}")
        if self.digest and not (self.digest.isascii() and self.digest.isalnum()):  # it names a folder
            raise UserError(f"data.digest is made of letters and digits, not {self.digest!r}")

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
        """Whether a training step sees things elsewhere than in the stored frames."""
        return bool(self.stored_size or self.crop < 1 or self.flip)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a stage ends. FLOPs are turned into steps after the first step has been measured."""

    unit: Literal["steps", "epochs", "pflops", "seconds"] = "pflops"
    amount: float

    def __post_init__(self) -> None:
        if self.unit not in ("steps", "epochs", "pflops", "seconds"):
            raise UserError(f"a budget's unit is one of steps, epochs, pflops or seconds, not {self.unit!r}")
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise UserError(f"a budget is a positive number of {self.unit}, not {self.amount!r}")

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Other data that a stage reads by turns with its own, such as images among videos (arXiv:2104.00650,
    arXiv:2209.07526); each batch is of one of them."""

    data: DataConfig
    share: float
    """Share of the stage's steps whose batch is of these data."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"the share of mixed data is above 0 and below 1, not {self.share!r}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training under one objective."""

    objective: str = "recipe"
    """`recipe`: the recipe's own losses; `align`: only the contrastive loss between whole clips and texts; or
    the name of a phase of the recipe, one of its `PHASES`."""
    masked: bool = True
    """False shows everything, as FLIP's unmasked tuning does (arXiv:2212.00794)."""
    budget: Budget
    data: DataConfig | None = added(before=None)
    """What it trains on; None for the run's own data."""
    mix: tuple[Mixed, ...] = added(before=())
    """What it trains on by turns with that; the rest of the steps is of the stage's data."""

    def __post_init__(self) -> None:
        if not self.objective.isidentifier():
            raise UserError(f"a stage's objective is recipe, align or a phase, not {self.objective!r}")
        if (total := float(sum(Fraction(repr(one.share)) for one in self.mix))) >= 1:
            raise UserError(
                f"the shares of mixed data add up to less than 1, which leaves the rest to the stage's own "
                f"data, not to {total:g}"
            )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and a cosine to zero, restarted at every stage."""

    lr: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.1
    """Share of a stage's steps over which the learning rate rises from zero."""
    batch_size: int = 128
    clip_norm: float = 1.0
    accumulate: int = added(before=1)
    """Parts in which a batch is embedded one after the other, each of them twice (GradCache,
    arXiv:2101.06983): for a contrast of more pairs than fit the memory; 1 for all at once."""
    recompute: bool = added(before=False)
    """Activation checkpointing (arXiv:1604.06174): of each transformer block only the input is kept, and the
    backward pass computes the block again, for less memory and about a third more FLOPs."""
    compile: bool = added(before=False)
    """`torch.compile` of each transformer block on an accelerator; on processors blocks run as they are. The
    run's record says whether it was done."""

    def __post_init__(self) -> None:
        at_least("optim.batch_size", self.batch_size, 2)
        at_least("optim.accumulate", self.accumulate, 1)
        divides("optim.accumulate", self.accumulate, "optim.batch_size", self.batch_size)
        positive("optim.lr", self.lr)
        positive("optim.clip_norm", self.clip_norm)
        not_negative("optim.weight_decay", self.weight_decay)
        for name, value in (("optim.warmup", self.warmup), *(("optim.betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise UserError(f"{name} is a share in [0, 1), not {value!r}")


@dataclass(frozen=True, kw_only=True)
class InitFrom:
    """A part of the recipe starts from the weights of another run of this workbench."""

    part: str
    """Beginning of the names of its parameters, such as `video`; empty for the whole recipe."""
    run: str
    """`STUDY/KEY-sSEED` beside this run's study, or the path of a run directory."""
    source: str = ""
    """The same beginning in the other run; empty where it is called alike."""
    sha256: str = ""
    """Of the other run's weights, which are refused when they are others; empty takes what is there."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: one cell (everything but `seed`) with one seed."""

    recipe: Any
    """The `Config` of a module in `workbench.recipes`."""
    data: DataConfig = field(default_factory=DataConfig)
    stages: tuple[Stage, ...]
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluations: int = 4
    """Evaluations on the validation split, evenly spaced; the last is at the end."""
    seed: int = 0
    tasks: tuple[str, ...] = added(before=("retrieval",))
    """What the trained model is evaluated by: modules of `workbench.tasks`, those that its recipe can do."""
    evaluate_on: tuple[DataConfig, ...] = added(before=())
    """Other data that it is evaluated on as well, its metrics named `test/DATA:METRIC`."""
    init_from: tuple[InitFrom, ...] = added(before=())

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError("a run needs at least one stage")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise UserError(f"a run has one task or more, none of them twice, not {self.tasks!r}")
        for data in (*self.training_data, *self.evaluate_on):
            if data.frames not in (self.data.frames, 1) or data.size != self.data.size:
                raise UserError(
                    f"all data of a run have {self.data.frames} frames of {self.data.size} pixels, as its "
                    f"own, or one frame where they are pictures; {data.name} has {data.frames} of {data.size}"
                )
        for stage in self.stages:
            mixed = [one.data.name for one in stage.mix]
            if len({(stage.data or self.data).name, *mixed}) < 1 + len(mixed):
                raise UserError(f"a stage mixes data of different names, each once, not {', '.join(mixed)}")
        others = [data.name for data in self.evaluate_on]
        if len({self.data.name, *others}) < 1 + len(others):
            raise UserError(f"evaluate_on names data by different names than {self.data.name!r}, each once")
        if any(data.text != "captions" for data in self.evaluate_on):  # it would be a twin with another key
            raise UserError("data.text is what training reads: evaluate_on leaves it at 'captions'")
        if any((data.crop, data.flip, data.jitter) != (1, 0, 0) for data in self.evaluate_on):
            raise UserError("data.crop, flip and jitter change what training sees: evaluate_on leaves them")
        at_least("evaluations", self.evaluations, 1)
        at_least("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise UserError(f"seed is below 2**63, not {self.seed}")

    @property
    def training_data(self) -> tuple[DataConfig, ...]:
        """The data of the stages in their order, each once."""
        return self._read_by(self.stages)

    @property
    def recipe_data(self) -> tuple[DataConfig, ...]:
        """Those of the training data that a stage of another objective than `align` reads."""
        return self._read_by([stage for stage in self.stages if stage.objective != "align"])

    def _read_by(self, stages: Sequence[Stage]) -> tuple[DataConfig, ...]:
        own = [(stage.data or self.data, *(one.data for one in stage.mix)) for stage in stages]
        return tuple(dict.fromkeys(data for some in own for data in some))

    @property
    def all_data(self) -> tuple[DataConfig, ...]:
        """All that has to be prepared: the run's own, that of its stages, and what it is evaluated on."""
        return tuple(dict.fromkeys((self.data, *self.training_data, *self.evaluate_on)))

    def with_data(self, change: Callable[[DataConfig], DataConfig], **more: Any) -> RunConfig:
        """The same run with all its data changed alike, and at once with `more` of its fields, which have to
        fit the new data."""
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

        Twins share a key: a masking with ratio 0 hides nothing, whatever its strategy.
        """
        content = canonical(self)
        del content["seed"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps(to_dict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> RunConfig:
        """Raises `UserError` for a file that is not a configuration of this version."""
        try:
            config = from_dict(json.loads(text))
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise UserError(f"not a run configuration of this version: {error}") from error
        if not isinstance(config, RunConfig):
            raise UserError(f"expected a RunConfig, found {type(config).__name__}")
        if not type(config.recipe).__module__.startswith("workbench.recipes."):
            raise UserError(f"recipe is the Config of a recipe, not {type(config.recipe).__name__}")
        return config
