"""The plan of a study: every cell, crossed with the seeds, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from workbench import data as datasets
from workbench.config import Budget, DataConfig, RunConfig
from workbench.errors import UserError
from workbench.study.spec import Choice, Study, Trial

_C = TypeVar("_C", bound=Choice)
_BUDGET = re.compile(r"(?P<amount>\d*\.?\d+(e[+-]?\d+)?) ?(?P<unit>x|pflops|steps|epochs|seconds)?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line changes in every cell; all of it becomes part of the cells' keys."""

    seeds: tuple[int, ...] = ()
    """Empty stands for the study's own."""
    budget: str = ""
    """`2x` multiplies each stage's budget; `0.5pflops`, `300steps`, `60seconds`, `3epochs` replace it."""
    data: str = ""
    """A data set's name or `folder:PATH`."""
    smoke: bool = False

    @property
    def source(self) -> str | None:
        """Path of the user's own data. A machine fact: it never enters a configuration."""
        name, _, path = self.data.partition(":")
        return path if name == "folder" else None

    def __str__(self) -> str:
        parts = [self.smoke and "smoke", self.budget and f"budget {self.budget}", self.data]
        return ", ".join(p for p in parts if p) or "as the study asks"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration, without a seed."""

    key: str
    axes: dict[str, Choice]
    config: RunConfig
    twins: tuple[dict[str, Choice], ...] = ()
    """Other choices that lead to the same configuration."""

    @property
    def label(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.axes.items()) or self.key


@dataclass(frozen=True, kw_only=True)
class Run:
    """One cell with one seed."""

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """Name of the run directory."""
        return f"{self.cell.key}-s{self.seed}"

    @property
    def config(self) -> RunConfig:
        return replace(self.cell.config, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study asks for under the given options."""

    study: Study
    options: Options
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    baseline: Cell | None

    @property
    def runs(self) -> list[Run]:
        """Seed outermost: a first readable answer exists after one seed of each cell."""
        return [Run(cell=cell, seed=seed) for seed in self.seeds for cell in self.cells]

    @property
    def axes(self) -> list[str]:
        """Names of the axes in the order in which they were asked for."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.axes))

    def description(self) -> dict[str, Any]:
        """What was asked, as JSON: `study.json`, from which reports are made without the study file."""
        study = self.study
        return {
            "study": study.name,
            "question": study.question,
            "metric": study.metric,
            "direction": study.direction,
            "axes": self.axes,
            "baseline": self.baseline.key if self.baseline is not None else None,
            "seeds": list(self.seeds),
            "reads": list(study.reads),
            "claims": [asdict(claim) for claim in study.claims],
            "smoke": self.options.smoke,
            "plan": str(self.options),
            "cells": [{"key": c.key, "cell": c.label, "axes": c.axes} for c in self.cells],
        }


def make_plan(study: Study, options: Options, root: Path) -> Plan:
    """Enumerates the cells. Describes the data (for its digest) but prepares and writes nothing.

    A batch larger than the training split is made as large as the split.
    """
    described: dict[DataConfig, datasets.Described] = {}
    cells: dict[str, Cell] = {}
    for axes, config in walk(study.configure):
        config = _apply(config, study, options)
        if config.data not in described:
            described[config.data] = datasets.describe(config.data, options.source)
        data, clips = described[config.data]
        batch = max(2, min(config.optim.batch_size, clips))
        config = replace(config, data=data, optim=replace(config.optim, batch_size=batch), seed=0)
        cell = Cell(key=config.key(), axes=axes, config=config)
        if (known := cells.get(cell.key)) is not None:
            cell = replace(known, twins=(*known.twins, axes))
        cells[cell.key] = cell
    found = tuple(cells.values())
    return Plan(
        study=study,
        options=options,
        cells=found,
        seeds=options.seeds or study.seeds,
        baseline=_baseline(study, found),
    )


def walk(configure: Callable[[Trial], RunConfig]) -> Iterator[tuple[dict[str, Choice], RunConfig]]:
    """Calls `configure` once for each combination of choices, depth first, the last axis fastest.

    Conditional axes come out right, since the next combination follows from what was really asked.
    """
    start: list[int] = []
    while True:
        trial = _Enumeration(start)
        try:
            config = trial.ask(configure)
        except UserError as error:
            chosen = " ".join(f"{k}={v}" for k, v in trial.axes.items())
            raise UserError(f"cell {chosen or '(no axes)'}: {error}") from error
        yield trial.axes, config
        taken = list(trial.taken)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        start = [index for index, _ in taken]
        start[-1] += 1


class _Enumeration:
    """Stands in for an Optuna trial: takes the given choices, then the first of each further axis."""

    def __init__(self, start: Sequence[int]) -> None:
        self.start = start
        self.taken: list[tuple[int, int]] = []
        self.axes: dict[str, Choice] = {}

    def ask(self, configure: Callable[[Trial], RunConfig]) -> RunConfig:
        config = configure(self)
        if not isinstance(config, RunConfig):
            raise UserError(f"configure should return a RunConfig, not {type(config).__name__}")
        return config

    def suggest_categorical(self, name: str, choices: Sequence[_C]) -> _C:
        if name in self.axes:
            raise UserError(f"axis {name!r} is asked for twice")
        if not choices or not all(c is None or isinstance(c, bool | int | float | str) for c in choices):
            raise UserError(f"the choices of axis {name!r} are numbers, words, True, False or None")
        position = len(self.taken)
        index = self.start[position] if position < len(self.start) else 0
        self.taken.append((index, len(choices)))
        self.axes[name] = choices[index]
        return choices[index]


def _apply(config: RunConfig, study: Study, options: Options) -> RunConfig:
    if options.smoke:
        config = study.smoke(config)
    if options.budget:
        stages = tuple(
            replace(stage, budget=parse_budget(options.budget, stage.budget)) for stage in config.stages
        )
        config = replace(config, stages=stages)
    if options.data:
        name = options.data.partition(":")[0]
        config = replace(config, data=replace(config.data, name=name, digest=""))
    if config.data.name == "folder" and not options.source:
        raise UserError("own videos need a place: --data folder:PATH")
    return config


def parse_budget(text: str, given: Budget) -> Budget:
    """The stage budget that `--budget` asks for, `given` being the study's own."""
    match = _BUDGET.fullmatch(text.strip())
    if match is None or float(match["amount"]) <= 0:
        raise UserError(
            f"--budget is a factor such as 2x, or an amount per stage such as 0.5pflops, 300steps, "
            f"3epochs or 60seconds, not {text!r}"
        )
    amount = float(match["amount"])
    unit = match["unit"] or "pflops"
    if unit == "x":
        return replace(given, amount=given.amount * amount)
    return Budget(unit=cast(Any, unit), amount=amount)  # Budget itself checks the unit


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` stands for the seeds 0, 1 and 2; `0,4,7` for exactly these."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds is how many (3) or which (0,1,2), not {text!r}")
    numbers = [int(part) for part in parts]
    if len(numbers) == 1 and "," not in text:
        numbers = list(range(numbers[0]))
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"--seeds needs at least one seed, none of them twice, not {text!r}")
    return tuple(numbers)


def _baseline(study: Study, cells: Sequence[Cell]) -> Cell | None:
    if not study.baseline:
        return None
    wanted = dict(study.baseline)
    for cell in cells:
        if wanted in (cell.axes, *cell.twins):
            return cell
    raise UserError(f"the baseline {wanted} of study {study.name!r} is none of its cells")
