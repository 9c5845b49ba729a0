"""Curves of runs over their steps, read from `metrics.jsonl` alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from workbench.metrics import score
from workbench.tracking.cache.curves import Point, evaluations
from workbench.tracking.files import check_name
from workbench.tracking.run_dir import RunDir


def load_curves(
    results: Path | str,
    study: str,
    runs: Iterable[str] | None = None,
    metrics: Sequence[str] | None = None,
    points: int = 0,
) -> pl.DataFrame:
    """Curves in long form: run, step, seconds, pflops, metric, value.

    Args:
        runs: names of run directories; all of the study when None.
        metrics: names to keep; all when None.
        points: keep about so many per run and metric, evenly spaced and always the last; 0 keeps all.
    """
    folder = Path(results) / "runs" / check_name(study, "study name")
    names = sorted(path.name for path in folder.glob("*") if path.is_dir()) if runs is None else list(runs)
    for name in names:
        check_name(name, "run name")
    if metrics is not None and all(score(metric) for metric in metrics):
        found = evaluations(folder, names, metrics, read_evaluations)
        if not points or _longest(found) <= points:
            return found
    lists: dict[str, list[Any]] = {name: [] for name in _CURVES}
    for name in names:
        for point in _thinned(_points(folder / name, metrics), points):
            for column, value in zip(_CURVES, point, strict=True):
                lists[column].append(value)
    return pl.DataFrame(lists, schema=_CURVES)


_CURVES = {
    "run": pl.String(),
    "step": pl.Int64(),
    "seconds": pl.Float64(),
    "pflops": pl.Float64(),
    "metric": pl.String(),
    "value": pl.Float64(),
}


def _longest(curves: pl.DataFrame) -> int:
    longest = curves.group_by("run", "metric").len()["len"].max()
    return longest if isinstance(longest, int) else 0


def read_evaluations(path: Path) -> Mapping[str, list[Point]]:
    """Points of each metric of a split: a few rows of many, and the others are not parsed."""
    rows = RunDir(path).read_metrics(starts=("val/", "test/")).rows
    return _by_metric(path.name, rows, lambda name: score(name) is not None)


def _points(path: Path, metrics: Sequence[str] | None) -> Mapping[str, list[Point]]:
    rows = RunDir(path).read_metrics(metrics).rows
    return _by_metric(path.name, rows, lambda name: "/" in name if metrics is None else name in metrics)


def _by_metric(
    run: str, rows: Iterable[Mapping[str, Any]], wanted: Callable[[str], bool]
) -> Mapping[str, list[Point]]:
    """Points of each metric; where a step was recorded twice (a resumed run), the later one counts."""
    found: dict[str, dict[int, Point]] = {}
    for row in rows:
        step, seconds, pflops = row.get("step", 0), row.get("seconds"), row.get("pflops")
        for name, value in row.items():
            if isinstance(value, int | float) and wanted(name):
                found.setdefault(name, {})[step] = (run, step, seconds, pflops, name, float(value))
    return {name: list(by_step.values()) for name, by_step in found.items()}


def _thinned(curves: Mapping[str, list[Point]], points: int) -> Iterable[Point]:
    for curve in curves.values():
        if points and len(curve) > points:
            last = len(curve) - 1
            keep = sorted({round(i * last / max(1, points - 1)) for i in range(points)} | {last})
            yield from (curve[i] for i in keep)
        else:
            yield from curve
