"""The plan of a study: every cell with every seed; for a search, the space of its proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench import naming, tasks
from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.metrics import full_name
from workbench.study.cells.build import Builder, Cell
from workbench.study.cells.contrasts import registered
from workbench.study.cells.options import Options
from workbench.study.spec import Choice, Study, single_objective, with_recipe
from workbench.study.trials import Drawing, Levels, walk

SMOKE_TRIALS = 8
"""Number of trials of a search with `--smoke`."""
SAMPLED_CELLS = 64
"""Number of random cells from which a search finds its axes."""


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
    """The space of a search's proposals, as far as random cells show it."""

    axes: dict[str, Levels]
    examples: tuple[Cell, ...]
    """Random cells, at least one."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All runs of a study under the given options."""

    study: Study
    options: Options
    root: Path
    """Root of prepared data, a property of the machine, as is the source."""
    cells: tuple[Cell, ...]
    """The cells; for a search those proposed so far, which only the ledger knows."""
    seeds: tuple[int, ...]
    baselines: tuple[Cell, ...]
    """One baseline for each choice of the study's `within`; empty if the study has no baseline."""
    contrasts: tuple[dict[str, Any], ...] = ()
    """The registered contrasts in order, see `registered`."""
    space: Space | None = None
    """The space of a search; else None."""
    trials: int = 0
    """Number of trials of a search; else 0."""
    chosen: str = ""
    """In the confirmation of a search: how its cells were chosen, see `workbench.study.cells.confirm`."""
    note: str = ""
    """The same with its seeds, for the answer."""
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """What `--set` changes in every cell: name -> (the study's own value, the value now)."""

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
        """Names of the axes in the order in which `configure` requests them."""
        known = self.space.axes if self.space is not None else {}
        return list(dict.fromkeys([*known, *(name for cell in self.cells for name in cell.axes)]))

    @property
    def expected(self) -> int:
        """Number of planned runs."""
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
        if self.options.more_data or self.options.pretrain_data or self.options.mix:
            others = self.space.examples[0].config.all_data[1:]
            parts += [f"{other.name} {other.digest[:12]}" for other in others]
            parts += [f"{share:g} of {one.partition(':')[0]}" for one, share in self.options.mix]
        parts += self.options.settings
        changed = ", ".join(part for part in parts if part)
        return f"{self.study.name} ({changed})" if changed else self.study.name

    def _on_other_data(self) -> list[str]:
        """The study's metric on the other data that cells are evaluated on, and after the stages of a run
        that trains on several."""
        found = []
        for config in (cell.config for cell in self.samples):
            if len(config.training_data) + len(config.evaluate_on) < 2:
                continue
            own = self.study.metric.rpartition(":")[2]
            for data in ("", *(data.name for data in config.evaluate_on)):
                after = [f"stage{stage}_{own}" for stage in range(len(config.stages) - 1)]
                found += [full_name("test", data, name) for name in (*after, own)]
        return [name for name in dict.fromkeys(found) if name != f"test/{self.study.metric}"]

    @property
    def title(self) -> str:
        """Title of the study's metric, with its unit."""
        return tasks.title(f"test/{self.study.metric}")

    def description(self) -> dict[str, Any]:
        """The plan as JSON for `study.json`, from which reports are made without the study file."""
        study = self.study
        return {
            "study": study.name,
            "question": study.question,
            "metric": study.metric,
            "title": self.title,
            "direction": study.direction,
            "axes": self.axes,
            **({"says": dict(study.says)} if study.says else {}),
            "baseline": self.baseline.key if self.baseline is not None else None,
            "within": list(study.within),
            **({"over": study.over} if study.over else {}),
            "seeds": list(self.seeds),
            "reads": list(dict.fromkeys([*study.reads, *self._on_other_data()])),
            "mode": study.mode,
            "cost": study.cost,
            "sampler": study.sampler,
            "trials": self.trials,
            "claims": [asdict(claim) for claim in study.claims],
            "contrasts": list(self.contrasts),
            **({} if self.options.smoke else study.fixed_rules),  # nothing is claimed of a smoke test
            **({"chosen": self.chosen, "note": self.note} if self.chosen else {}),
            "smoke": self.options.smoke,
            "plan": str(self.options),
            "cells": [{"key": c.key, "cell": c.label, "axes": c.axes} for c in self.cells],
        }


def make_plan(study: Study, options: Options, root: Path) -> Plan:
    """Enumerates the cells; of a search, looks what it may propose. Prepares nothing; the digests
    of one's own files are kept in the data root, so that they are read once."""
    study = with_recipe(study, options.recipe)
    if options.single:
        study = single_objective(study)
    build = Builder(study, options, root)
    if study.mode == "search":
        return _search(study, options, build)
    if options.trials:
        raise UserError(f"study {study.name} runs every cell; --trials is for searches")
    if options.quick and options.seeds:
        raise UserError("--quick is one seed of each cell, and --seeds says which seeds: give only one")
    cells: dict[str, Cell] = {}
    for axes, config in walk(study.configure, study.recipe):
        cell = build.cell(axes, config)
        if (known := cells.get(cell.key)) is not None:
            cell = replace(known, twins=(*known.twins, axes))
        cells[cell.key] = cell
    found = tuple(cells.values())
    naming.check_axes(study.says, [axis for cell in found for axis in cell.axes])
    changes = build.changes()
    return Plan(
        study=study,
        options=options.with_values({name: now for name, (_, now) in changes.items()}),
        root=build.root,
        changes=changes,
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
    changes = build.changes()
    return Plan(
        study=study,
        options=options.with_values({name: now for name, (_, now) in changes.items()}),
        root=build.root,
        changes=changes,
        cells=(),
        seeds=(0,),
        baselines=(),
        space=Space(axes=axes, examples=tuple(examples.values())),
        trials=options.trials or (min(study.trials, SMOKE_TRIALS) if options.smoke else study.trials),
    )


def _baselines(study: Study, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cell with the baseline's choices, for each choice of the axes `within`."""
    if not study.baseline:
        return ()
    wanted = dict(study.baseline)
    found: dict[tuple[Choice, ...], Cell | None] = {}
    for cell in cells:
        for axes in (cell.axes, *cell.twins):
            stratum = tuple(axes.get(axis) for axis in study.within)
            others = {axis: choice for axis, choice in axes.items() if axis not in study.within}
            if found.setdefault(stratum, None) is None and wanted == others:
                found[stratum] = cell
    bases = [cell for cell in found.values() if cell is not None]
    if len(bases) < len(found):
        where = f" for every choice of {', '.join(study.within)}" if study.within else ""
        raise UserError(f"the baseline {wanted} of study {study.name!r} is not one of its cells{where}")
    return tuple({cell.key: cell for cell in bases}.values())
