"""The plan of a study: every cell, crossed with the seeds; of a search, what it may propose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench import data as datasets
from workbench import naming, tasks
from workbench.config import DataConfig, RunConfig
from workbench.errors import UserError
from workbench.study.spec import Choice, Study, alone, registered, under
from workbench.study.stages import fitted, with_budget
from workbench.study.trials import Drawing, Levels, walk

SMOKE_TRIALS = 8
"""Trials of a search with `--smoke`."""
SAMPLED_CELLS = 64
"""Random cells that a search draws to find out which axes there are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line changes in every cell; all of it becomes part of the cells' keys."""

    seeds: tuple[int, ...] = ()
    """Empty stands for the study's own."""
    budget: str = ""
    """`2x` multiplies each stage's budget; `0.5pflops`, `300steps`, `60seconds`, `3epochs` are that of the
    whole run, see `workbench.study.stages.with_budget`."""
    data: str = ""
    """A data set's name, or `NAME:PATH` for one that takes a path."""
    more_data: tuple[str, ...] = ()
    """Places of further data sets that stages train on or runs are evaluated on, `NAME:PATH` each."""
    recipe: str = ""
    """One of the study's recipes; empty stands for its first."""
    trials: int = 0
    """Of a search; 0 stands for the study's own."""
    single: bool = False
    """Search for the metric alone where the study asks for a Pareto front."""
    quick: bool = False
    """The first of the study's seeds alone."""
    smoke: bool = False

    def source(self, name: str) -> str | None:
        """Path of a data set, where one is given. A machine fact: it never enters a configuration."""
        given = dict(one.partition(":")[::2] for one in (*self.more_data, self.data))
        return given.get(name) or None

    def __str__(self) -> str:
        data = " ".join((self.data, *self.more_data))
        parts = [self.smoke and "smoke", self.budget and f"budget {self.budget}", data.strip()]
        return ", ".join(p for p in parts if p) or "as the study asks"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration, without a seed."""

    key: str
    label: str
    """As people say it, see `workbench.naming`."""
    axes: dict[str, Choice]
    config: RunConfig
    twins: tuple[dict[str, Choice], ...] = ()
    """Other choices that lead to the same configuration."""
    notes: tuple[str, ...] = ()
    """What was decided for the user, see `workbench.study.stages.fitted`."""


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
class Space:
    """What a search may propose, as far as random cells show it."""

    axes: dict[str, Levels]
    examples: tuple[Cell, ...]
    """Cells that were drawn at random, at least one."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study asks for under the given options."""

    study: Study
    options: Options
    root: Path
    """Where prepared data lie. A machine fact, as the source is."""
    cells: tuple[Cell, ...]
    """Of a search: those that were proposed so far, which only the ledger knows."""
    seeds: tuple[int, ...]
    baselines: tuple[Cell, ...]
    """One for each choice of the study's `within`; none where the study has no baseline."""
    contrasts: tuple[dict[str, Any], ...] = ()
    """The registered ones in their order, see `workbench.study.spec.registered`."""
    space: Space | None = None
    """Only of a search."""
    trials: int = 0
    """Only of a search: how many there are to be."""

    @property
    def baseline(self) -> Cell | None:
        """The first of the baselines."""
        return next(iter(self.baselines), None)

    @property
    def runs(self) -> list[Run]:
        """Seed outermost: a first readable answer exists after one seed of each cell."""
        return [Run(cell=cell, seed=seed) for seed in self.seeds for cell in self.cells]

    @property
    def axes(self) -> list[str]:
        """Names of the axes in the order in which they were asked for."""
        known = self.space.axes if self.space is not None else {}
        return list(dict.fromkeys([*known, *(name for cell in self.cells for name in cell.axes)]))

    @property
    def expected(self) -> int:
        """How many runs there are to be."""
        return len(self.runs) if self.space is None else self.trials

    @property
    def samples(self) -> tuple[Cell, ...]:
        """Cells by which one sees what data and recipes will be needed."""
        return self.cells if self.space is None else (*self.space.examples, *self.cells)

    @property
    def ledger_name(self) -> str:
        """Name of the Optuna study. A search under other options is another search, with its own history."""
        if self.space is None:
            return self.study.name
        data = self.space.examples[0].config.data
        parts = ["smoke" if self.options.smoke else "", self.options.budget.strip()]
        if self.options.data:
            parts.append(f"{data.name} {data.digest[:12]}")
        if self.options.more_data:
            others = self.space.examples[0].config.all_data[1:]
            parts += [f"{other.name} {other.digest[:12]}" for other in others]
        changed = ", ".join(part for part in parts if part)
        return f"{self.study.name} ({changed})" if changed else self.study.name

    def description(self) -> dict[str, Any]:
        """What was asked, as JSON: `study.json`, from which reports are made without the study file."""
        study = self.study
        return {
            "study": study.name,
            "question": study.question,
            "metric": study.metric,
            "direction": study.direction,
            "axes": self.axes,
            **({"says": dict(study.says)} if study.says else {}),
            "baseline": self.baseline.key if self.baseline is not None else None,
            "within": list(study.within),
            "seeds": list(self.seeds),
            "reads": list(study.reads),
            "mode": study.mode,
            "cost": study.cost,
            "sampler": study.sampler,
            "trials": self.trials,
            "claims": [asdict(claim) for claim in study.claims],
            "contrasts": list(self.contrasts),
            **({} if self.options.smoke else study.luck),  # nothing is claimed of a smoke test
            "smoke": self.options.smoke,
            "plan": str(self.options),
            "cells": [{"key": c.key, "cell": c.label, "axes": c.axes} for c in self.cells],
        }


