"""Custom tables: some axes as rows, some as columns, some metrics in each field.

    python -m workbench.report STUDY --rows AXIS ... --columns AXIS ... --metrics NAME ... --format FORM

Axes that are not named are averaged over, seed by seed (`workbench.answer.grouped`). A field holds the mean
over seeds with its interval, or with the standard deviation over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench import naming, stats, tables, tasks
from workbench.answer.evidence import gather
from workbench.answer.grouped import grouped
from workbench.answer.study_record import StudyRecord, Value
from workbench.errors import UserError
from workbench.metrics import score
from workbench.report import fit, latex
from workbench.tasks import queries_of
from workbench.tracking.files import slug
from workbench.tracking.runs import load_runs

INTERVAL, DEVIATION = "interval", "mean ± std"
FORMS = (INTERVAL, DEVIATION)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout of a custom table."""

    rows: tuple[str, ...] = ()
    """Axes whose values make the rows; all that are not across where none is named."""
    columns: tuple[str, ...] = ()
    """Axes whose values make the columns."""
    metrics: tuple[str, ...] = ()
    """Full names or the ends of such, as `t2v_r1` and `clips_per_s`; empty for the study's own."""
    form: str = INTERVAL

    @property
    def name(self) -> str:
        """Name of its files, without a suffix."""
        rows = " ".join(self.rows) or "axes"
        parts = [rows, *(["by", *self.columns] if self.columns else []), *self.metrics]
        return f"table-{slug(' '.join(parts).replace('/', ' '))}{'-std' if self.form == DEVIATION else ''}"

    @property
    def arguments(self) -> list[str]:
        """Arguments of the command that makes it."""
        given = {"--rows": self.rows, "--columns": self.columns, "--metrics": self.metrics}
        found = [word for option, values in given.items() if values for word in (option, *values)]
        return found + ([] if self.form == INTERVAL else ["--format", self.form])


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the table: a metric of the runs in one row and column."""

    mean: float
    low: float | None
    high: float | None
    deviation: float | None
    """Standard deviation over seeds; None for one seed."""
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Pivot:
    """A table in a custom layout."""

    asked: StudyRecord
    layout: Layout
    averaged: tuple[str, ...]
    """Axes that are averaged over."""
    rows: tuple[tuple[Value, ...], ...]
    """Values of the axes down, a row each."""
    across: tuple[tuple[Value, ...], ...]
    """Values of the axes across; one that is empty where there are none."""
    metrics: tuple[str, ...]
    """Full names."""
    fields: Mapping[tuple[tuple[Value, ...], tuple[Value, ...], str], Field]
    """Values down, values across and metric -> what is known of it; others have no complete run."""

    def words(self) -> pl.DataFrame:
        """For people: the axes down, then a column for each value across and metric."""
        found = {self.down[axis]: column for axis, column in self._values().items()}
        for levels in self.across:
            for metric in self.metrics:
                fields = [self.fields.get((row, levels, metric)) for row in self.rows]
                found[self.head(levels, metric)] = [self._said(metric, field) for field in fields]
        return pl.DataFrame(found, schema=dict.fromkeys(found, pl.String()))

    @property
    def down(self) -> dict[str, str]:
        """Axis down -> its head."""
        return tables.distinct({axis: naming.axis(axis, self.asked.says) for axis in self.layout.rows})

    def _values(self) -> dict[str, list[str]]:
        """Axis down -> its value in each row, as words."""
        return {axis: tables.numbers(r[i] for r in self.rows) for i, axis in enumerate(self.layout.rows)}

    def exact(self) -> pl.DataFrame:
        """All digits: the mean, its interval, the standard deviation and the number of seeds."""
        found: dict[str, list[Any]] = {
            a: [row[i] for row in self.rows] for i, a in enumerate(self.layout.rows)
        }
        for levels in self.across:
            for metric in self.metrics:
                fields = [self.fields.get((row, levels, metric)) for row in self.rows]
                for part in ("mean", "low", "high", "deviation", "seeds"):
                    name = f"{self.head(levels, metric, full=True)} {part}"
                    found[name] = [None if field is None else getattr(field, part) for field in fields]
        return pl.DataFrame({name: pl.Series(name, values, strict=False) for name, values in found.items()})

    def head(self, levels: Sequence[Value], metric: str, *, full: bool = False) -> str:
        """Title of a column, such as `no text hidden, text-to-video R@1 (%)`; full: with exact names, such as
        `text_ratio=0 test/t2v_r1`."""
        pairs = list(zip(self.layout.columns, levels, strict=True))
        if full:
            return " ".join([*(f"{axis}={tables.number(value)}" for axis, value in pairs), metric])
        said = [naming.choice(axis, value, self.asked.says) for axis, value in pairs]
        return ", ".join([*said, tasks.head(metric)])

    @property
    def caption(self) -> str:
        """What the table shows, in sentences."""
        listed = ", ".join(
            f"{_print_head(metric)} is {tasks.metric(metric).label}" for metric in self.metrics
        )
        several = any(field.seeds > 1 for field in self.fields.values())
        over = "over seeds" if several else "over queries, of one seed"
        if self.layout.form == DEVIATION:
            shown = (
                "Means with the standard deviation over seeds" if several else "One seed, without a deviation"
            )
        else:
            shown = f"Means with 95 % intervals {over}, where they vary"
        over_axes = [naming.axis(axis, self.asked.says) for axis in self.averaged]
        averaged = f", averaged over {' and '.join(over_axes)}" if over_axes else ""
        counts = sorted({field.seeds for field in self.fields.values()})
        seeds = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1])))) if counts else "0"
        return (
            f"{self.asked.question} {shown}{averaged}; {seeds} seed{'' if seeds == '1' else 's'}. {listed}."
        )

    def printed(self, provenance: Sequence[str], *, text_width: float = fit.TEXT_WIDTH) -> str:
        """The table for a paper; provenance: lines for comments at the top; text_width: points it fits."""
        columns = [
            fit.Column(head=naming.spaced(axis), cells=tuple(column))
            for axis, column in self._values().items()
        ]
        above: list[fit.Above] = []
        words, alone = self.words(), len(self.metrics) == 1
        axes = ", ".join(map(naming.spaced, self.layout.columns))
        if axes and alone:  # the unit stands once, above all columns
            above = [fit.Above(f"{_print_head(self.metrics[0])} by {axes}", len(columns), len(self.across))]
        for levels in self.across:
            values = ", ".join(map(tables.number, levels))
            if axes and not alone:
                above.append(fit.Above(f"{axes} {values}", len(columns), len(self.metrics)))
            for metric in self.metrics:
                cells = tuple(words[self.head(levels, metric)])
                head = values if axes and alone else _print_head(metric)
                columns.append(fit.Column(head=head, cells=cells, right=True))
        name = f"{self.asked.report}-{self.layout.name.removeprefix('table-')}"
        fitted = fit.fit(columns, above, text_width=text_width)
        return latex.environment(fitted, self.caption, name, provenance, above)

    def _said(self, metric: str, field: Field | None) -> str:
        if field is None:
            return ""
        known = tasks.metric(metric)
        if known.counted or (field.seeds == 1 and field.low is None):
            return tables.score(field.mean) if score(metric) else tables.number(field.mean)
        if self.layout.form == DEVIATION:
            if field.deviation is None:
                return tables.score(field.mean)
            decimals = _decimals(field.mean, field.deviation) if score(metric) is None else 1
            return f"{field.mean:.{decimals}f} ± {field.deviation:.{decimals}f}"
        return tables.score(field.mean, field.low, field.high)


def pivot(asked: StudyRecord, results: Path, layout: Layout) -> Pivot:
    """The study's table in a layout. Raises `UserError` for axes and metrics that it does not have."""
    runs = load_runs(results, asked.name)
    layout = _complete(asked, layout)
    metrics = tuple(_metric(name, runs, asked) for name in layout.metrics or (asked.metric,))
    by = (*layout.rows, *layout.columns)
    varied = {axis for axis in asked.axes if len({cell.get(axis) for cell in asked.cells.values()}) > 1}
    fields: dict[tuple[tuple[Value, ...], tuple[Value, ...], str], Field] = {}
    rows: dict[tuple[Value, ...], None] = {}
    across: dict[tuple[Value, ...], None] = {}
    for metric in metrics:
        some, found = _fields(asked, results, runs, metric, by)
        for key, axes in some.cells.items():
            if key in found:
                down, over = (tuple(axes.get(a) for a in named) for named in (layout.rows, layout.columns))
                rows[down] = across[over] = None
                fields[down, over, metric] = found[key]
    if not fields:
        raise UserError(
            f"no run of study {asked.name!r} is complete yet; `{asked.command}` runs what is missing"
        )
    return Pivot(
        asked=asked,
        layout=layout,
        averaged=tuple(axis for axis in asked.axes if axis in varied and axis not in by),
        rows=tuple(rows),
        across=tuple(across),
        metrics=metrics,
        fields=fields,
    )


