"""What the command line changes in every cell of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.data import named_place
from workbench.errors import UserError
from workbench.naming import PLAIN


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line changes in every cell; all of it becomes part of the cells' keys."""

    seeds: tuple[int, ...] = ()
    """Seeds; empty for the study's own."""
    budget: str = ""
    """`2x` multiplies each stage's budget; `0.5pflops`, `300steps`, `60seconds`, `3epochs` are that of the
    whole run, see `workbench.study.stages.with_budget`."""
    data: str = ""
    """A data set's name, or `NAME:PATH` for one that takes a path."""
    more_data: tuple[str, ...] = ()
    """Places of further data sets that stages train on or runs are evaluated on, `NAME:PATH` each."""
    pretrain_data: str = ""
    """Data of the first stage in studies with pre-training, `NAME` or `NAME:PATH`."""
    mix: tuple[tuple[str, float], ...] = ()
    """Data that alternate with `data`, `NAME` or `NAME:PATH` each, and their share of steps."""
    confirm: int = 0
    """Number of a search's best trials to run again with new seeds; 0 runs the search itself."""
    recipe: str = ""
    """One of the study's recipes; empty stands for its first."""
    trials: int = 0
    """Number of trials of a search; 0 for the study's own."""
    single: bool = False
    """Whether to search for the metric alone in a study with a Pareto front."""
    quick: bool = False
    """Whether to run only the first of the study's seeds."""
    smoke: bool = False
    settings: tuple[str, ...] = ()
    """Settings of every cell's configuration that are to have other values, `NAME=VALUE` each, see
    `workbench.study.cells.settings`."""

    def with_values(self, settings: Mapping[str, Any]) -> Options:
        """The same with settings in one spelling: ordered by name, `0.0003` for `3e-4`."""
        return replace(
            self, settings=tuple(f"{name}={_written(settings[name])}" for name in sorted(settings))
        )

    def source(self, name: str) -> str | None:
        """Path of a data set, where one is given. A machine fact: it never enters a configuration."""
        named = (*self.more_data, *(one for one, _ in self.mix), self.pretrain_data, self.data)
        return dict(map(named_place, named)).get(name)

    def __str__(self) -> str:
        data = " ".join((self.data, *self.more_data))
        changed = f"set {' '.join(self.settings)}" if self.settings else ""
        first = self.pretrain_data and f"pre-trained on {self.pretrain_data}"
        parts = [
            self.smoke and "smoke",
            self.confirm and f"best {self.confirm}",
            self.budget and f"budget {self.budget}",
            data.strip(),
            self.mix and "mixed with " + " and ".join(f"{one} at {share!r}" for one, share in self.mix),
            first,
            changed,
        ]
        return ", ".join(p for p in parts if p) or PLAIN


def parse_mix(pairs: Sequence[Sequence[str]]) -> tuple[tuple[str, float], ...]:
    """Data and shares as `--mix` takes them."""
    found = []
    for data, share in pairs:
        try:
            found.append((data, float(share)))
        except ValueError:
            raise UserError(
                f"--mix must give the share of the steps as a number such as 0.25, not {share!r}"
            ) from None
    return tuple(found)


MOST_SEEDS = 1000
"""More would be a seed that was taken for a number of seeds."""


def parse_seeds(text: str, first: int = 0) -> tuple[int, ...]:
    """`3` stands for the seeds 0, 1 and 2, or as many from another first one; `0,4,7` for exactly these, and
    `7,` for this one alone."""
    parts = [part.strip() for part in text.strip().removesuffix(",").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(
            f"--seeds must be a number of seeds (3) or a list of seeds (0,4,7; one seed: 7,), not {text!r}"
        )
    numbers = [int(part) for part in parts]
    if len(numbers) == 1 and "," not in text:
        if numbers[0] > MOST_SEEDS:
            raise UserError(
                f"--seeds must be a number of at most {MOST_SEEDS} seeds, not {numbers[0]}; that seed alone "
                f"is --seeds {numbers[0]},"
            )
        numbers = list(range(first, first + numbers[0]))
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"--seeds must name at least one seed, each once, not {text!r}")
    return tuple(numbers)


def _written(value: Any) -> str:
    """A setting's value as `--set` takes it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return ",".join(map(_written, value)) if isinstance(value, list | tuple) else str(value)
