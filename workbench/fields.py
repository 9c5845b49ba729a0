"""Fields of configuration classes: those that came later, and what a value may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Literal

from workbench.errors import UserError


def added(*, before: Any, **options: Any) -> Any:
    """A field that a configuration class got after runs had been made with it.

    before: the value that stands for "as before". While a field has it, it is left out of keys, and a file
    without the field is read as if it said so. Options are those of `dataclasses.field`; without a default
    there, `before` is the default too.
    """
    if not {"default", "default_factory"} & set(options):
        options["default"] = before
    return field(metadata={"before": before}, **options)


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


def share(name: str, value: float, interval: Literal["[0, 1]", "[0, 1)", "(0, 1]", "(0, 1)"]) -> None:
    """Refuses anything but a share; at a round bracket, 0 or 1 itself is refused as well."""
    above = value >= 0 if interval[0] == "[" else value > 0
    below = value <= 1 if interval[-1] == "]" else value < 1
    if not (above and below):
        raise UserError(f"{name} is a share in {interval}, not {value!r}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuses what is not in a list of names."""
    if value not in allowed:
        raise UserError(f"{name} is {' or '.join(map(repr, allowed))}, not {value!r}")


def divides(name: str, value: int, whole_name: str, whole: int) -> None:
    """Refuses what leaves a rest, as heads that do not divide the width."""
    if whole % value:
        raise UserError(f"{name} divides {whole_name}, {whole}; {value} does not")