def _complete(asked: StudyRecord, layout: Layout) -> Layout:
    """The layout with its rows named; refuses axes that the study does not have, or has once."""
    named = (*layout.rows, *layout.columns)
    for axis in named:
        if axis not in asked.axes:
            raise UserError(
                f"study {asked.name} has no axis {axis!r}; its axes are {', '.join(asked.axes) or 'none'}"
            )
    if twice := [axis for axis in dict.fromkeys(named) if named.count(axis) > 1]:
        raise UserError(f"the axis {twice[0]} is named twice; --rows and --columns name each axis once")
    rest = tuple(axis for axis in asked.axes if axis not in layout.columns)
    if not (rows := layout.rows or rest):
        raise UserError(
            f"--columns leaves no axis of study {asked.name} for the rows: {', '.join(asked.axes)}"
        )
    return replace(layout, rows=rows)


def _metric(name: str, runs: pl.DataFrame, asked: StudyRecord) -> str:
    """The full name of a metric that the study's runs have."""
    known = [c.removeprefix("metric.") for c in runs.columns if c.startswith("metric.")]
    if name in known:
        return name
    found = (
        [f"test/{name}"] if f"test/{name}" in known else [one for one in known if one.endswith(f"/{name}")]
    )
    if len(found) != 1:
        usual = [one for one in known if not one.startswith("val/")]
        why = f"has no metric {name!r}" if not found else f"has several metrics {name!r}"
        raise UserError(f"study {asked.name} {why}; its runs have {', '.join(found or usual)}")
    return found[0]


