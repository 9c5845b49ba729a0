"""The functions for notebooks, `workbench.runs` and the others; see `workbench.notebook`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench import stats, tables
from workbench.answer.joint.studies import together
from workbench.answer.results import Answer
from workbench.answer.results import answer as answer_of_study
from workbench.answer.study_record import load, load_asked
from workbench.errors import UserError
from workbench.notebook.results import Cell, CellComparison, StudyAnswer
from workbench.report import pictures
from workbench.report.pictures import Picture
from workbench.tracking.curves import load_curves
from workbench.tracking.runs import load_runs

if TYPE_CHECKING:
    import plotly.graph_objects as go


def runs(study: str | None = None, *, results: Path | str | None = None) -> pl.DataFrame:
    """A table with one row for each run of a study, or of all studies.

    Columns are name, cell, seed and state of the run, then its choices (`axis.`), its configuration
    (`config.`), its scores and costs (`metric.`) and its environment (`env.`).

    Raises `UserError` for a study without runs.
    """
    folder = _results(results)
    found = load_runs(folder, study)
    if found.is_empty():
        if study is not None:
            load(folder, study)  # says which command makes runs, and which studies have some
        raise UserError(f"there are no runs{f' of study {study!r}' if study else ''} in {folder}")
    return found


def answer(*studies: str, plan: str = "", results: Path | str | None = None) -> StudyAnswer:
    """The answer of a study, or of several in one table (`workbench.answer.joint`).

    plan: name of another plan of the study, such as `budget 2x`; only for a single study. Raises `UserError`
    if no run is complete.
    """
    return StudyAnswer(answer=_answered(studies, plan, results)[0])


def compare(a: Cell, b: Cell) -> CellComparison:
    """The difference of cell `a` minus cell `b` of one answer, which may be that of several studies.

    Raises `UserError` for cells of two answers, for the same cell twice, and for cells that cannot be paired.
    """
    for one in (a, b):
        if not isinstance(one, Cell):
            raise UserError(
                f"compare needs two cells of an answer, such as answer(...).best, not {type(one).__name__}"
            )
    found = a.said.answer
    asked, evidence = found.asked, found.evidence
    if b.said.answer.asked != asked:
        raise UserError(
            "compare takes two cells of one answer; answer(STUDY, STUDY) has the cells of both studies"
        )
    if a.key == b.key:
        raise UserError(f"compare takes two different cells, not {asked.labels[a.key]} twice")
    for one in (a, b):
        if one.key not in evidence.values:
            raise UserError(f"{asked.labels[one.key]} has no complete run yet")
        if one.key in evidence.refused:
            raise UserError(f"{asked.labels[one.key]} cannot be compared: {evidence.refused[one.key]}")
    labels = asked.labels
    [comparison] = stats.compare_family(
        {labels[one.key]: evidence.values[one.key] for one in (a, b)},
        labels[b.key],
        groups=evidence.groups,
        unit=asked.measure.in_units,
        higher_is_better=asked.maximize,
        reach=asked.measure.reach,
    ).values()
    both = {key: labels[key] for key in (a.key, b.key)}
    settings = tables.differences(evidence.runs.filter(pl.col("key").is_in(list(both))), both)
    return CellComparison(a=a, b=b, comparison=comparison.untested(), settings=settings)


def figure(
    *studies: str, kind: str = "sweep", plan: str = "", results: Path | str | None = None
) -> go.Figure:
    """An interactive plotly figure of a study, as drawn by the report and the dashboard.

    kind: one of `KINDS`. plan: as in `answer`. Raises `UserError` for an unknown kind, or if the study lacks
    the axes or runs for it.
    """
    if kind not in KINDS:
        raise UserError(f"there is no figure {kind!r}; there are {', '.join(KINDS)}")
    found, folder = _answered(studies, plan, results)
    if (picture := KINDS[kind](found, folder)) is None:
        raise UserError(f"study {found.asked.name} lacks the axes or the runs for the figure {kind!r}")
    return picture.moving


def _curves(found: Answer, results: Path) -> Picture | None:
    if found.asked.studies:
        return None
    keys = pictures.worth_showing(found)
    names = found.evidence.done.filter(pl.col("key").is_in(keys))["run"]
    learning = load_curves(results, found.asked.name, names, [f"val/{found.asked.metric}"])
    return pictures.curves(found, learning, keys)


KINDS: Mapping[str, Callable[[Answer, Path], Picture | None]] = {
    "sweep": lambda found, _: pictures.sweep(found),
    "grid": lambda found, _: pictures.grid(found),
    "cost": lambda found, _: pictures.cost(found, pictures.usual_costs(found)),
    "curves": _curves,
    "effects": lambda found, _: pictures.differences(found),
    "factors": lambda found, _: pictures.factors(found),
    "interactions": lambda found, _: pictures.factors(found, interactions=True),
    "parallel": lambda found, _: pictures.parallel(found, found.asked.reads),
}
"""Kinds of figures: the metric over one axis, over two axes, against cost, during training, against the
baseline, the average effect of each choice, interactions of choices, every cell as a line."""


def _answered(studies: tuple[str, ...], plan: str, results: Path | str | None) -> tuple[Answer, Path]:
    """The answer of one study or of several, and the folder that it was read from."""
    folder = _results(results)
    if not studies or not all(isinstance(study, str) for study in studies):
        raise UserError("name a study, such as answer('mask_ratio'), or several")
    if len(studies) > 1:
        if plan:
            raise UserError("plan is for one study; an answer of several takes each study as it stands")
        return together(studies, folder), folder
    asked, _ = load_asked(folder, studies[0], plan)
    found = answer_of_study(asked, folder)
    if found.cells.is_empty():
        raise UserError(
            f"no run of study {asked.name!r} is complete yet; `{asked.command}` runs what is missing"
        )
    return found, folder


def _results(given: Path | str | None) -> Path:
    folder = Path(given if given is not None else os.environ.get("WORKBENCH_RESULTS", "results"))
    if not folder.is_dir():
        raise UserError(
            f"there is no folder of results {str(folder)!r}; results=... or WORKBENCH_RESULTS names another"
        )
    return folder
