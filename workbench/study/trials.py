"""Replacements of Optuna trials, from which `configure` gets one value for each axis."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from workbench import naming
from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.study.spec import Choice, Trial

Configure = Callable[[Trial], RunConfig]
_C = TypeVar("_C", bound=Choice)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A range of numbers, both ends included; `log`: uniform on a logarithmic scale."""

    low: float
    high: float
    log: bool
    step: int | None = None
    """Distance of whole numbers; None for a range of real numbers."""

    def __str__(self) -> str:
        notes = [] if self.step is None else ["whole numbers" if self.step == 1 else f"steps of {self.step}"]
        notes += ["log"] if self.log else []
        return f"{self.low:g} to {self.high:g}" + (f" ({', '.join(notes)})" if notes else "")

    def holds(self, value: object) -> bool:
        """Whether a value is in the range."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        whole = self.step is None or (isinstance(value, int) and (value - self.low) % self.step == 0)
        return whole and self.low <= value <= self.high


Levels = tuple[Choice, ...] | Range
"""The possible values of an axis."""


class Asking(ABC):
    """Checks and stores the requests of `configure`; subclasses define the source of values."""

    def __init__(self, recipe: str = "", cost: str = "") -> None:
        self.recipe = recipe
        self.cost = cost
        self.axes: dict[str, Choice] = {}
        self.levels: dict[str, Levels] = {}

    def ask(self, configure: Configure) -> RunConfig:
        """Calls `configure`; `UserError` names the cell that is wrong."""
        try:
            config = configure(self)
        except UserError as error:
            raise UserError(f"cell {naming.cell(self.axes, {}) or '(no axes)'}: {error}") from error
        if not isinstance(config, RunConfig):
            raise UserError(f"configure must return a RunConfig, not {type(config).__name__}")
        return config

    def suggest_categorical(self, name: str, choices: Sequence[_C]) -> _C:
        if not choices or not all(c is None or isinstance(c, bool | int | float | str) for c in choices):
            raise UserError(f"the choices of axis {name!r} must be numbers, words, True, False or None")
        self._remember(name, tuple(choices))
        value = self._choose(name, choices)
        self.axes[name] = value
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log)):
            raise UserError(
                f"axis {name!r} must go from a number to a higher one{', above zero' if log else ''}, not "
                f"{low} to {high}"
            )
        span = Range(low=float(low), high=float(high), log=log)
        self._remember(name, span)
        # More digits would change no result and make no readable label.
        value = min(max(float(f"{self._draw(name, span):.3g}"), low), high)
        self.axes[name] = value
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        numbers = all(isinstance(n, int) and not isinstance(n, bool) for n in (low, high, step))
        if (
            not numbers
            or not low < high
            or step < 1
            or (high - low) % step
            or (log and (low < 1 or step > 1))
        ):
            kind = "above zero in steps of 1" if log else "in steps that lead from one to the other"
            raise UserError(
                f"axis {name!r} must go from a whole number to a higher one, {kind}, not {low!r} to {high!r} "
                f"in steps of {step!r}"
            )
        span = Range(low=low, high=high, log=log, step=step)
        self._remember(name, span)
        value = int(self._draw(name, span))
        self.axes[name] = value
        return value

    def _remember(self, name: str, levels: Levels) -> None:
        if name in self.axes:
            raise UserError(f"axis {name!r} is asked for twice")
        self.levels[name] = levels

    @abstractmethod
    def _choose(self, name: str, choices: Sequence[_C]) -> _C: ...

    @abstractmethod
    def _draw(self, name: str, span: Range) -> float: ...


class Enumeration(Asking):
    """Uses the given choices, then the first one of each further axis."""

    def __init__(self, start: Sequence[int], recipe: str) -> None:
        super().__init__(recipe)
        self.start = start
        self.taken: list[tuple[int, int]] = []

    def _choose(self, name: str, choices: Sequence[_C]) -> _C:
        position = len(self.taken)
        index = self.start[position] if position < len(self.start) else 0
        self.taken.append((index, len(choices)))
        return choices[index]

    def _draw(self, name: str, span: Range) -> float:
        raise UserError(f"axis {name!r} is a range, which only a study with mode='search' can draw from")


class Drawing(Asking):
    """Samples every axis at random, to find the axes."""

    def __init__(self, rng: np.random.Generator, recipe: str, cost: str) -> None:
        super().__init__(recipe, cost)
        self.rng = rng

    def _choose(self, name: str, choices: Sequence[_C]) -> _C:
        return choices[int(self.rng.integers(len(choices)))]

    def _draw(self, name: str, span: Range) -> float:
        if span.step is not None and not span.log:
            return span.low + span.step * int(self.rng.integers(int(span.high - span.low) // span.step + 1))
        if span.log:
            drawn = math.exp(self.rng.uniform(math.log(span.low), math.log(span.high)))
            return round(drawn) if span.step else drawn
        return float(self.rng.uniform(span.low, span.high))


class Mismatch(Exception):
    """Recorded values do not fit what the study file asks for now."""


class Replay(Asking):
    """Returns recorded values. Raises `Mismatch` if they do not fit."""

    def __init__(self, given: Mapping[str, Choice], recipe: str, cost: str) -> None:
        super().__init__(recipe, cost)
        self.given = given

    def ask(self, configure: Configure) -> RunConfig:
        config = super().ask(configure)
        if self.axes != self.given:
            raise Mismatch
        return config

    def _choose(self, name: str, choices: Sequence[_C]) -> _C:
        for choice in choices:
            if name in self.given and choice == self.given[name]:
                return choice
        raise Mismatch

    def _draw(self, name: str, span: Range) -> float:
        value = self.given.get(name)
        if not isinstance(value, int | float) or not span.holds(value):
            raise Mismatch
        return value


def walk(configure: Configure, recipe: str = "") -> Iterator[tuple[dict[str, Choice], RunConfig]]:
    """Calls `configure` once for each combination of choices, depth first, the last axis fastest.

    Conditional axes come out right, since the next combination follows from what was really asked.
    """
    start: list[int] = []
    while True:
        trial = Enumeration(start, recipe)
        config = trial.ask(configure)
        yield trial.axes, config
        taken = list(trial.taken)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        start = [index for index, _ in taken]
        start[-1] += 1
