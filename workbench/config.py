"""What a run is: the configuration that identifies it, its JSON form, its key.

A configuration is ordinary typed Python. `RunConfig` holds a recipe's own `Config` (in
`workbench/recipes/<name>.py`), the data, the stages and the optimiser. Machine facts (paths, device,
workers) never enter it, so the same configuration has the same key on every machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from workbench.errors import UserError

SERIALISABLE = ("config.", "masking.", "models.", "recipes.")
"""Packages whose dataclasses may be named in a configuration file."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which clips a run sees, and at which resolution they are stored."""

    name: str = "moving_shapes"
    """A module of `workbench.data`, or `folder` for one's own videos."""
    digest: str = ""
    """Identifies the content; filled in when the data set is first read."""
    clips: int = 0
    """Number of training clips of a generated data set; 0 stands for its full size."""
    frames: int = 8
    """Frames per clip, taken from the centres of as many equal intervals."""
    size: int = 64
    """Side of the square frames in pixels."""

    def __post_init__(self) -> None:
        _at_least("data.frames", self.frames, 1)
        _at_least("data.size", self.size, 8)
        _at_least("data.clips", self.clips, 0)


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
class Stage:
    """One stretch of training under one objective."""

    objective: Literal["recipe", "align"] = "recipe"
    """`recipe`: the recipe's own losses; `align`: only the contrastive loss between whole clips and texts."""
    masked: bool = True
    """False shows everything, as FLIP's unmasked tuning does (arXiv:2212.00794)."""
    budget: Budget

    def __post_init__(self) -> None:
        if self.objective not in ("recipe", "align"):
            raise UserError(f"a stage's objective is recipe or align, not {self.objective!r}")


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

    def __post_init__(self) -> None:
        _at_least("optim.batch_size", self.batch_size, 2)
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise UserError(f"optim.lr is a positive number, not {self.lr!r}")
        if not 0 <= self.warmup < 1:
            raise UserError(f"optim.warmup is a share in [0, 1), not {self.warmup!r}")


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

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError("a run needs at least one stage")
        _at_least("evaluations", self.evaluations, 1)
        _at_least("seed", self.seed, 0)

    @property
    def recipe_name(self) -> str:
        """Module name of the recipe, e.g. `mac`."""
        return type(self.recipe).__module__.rpartition(".")[2]

    def key(self) -> str:
        """Twelve hexadecimal digits that identify the cell: the configuration without its seed.

        Twins share a key: a masking with ratio 0 hides nothing, whatever its strategy.
        """
        content = _canonical(self)
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
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"not a run configuration of this version: {error}") from error
        if not isinstance(config, RunConfig):
            raise UserError(f"expected a RunConfig, found {type(config).__name__}")
        return config


def to_dict(value: Any) -> Any:
    """Plain JSON values; a dataclass carries its place in the package as `type`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        module = type(value).__module__.removeprefix("workbench.")
        fields = {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": f"{module}.{type(value).__qualname__}", **fields}
    if isinstance(value, tuple | list):
        return [to_dict(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a configuration")


def from_dict(value: Any) -> Any:
    """Inverse of `to_dict`; imports only configuration classes of this package."""
    if isinstance(value, list):
        return tuple(from_dict(v) for v in value)
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    module, _, name = fields.pop("type").rpartition(".")
    if not f"{module}.".startswith(SERIALISABLE):
        raise UserError(f"a configuration cannot name {module}.{name}")
    try:
        cls = getattr(importlib.import_module(f"workbench.{module}"), name)
    except ModuleNotFoundError as error:
        raise UserError(f"there is no workbench.{module} in this version") from error
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise UserError(f"{module}.{name} is not a configuration class")
    return cls(**{k: from_dict(v) for k, v in fields.items()})


def flatten(config: Any) -> dict[str, Any]:
    """Dotted names to scalars, e.g. `recipe.video_masking.ratio`: for params, tables and diffs."""
    return dict(_flat("", to_dict(config)))


def diff(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two configurations: dotted name to (value in a, value in b)."""
    left, right = flatten(a), flatten(b)
    names = [*left, *(n for n in right if n not in left)]
    return {n: (left.get(n), right.get(n)) for n in names if left.get(n) != right.get(n)}


def smoke(config: RunConfig) -> RunConfig:
    """The same run made small enough to try the whole path in seconds: few clips, 12 steps a stage."""
    stages = tuple(replace(s, budget=Budget(unit="steps", amount=12)) for s in config.stages)
    data, optim = config.data, config.optim
    if data.name != "folder":
        data = replace(data, clips=512)
    optim = replace(optim, batch_size=min(32, optim.batch_size))
    return replace(config, stages=stages, data=data, optim=optim, evaluations=2)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for i, inner in enumerate(value):
            yield from _flat(f"{prefix}.{i}", inner)
    else:
        yield prefix, value


def _canonical(value: Any) -> Any:
    """`to_dict` with twins made equal: no masking at ratio 0, and 1 equal to 1.0."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if getattr(value, "ratio", None) == 0:
            return None
        out = {"type": to_dict(value)["type"]}
        for f in dataclasses.fields(value):
            inner = getattr(value, f.name)
            out[f.name] = float(inner) if f.type == "float" else _canonical(inner)
        return out
    if isinstance(value, tuple | list):
        return [_canonical(v) for v in value]
    return value


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} is a whole number of at least {least}, not {value!r}")