class Builder:
    """Turns what `configure` returns into cells: options applied, data described, once for each data set."""

    def __init__(self, study: Study, options: Options, root: Path) -> None:
        self.study = study
        self.options = options
        self.root = root
        self._described: dict[DataConfig, datasets.Described] = {}

    def cell(self, axes: dict[str, Choice], config: RunConfig) -> Cell:
        """A batch larger than the training split is made as large as the split."""
        config, notes = fitted(_apply(config, self.study, self.options), self._describe)
        known = {data: self._describe(data) for data in config.all_data}
        self._check_metric(config)
        self._check_tasks(config, known)
        # A stage on fewer clips makes its own batches smaller; it does not shrink those of the others.
        clips = max(known[data].train_clips for data in config.training_data)
        config = replace(
            config,
            data=known[config.data].data,
            stages=tuple(
                replace(stage, data=known[stage.data].data if stage.data is not None else None)
                for stage in config.stages
            ),
            evaluate_on=tuple(known[data].data for data in config.evaluate_on),
            optim=replace(config.optim, batch_size=max(2, min(config.optim.batch_size, clips))),
            seed=0,
        )
        key = config.key()
        label = naming.cell(axes, self.study.says) or key
        return Cell(key=key, label=label, axes=axes, config=config, notes=notes)

    def _check_metric(self, config: RunConfig) -> None:
        """Refuses a run that would not measure what the study asks for."""
        other, _, name = self.study.metric.rpartition(":")
        task = tasks.task_of(name)
        if task not in config.tasks:
            raise UserError(
                f"study {self.study.name} asks for {name}, which the task {task} measures, but its runs have "
                f"tasks={config.tasks!r}"
            )
        known = [data.name for data in config.evaluate_on]
        if other and other not in known:
            raise UserError(
                f"study {self.study.name} asks for {self.study.metric}, but its runs are evaluated on "
                f"{', '.join(known) or 'no other data'}: evaluate_on names them"
            )

    def _check_tasks(self, config: RunConfig, known: Mapping[DataConfig, datasets.Described]) -> None:
        """Refuses a task that none of the data can be asked, and the study's metric on data that cannot."""
        evaluated = {data.name: known[data].known for data in (config.data, *config.evaluate_on)}
        other, _, name = self.study.metric.rpartition(":")
        where = other or config.data.name
        refusal = tasks.unknown(config.tasks, evaluated)
        refusal = refusal or tasks.unknown([tasks.task_of(name)], {where: evaluated[where]})
        if refusal:
            raise UserError(f"study {self.study.name}: {refusal}")

    def _describe(self, data: DataConfig) -> datasets.Described:
        if data not in self._described:
            self._described[data] = datasets.describe(data, self.options.source(data.name), root=self.root)
        return self._described[data]


