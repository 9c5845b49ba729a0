"""Fields of configuration classes: fields that were added later, and checks of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Literal

from workbench.errors import UserError


def added(*, before: Any, **options: Any) -> Any:
    """A field that was added to a configuration class after runs had been made with the class.

    before: the value that means "as before". A field with this value is left out of keys, and a file without
    the field is read as if it had this value. Options are those of `dataclasses.field`; without a default
    there, `before` is the default too.
    """
    if not {"default", "default_factory"} & set(options):
        options["default"] = before
    return field(metadata={"before": before}, **options)


def at_least(name: str, value: int, least: int) -> None:
    """Raises `UserError` unless the value is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, not {value!r}")


def positive(name: str, value: float) -> None:
    """Raises `UserError` unless the value is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{name} must be a positive number, not {value!r}")


def not_negative(name: str, value: float) -> None:
    """Raises `UserError` unless the value is a finite number of at least zero."""
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{name} must be a number of at least 0, not {value!r}")


def share(name: str, value: float, interval: Literal["[0, 1]", "[0, 1)", "(0, 1]", "(0, 1)"]) -> None:
    """Raises `UserError` unless the value is in the interval; round brackets exclude 0 or 1."""
    above = value >= 0 if interval[0] == "[" else value > 0
    below = value <= 1 if interval[-1] == "]" else value < 1
    if not (above and below):
        raise UserError(f"{name} must be a number in {interval}, not {value!r}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raises `UserError` unless the value is one of the allowed names."""
    if value not in allowed:
        raise UserError(f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}")


def divides(name: str, value: int, whole_name: str, whole: int) -> None:
    """Raises `UserError` unless the value divides `whole`, as heads must divide the width."""
    if whole % value:
        raise UserError(f"{name} must divide {whole_name}={whole}, not be {value}")