def _fields(
    asked: StudyRecord, results: Path, runs: pl.DataFrame, metric: str, by: Sequence[str]
) -> tuple[StudyRecord, dict[str, Field]]:
    """The study as its table sees it, and what is known of a metric in each of its cells."""
    parts = score(metric)
    on_test = parts is not None and parts.split == "test"
    # Only for a metric on test are there values of single queries; of any other a run has one number.
    own = metric.removeprefix("test/") if on_test else asked.metric
    measured = replace(asked, metric=own)
    seen, evidence = grouped(measured, gather(measured, results, runs), by)
    known = tasks.metric(metric)
    values: dict[str, dict[int, Any]] = {}
    column = f"metric.{metric}"
    for key, seed, value in evidence.done.select("key", "seed", pl.col(column).cast(pl.Float64)).iter_rows():
        if value is not None and math.isfinite(value):
            values.setdefault(key, {})[seed] = np.array([value])
    if on_test and queries_of(own) is not None:
        values |= {
            k: dict(v) for k, v in evidence.values.items() if k in values and k not in evidence.refused
        }
    found = {}
    for key, cell in values.items():
        groups = evidence.groups if all(v.size > 1 for v in cell.values()) else None
        summary = stats.summarise_cells({key: cell}, groups, bounds=(known.low, known.high))[key]
        means = [float(v.mean()) for v in cell.values()]
        limits = summary.interval
        found[key] = Field(
            mean=summary.mean,
            low=limits.low if limits is not None else None,
            high=limits.high if limits is not None else None,
            deviation=float(np.std(means, ddof=1)) if len(means) > 1 else None,
            seeds=len(means),
        )
    return seen, found


def _print_head(metric: str) -> str:
    """The head of a metric's column in print, where room is scarce."""
    return tasks.placed(metric, tasks.metric(metric).head)


def _decimals(mean: float, deviation: float) -> int:
    """As many as show two digits of the deviation, of a constant four of the mean."""
    scale, digits = (deviation, 1) if deviation > 0 else (abs(mean), 3)
    return min(6, max(0, digits - math.floor(math.log10(scale)))) if scale > 0 else 0
