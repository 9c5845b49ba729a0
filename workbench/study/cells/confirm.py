"""Confirmation of a search: its best trials and the median one as an ablation with new seeds.

The result of a search is not a claim: the best of many trials with one seed each is in part the luckiest. So
the best trials by val run again with seeds that were not used for their choice, with the median trial by val
as the baseline, and are then compared by test like the cells of any ablation. The chosen cells do not change
if the search continues.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from workbench.errors import UserError
from workbench.study.cells.build import Builder, Cell
from workbench.study.cells.options import Options
from workbench.study.plan import Plan, make_plan
from workbench.study.spec import Choice, Study
from workbench.study.trials import Mismatch, Replay
from workbench.tracking.files import kept_file
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import load_runs

SEEDS = (1, 2, 3)
"""Default seeds of a confirmation; seed 0 is that of the search."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A complete trial of the search."""

    cell: Cell
    value: float
    """The metric on val."""
    cost: float
    """The cost that the search minimises; 0 if it has none."""


def planned(study: Study, options: Options, root: Path, results: Path) -> Plan:
    """The plan of a study, or with `options.confirm` that of the confirmation of a search.

    Raises `UserError` for a study that is no search, for too few complete trials, and for seed 0.
    """
    if not options.confirm:
        return make_plan(study, options, root)
    if options.confirm < 0:
        raise UserError(
            f"--confirm must be the number of best trials to run with new seeds, not {options.confirm}"
        )
    if options.trials:
        raise UserError("--trials is for the search itself; --confirm takes the trials that are there")
    seeds = options.seeds or SEEDS
    if 0 in seeds:
        raise UserError(
            "the search ran with seed 0; --confirm needs new seeds, such as --seeds 3 or --seeds 1,2,3"
        )
    search = make_plan(study, replace(options, seeds=(), confirm=0), root)
    if search.space is None:
        raise UserError(
            f"study {search.study.name} runs every cell with its seeds; --confirm is for searches"
        )
    name = f"{search.study.name}-confirm"
    options = replace(search.options, seeds=options.seeds, confirm=options.confirm)
    kept = _kept(results / "runs" / name, options, search)
    cells, base, chosen = kept or _chosen(search, options.confirm, results)
    fresh = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
    question = f"{search.study.question} Here: the best {options.confirm} of its trials, with fresh seeds."
    ablation = replace(
        search.study, name=name, question=question, mode="ablation", cost="", sampler="tpe", seeds=seeds
    )
    return replace(
        search,
        study=ablation,
        options=options,
        cells=cells,
        seeds=seeds,
        baselines=(base,),
        space=None,
        trials=0,
        chosen=chosen,
        note=f"{chosen} Scores on test are of {fresh}, which had no say in that choice.",
    )


def _chosen(search: Plan, count: int, results: Path) -> tuple[tuple[Cell, ...], Cell, str]:
    """The best cells with the baseline at the end, the baseline, and how they were chosen."""
    study = search.study
    trials = _trials(search, results)
    best = _front(trials, study.direction) if study.cost else trials
    if len(best) < count or len(trials) <= count:
        front = f", {len(best)} of them on the Pareto front" if study.cost else ""
        raise UserError(
            f"--confirm {count} takes {count} trials and one more as the baseline, but {len(trials)} of "
            f"search {study.name} {'is' if len(trials) == 1 else 'are'} complete{front}"
        )
    top = best[:count]
    rest = [trial for trial in trials if trial not in top]
    middle = min(rest, key=lambda trial: abs(trials.index(trial) - len(trials) // 2))
    among = (
        f"the Pareto front ({len(best)} of {len(trials)} trials)" if study.cost else f"{len(trials)} trials"
    )
    chosen = (
        f"The cells are the best {count} by val/{study.metric} of {among} of the search {study.name}, which "
        f"ran with seed 0, and as the baseline the trial in the middle of all by val, {middle.cell.label}."
    )
    return tuple(trial.cell for trial in (*top, middle)), middle.cell, chosen


def _trials(search: Plan, results: Path) -> list[Trial]:
    """Complete trials of the search as it stands under these options, the best by val first."""
    study, build = search.study, Builder(search.study, search.options, search.root)
    table = load_runs(results, study.name)
    value, cost = f"metric.val/{study.metric}", f"metric.{study.cost}"
    if table.is_empty() or value not in table.columns or (study.cost and cost not in table.columns):
        return []
    numbers = [pl.col(value).cast(pl.Float64), pl.col(cost).cast(pl.Float64) if study.cost else pl.lit(0.0)]
    done = table.filter((pl.col("state") == "complete") & (pl.col("seed") == 0)).select("key", *numbers)
    found = []
    for key, reached, spent in done.drop_nulls().iter_rows():
        axes = RunDir.of(results, study.name, key, 0).identity("key", "axes")["axes"]
        if (cell := _replayed(axes, key, study, build)) is not None:
            found.append(Trial(cell=cell, value=reached, cost=spent))
    sign = -1 if study.direction == "maximize" else 1
    return sorted(found, key=lambda trial: (sign * trial.value, trial.cell.key))


def _front(trials: Sequence[Trial], direction: str) -> list[Trial]:
    """The trials on the Pareto front, the best by val first."""
    sign = 1 if direction == "maximize" else -1
    return [
        one
        for one in trials
        if not any(
            sign * other.value >= sign * one.value
            and other.cost <= one.cost
            and (other.value, other.cost) != (one.value, one.cost)
            for other in trials
        )
    ]


def _kept(folder: Path, options: Options, search: Plan) -> tuple[tuple[Cell, ...], Cell, str] | None:
    """What was chosen when this was first run; None where it was not, or the study file has changed since."""
    try:
        before: Mapping[str, Any] = json.loads(kept_file(folder, str(options)).read_text(encoding="utf-8"))
        listed = [(str(cell["key"]), dict(cell["axes"])) for cell in before["cells"]]
        base, chosen = str(before["baseline"]), str(before["chosen"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{kept_file(folder, str(options))} is damaged, which says what --confirm chose: {error!r}"
        ) from error
    build = Builder(search.study, search.options, search.root)
    cells = [_replayed(axes, key, search.study, build) for key, axes in listed]
    there = tuple(cell for cell in cells if cell is not None)
    baseline = next((cell for cell in there if cell.key == base), None)
    return (there, baseline, chosen) if len(there) == len(listed) and baseline is not None else None


def _replayed(axes: Mapping[str, Choice], key: str, study: Study, build: Builder) -> Cell | None:
    """The cell of a trial; None where the study file or the options would make another one of it."""
    try:
        config = Replay(axes, study.recipe, study.cost).ask(study.configure)
    except Mismatch:
        return None
    cell = build.cell(dict(axes), config)
    return cell if cell.key == key else None
