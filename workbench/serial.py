"""The JSON form of a configuration: round trip, flat names, differences, and the basis of its key."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from workbench import extensions
from workbench.errors import UserError

SERIALISABLE = ("config.", "masking.", "models.", "recipe.", "recipes.")
"""Packages whose dataclasses may be named in a configuration file."""
MOVED: dict[str, str] = {}
"""Recorded name of a class -> its present path. A class that moves keeps its name in files and keys."""


def to_dict(value: Any) -> Any:
    """The value as plain JSON; a dataclass has its path in the package as `type`."""
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
    cls = class_of(fields.pop("type"))
    hints = hints_of(cls)
    parts = {f.name: f.metadata["before"] for f in dataclasses.fields(cls) if "before" in f.metadata}
    parts |= {k: from_dict(v, f"{name}.{k}" if name else k) for k, v in fields.items()}
    for k, part in parts.items():
        if k in hints and not _fits(part, hints[k]):
            shown = type(part).__name__ if dataclasses.is_dataclass(part) else repr(part)[:80]
            raise UserError(f"{f'{name}.{k}' if name else k} must be {in_words(hints[k])}, not {shown}")
    return cls(**parts)


def _recorded(cls: type) -> str:
    """The name of a configuration class in files and keys."""
    now = f"{cls.__module__.removeprefix('workbench.')}.{cls.__qualname__}"
    return next((recorded for recorded, place in MOVED.items() if place == now), now)


def class_of(path: str) -> type:
    """The configuration class of this package that a file names, e.g. `models.text.TextConfig`."""
    module, _, name = MOVED.get(path, path).rpartition(".")
    if not f"{module}.".startswith(SERIALISABLE):
        raise UserError(f"a configuration cannot name {module}.{name}")
    try:
        cls = getattr(extensions.module(f"workbench.{module}"), name)
    except ModuleNotFoundError as error:
        theirs = next((f", nor in ./{kind}" for kind, (of, _) in extensions.KINDS.items()
                       if f"workbench.{module}".rpartition(".")[0] == of), "")  # fmt: skip
        raise UserError(f"there is no workbench.{module} in this version{theirs}") from error
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise UserError(f"{module}.{name} is not a configuration class")
    return cls


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """The annotation of each field of a configuration class."""
    return get_type_hints(cls)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value fits an annotation; floats must be finite, and whole numbers count as floats."""
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


def in_words(hint: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple:
        kinds = [kind for kind in inner if kind is not ...]
        several = {float: "numbers", int: "whole numbers", str: "texts"}.get(kinds[0])
        if several and len(set(kinds)) == 1:
            return f"a list of {'' if inner[-1] is ... else f'{len(kinds)} '}{several}"
        each = " and ".join(map(in_words, kinds))
        return f"a list of parts, each {each}" if inner[-1] is ... else f"a list of {each}"
    if origin in (Union, UnionType):
        return " or ".join(map(in_words, inner))
    known = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return known.get(hint) or ("null" if hint is type(None) else f"a {hint.__name__}")


def flatten(config: Any) -> dict[str, Any]:
    """Dotted names to scalars, e.g. `recipe.video_masking.ratio`: for params, tables and diffs."""
    return dict(unfold("", to_dict(config)))


def diff(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """Differences of two configurations: dotted name -> (value in a, value in b)."""
    left, right = flatten(a), flatten(b)
    names = [*left, *(n for n in right if n not in left)]
    return {n: (left.get(n), right.get(n)) for n in names if left.get(n) != right.get(n)}


def unfold(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted names and scalars of the JSON form of a configuration."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from unfold(f"{prefix}.{name}" if prefix else name, inner)
    elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for i, inner in enumerate(value):
            yield from unfold(f"{prefix}.{i}", inner)
    else:
        yield prefix, value


def canonical(value: Any) -> Any:
    """`to_dict` with equivalent configurations made equal: no masking at ratio 0, and 1 equal to 1.0."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if getattr(value, "ratio", None) == 0:
            return None
        out: dict[str, Any] = {"type": _recorded(type(value))}
        for f in dataclasses.fields(value):
            inner = getattr(value, f.name)
            if "before" in f.metadata and inner == f.metadata["before"]:
                continue
            out[f.name] = float(inner) if f.type == "float" else canonical(inner)
        return out
    if isinstance(value, tuple | list):
        return [canonical(v) for v in value]
    return value