def make_plan(study: Study, options: Options, root: Path) -> Plan:
    """Enumerates the cells; of a search, looks what it may propose. Prepares nothing; the digests
    of one's own files are kept in the data root, so that they are read once."""
    study = under(study, options.recipe)
    if options.single:
        study = alone(study)
    build = Builder(study, options, root)
    if study.mode == "search":
        return _search(study, options, build)
    if options.trials:
        raise UserError(f"study {study.name} runs every cell; --trials is for searches")
    if options.quick and options.seeds:
        raise UserError("--quick is one seed of each cell, and --seeds says which seeds: give one of them")
    cells: dict[str, Cell] = {}
    for axes, config in walk(study.configure, study.recipe):
        cell = build.cell(axes, config)
        if (known := cells.get(cell.key)) is not None:
            cell = replace(known, twins=(*known.twins, axes))
        cells[cell.key] = cell
    found = tuple(cells.values())
    naming.check_axes(study.says, [axis for cell in found for axis in cell.axes])
    return Plan(
        study=study,
        options=options,
        root=build.root,
        cells=found,
        seeds=options.seeds or (study.seeds[:1] if options.smoke or options.quick else study.seeds),
        baselines=_baselines(study, found),
        contrasts=registered(study.contrasts, {c.key: (c.axes, *c.twins) for c in found}),
    )


def _search(study: Study, options: Options, build: Builder) -> Plan:
    """A plan without cells: those are proposed one after another, each knowing how the others did."""
    if options.seeds or options.quick:
        raise UserError(
            "a search gives every trial seed 0; --seeds and --quick are for studies that run every cell"
        )
    rng = np.random.default_rng(0)
    axes: dict[str, Levels] = {}
    examples: dict[str, Cell] = {}
    for _ in range(SAMPLED_CELLS):
        trial = Drawing(rng, study.recipe, study.cost)
        cell = build.cell(trial.axes, trial.ask(study.configure))
        examples[cell.key] = cell
        axes |= trial.levels
    return Plan(
        study=study,
        options=options,
        root=build.root,
        cells=(),
        seeds=(0,),
        baselines=(),
        space=Space(axes=axes, examples=tuple(examples.values())),
        trials=options.trials or (min(study.trials, SMOKE_TRIALS) if options.smoke else study.trials),
    )


def _apply(config: RunConfig, study: Study, options: Options) -> RunConfig:
    if options.smoke:
        config = study.smoke(config)
    if options.budget:
        config = replace(config, stages=with_budget(config.stages, options.budget))
    if options.data:
        config = replace(config, data=replace(config.data, name=options.data.partition(":")[0], digest=""))
    return config


def _baselines(study: Study, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cell with the baseline's choices, for each choice of the axes `within`."""
    if not study.baseline:
        return ()
    wanted = dict(study.baseline)
    found: dict[tuple[Choice, ...], Cell | None] = {}
    for cell in cells:
        stratum = tuple(cell.axes.get(axis) for axis in study.within)
        others = [
            {a: v for a, v in axes.items() if a not in study.within} for axes in (cell.axes, *cell.twins)
        ]
        if found.setdefault(stratum, None) is None and wanted in others:
            found[stratum] = cell
    bases = tuple(cell for cell in found.values() if cell is not None)
    if len(bases) < len(found):
        where = f" for every choice of {', '.join(study.within)}" if study.within else ""
        raise UserError(f"the baseline {wanted} of study {study.name!r} is none of its cells{where}")
    return bases
