"""Groups of cells with equal choices of some axes: evidence averaged over all other axes, seed by seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from workbench import naming
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.naming import Value


def grouped(asked: StudyRecord, evidence: Evidence, by: Collection[str]) -> tuple[StudyRecord, Evidence]:
    """The study as if only the axes `by` had been varied: its groups are cells, its baseline is a group.

    A group goes by the key of its first cell. A seed counts where every cell of the group has it, so
    that what is averaged over is the same for each seed; a group without such a seed is refused.
    """
    axes = tuple(axis for axis in asked.axes if axis in by)
    members: dict[tuple[Value, ...], list[str]] = {}
    for key, chosen in asked.cells.items():
        members.setdefault(tuple(chosen.get(axis) for axis in axes), []).append(key)
    if len(members) == len(asked.cells):
        return asked, evidence
    groups = {keys[0]: keys for keys in members.values()}
    levels = {keys[0]: dict(zip(axes, found, strict=True)) for found, keys in members.items()}
    home = {key: name for name, keys in groups.items() for key in keys}
    labels = {name: _label(levels[name], asked, groups[name]) for name in groups}
    values: dict[str, dict[int, np.ndarray]] = {}
    refused: dict[str, str] = {}
    for name, keys in groups.items():
        try_these = _shared_seeds(evidence, keys)
        if why := next(
            (f"{asked.labels[k]}: {evidence.refused[k]}" for k in keys if k in evidence.refused), ""
        ):
            refused[name] = why
        elif try_these:
            values[name] = {s: np.mean([evidence.values[k][s] for k in keys], axis=0) for s in try_these}
        elif any(key in evidence.values for key in keys):
            refused[name] = f"no seed is complete in all {len(keys)} cells that it averages"
    asked = replace(
        asked,
        axes=axes,
        within=tuple(axis for axis in asked.within if axis in axes),
        over=asked.over if asked.over in axes else "",
        baseline=None if asked.baseline is None else home[asked.baseline],
        labels=labels,
        cells={name: {a: v for a, v in levels[name].items() if v is not None} for name in groups},
        claims=(),
        contrasts=(),
        exploring=asked.registered,
        trials=len(groups) if asked.search else 0,
    )
    runs = _runs(evidence.done, home, labels, values)
    return asked, replace(evidence, runs=runs, values=values, refused=refused)


def _shared_seeds(evidence: Evidence, keys: Sequence[str]) -> list[int]:
    seeds = [set(evidence.values.get(key, {})) for key in keys]
    return sorted(set.intersection(*seeds))


def _runs(
    done: pl.DataFrame,
    home: Mapping[str, str],
    labels: Mapping[str, str],
    values: Mapping[str, Mapping[int, np.ndarray]],
) -> pl.DataFrame:
    """A run table with one row for each seed of each group: means of numbers, else the first value."""
    counted = {(name, seed) for name, seeds in values.items() for seed in seeds}
    rows = done.with_columns(pl.col("key").replace_strict(dict(home), return_dtype=pl.String()))
    keep = [pair in counted for pair in rows.select("key", "seed").rows()]
    numbers = [c for c in rows.columns if c.startswith("metric.") and rows[c].dtype.is_numeric()]
    rest = [c for c in rows.columns if c not in ("key", "seed", *numbers)]
    found = (
        rows.filter(pl.Series(keep, dtype=pl.Boolean))
        .group_by("key", "seed", maintain_order=True)
        .agg(pl.col(rest).first(), pl.col(numbers).mean())
    )
    return found.with_columns(
        pl.col("key").replace_strict(dict(labels), return_dtype=pl.String()).alias("cell"),
        pl.format("{}-s{}", "key", "seed").alias("run"),
    )


def _label(levels: Mapping[str, Value], asked: StudyRecord, keys: Sequence[str]) -> str:
    """`strategy=tube`, or the cell's own label where it stands alone."""
    if len(keys) == 1:
        return asked.labels[keys[0]]
    named = naming.cell({axis: value for axis, value in levels.items() if value is not None}, asked.says)
    return f"{named or 'the rest'}, mean of {len(keys)} cells"
