"""What a run is: the configuration that identifies it, its JSON form, its key.

A configuration is ordinary typed Python. `RunConfig` holds a recipe's own `Config` (in
`workbench/recipes/<name>.py`), the data, the stages and the optimiser. Machine facts (paths, device,
workers) never enter it, so the same configuration has the same key on every machine.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from workbench.errors import UserError

SERIALISABLE = ("config.", "masking.", "models.", "recipe.", "recipes.")
"""Packages whose dataclasses may be named in a configuration file."""
MOVED: dict[str, str] = {}
"""Recorded name of a class -> where it is now. A class that moves keeps the name that files and keys know."""


def added(*, before: Any, **options: Any) -> Any:
    """A field that a configuration class got after runs had been made with it.

    before: the value that stands for "as before". While a field has it, it is left out of keys, and a file
    without the field is read as if it said so. Options are those of `dataclasses.field`; without a default
    there, `before` is the default too.
    """
    if not {"default", "default_factory"} & set(options):
        options["default"] = before
    return field(metadata={"before": before}, **options)


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

    def __post_init__(self) -> None:
        at_least("data.frames", self.frames, 1)
        at_least("data.size", self.size, 8)
        at_least("data.clips", self.clips, 0)
        at_least("data.stored", self.stored, 0)
        at_least("data.stride", self.stride, 1)
        one_of("data.sampling", self.sampling, ("centre", "random", "contiguous"))
        if self.stored and self.stored < self.frames:
            raise UserError(f"data.stored is 0 or at least data.frames, {self.frames}, not {self.stored}")
        if self.sampling != "centre" and self.stored <= self.frames:
            raise UserError(f"{self.sampling} sampling needs data.stored above data.frames, {self.frames}")
        if self.sampling != "contiguous" and self.stride != 1:
            raise UserError(f"data.stride is 1 unless data.sampling is 'contiguous', not {self.stride}")
        if (window := (self.frames - 1) * self.stride + 1) > max(self.stored, self.frames):
            raise UserError(f"data.frames at data.stride span {window}, more than data.stored, {self.stored}")
        if self.digest and not (self.digest.isascii() and self.digest.isalnum()):  # it names a folder
            raise UserError(f"data.digest is made of letters and digits, not {self.digest!r}")


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
        at_least("optim.batch_size", self.batch_size, 2)
        positive("optim.lr", self.lr)
        positive("optim.clip_norm", self.clip_norm)
        not_negative("optim.weight_decay", self.weight_decay)
        for name, value in (("optim.warmup", self.warmup), *(("optim.betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise UserError(f"{name} is a share in [0, 1), not {value!r}")


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
        at_least("evaluations", self.evaluations, 1)
        at_least("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise UserError(f"seed is below 2**63, not {self.seed}")

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
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise UserError(f"not a run configuration of this version: {error}") from error
        if not isinstance(config, RunConfig):
            raise UserError(f"expected a RunConfig, found {type(config).__name__}")
        if not type(config.recipe).__module__.startswith("workbench.recipes."):
            raise UserError(f"recipe is the Config of a recipe, not {type(config.recipe).__name__}")
        return config


def to_dict(value: Any) -> Any:
    """Plain JSON values; a dataclass carries its place in the package as `type`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": _recorded(type(value)), **fields}
    if isinstance(value, tuple | list):
        return [to_dict(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a configuration")


def from_dict(value: Any, name: str = "") -> Any:
    """Inverse of `to_dict`; imports only configuration classes of this package.

    `name` is the dotted name of the value, for messages. Raises `UserError` for a value of another type than
    its field's, before the class sees it.
    """
    if isinstance(value, list):
        return tuple(from_dict(v, name) for v in value)
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    cls = _class(fields.pop("type"))
    hints = _hints(cls)
    parts = {f.name: f.metadata["before"] for f in dataclasses.fields(cls) if "before" in f.metadata}
    parts |= {k: from_dict(v, f"{name}.{k}" if name else k) for k, v in fields.items()}
    for k, part in parts.items():
        if k in hints and not _fits(part, hints[k]):
            shown = type(part).__name__ if dataclasses.is_dataclass(part) else repr(part)[:80]
            raise UserError(f"{f'{name}.{k}' if name else k} is {_words(hints[k])}, not {shown}")
    return cls(**parts)


def _recorded(cls: type) -> str:
    """The name of a configuration class in files and keys."""
    now = f"{cls.__module__.removeprefix('workbench.')}.{cls.__qualname__}"
    return next((recorded for recorded, place in MOVED.items() if place == now), now)


def _class(path: str) -> type:
    """The configuration class of this package that a file names, e.g. `models.text.TextConfig`."""
    module, _, name = MOVED.get(path, path).rpartition(".")
    if not f"{module}.".startswith(SERIALISABLE):
        raise UserError(f"a configuration cannot name {module}.{name}")
    try:
        cls = getattr(importlib.import_module(f"workbench.{module}"), name)
    except ModuleNotFoundError as error:
        raise UserError(f"there is no workbench.{module} in this version") from error
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise UserError(f"{module}.{name} is not a configuration class")
    return cls


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; a float is finite, and a whole number is one too."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        expected = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(expected) and all(map(_fits, value, expected))
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple:
        return f"a list of {_words(inner[0])}" if inner[-1] is ... else " and ".join(map(_words, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_words, inner))
    known = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return known.get(hint) or ("null" if hint is type(None) else f"a {hint.__name__}")


def flatten(config: Any) -> dict[str, Any]:
    """Dotted names to scalars, e.g. `recipe.video_masking.ratio`: for params, tables and diffs."""
    return dict(_flat("", to_dict(config)))


def diff(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two configurations: dotted name to (value in a, value in b)."""
    left, right = flatten(a), flatten(b)
    names = [*left, *(n for n in right if n not in left)]
    return {n: (left.get(n), right.get(n)) for n in names if left.get(n) != right.get(n)}


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
        out: dict[str, Any] = {"type": _recorded(type(value))}
        for f in dataclasses.fields(value):
            inner = getattr(value, f.name)
            if "before" in f.metadata and inner == f.metadata["before"]:
                continue
            out[f.name] = float(inner) if f.type == "float" else _canonical(inner)
        return out
    if isinstance(value, tuple | list):
        return [_canonical(v) for v in value]
    return value


def at_least(name: str, value: int, least: int) -> None:
    """Refuses anything but a whole number from `least` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} is a whole number of at least {least}, not {value!r}")


def positive(name: str, value: float) -> None:
    """Refuses anything but a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{name} is a positive number, not {value!r}")


def not_negative(name: str, value: float) -> None:
    """Refuses anything but a finite number from zero on."""
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{name} is a number of at least 0, not {value!r}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuses what is not in a list of names."""
    if value not in allowed:
        raise UserError(f"{name} is {' or '.join(map(repr, allowed))}, not {value!r}")


def divides(name: str, value: int, whole_name: str, whole: int) -> None:
    """Refuses what leaves a rest, as heads that do not divide the width."""
    if whole % value:
        raise UserError(f"{name} divides {whole_name}, {whole}; {value} does not")
