"""Curves of runs over their steps, read from `metrics.jsonl` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

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
    found: dict[str, list[Any]] = {name: [] for name in _CURVES}
    for name in names:
        for point in _thinned(_points(folder / check_name(name, "run name"), metrics), points):
            for column, value in zip(_CURVES, point, strict=True):
                found[column].append(value)
    return pl.DataFrame(found, schema=_CURVES)


_CURVES = {
    "run": pl.String(),
    "step": pl.Int64(),
    "seconds": pl.Float64(),
    "pflops": pl.Float64(),
    "metric": pl.String(),
    "value": pl.Float64(),
}
_Point = tuple[str, int, float | None, float | None, str, float]


def _points(path: Path, metrics: Sequence[str] | None) -> dict[str, list[_Point]]:
    """Points of each metric; where a step was recorded twice (a resumed run), the later one counts."""
    found: dict[str, dict[int, _Point]] = {}
    for row in RunDir(path).read_metrics(metrics).rows:
        step, seconds, pflops = row.get("step", 0), row.get("seconds"), row.get("pflops")
        for name, value in row.items():
            wanted = "/" in name if metrics is None else name in metrics
            if wanted and isinstance(value, int | float):
                point = (path.name, step, seconds, pflops, name, float(value))
                found.setdefault(name, {})[step] = point
    return {name: list(by_step.values()) for name, by_step in found.items()}


def _thinned(curves: Mapping[str, list[_Point]], points: int) -> Iterable[_Point]:
    for curve in curves.values():
        if points and len(curve) > points:
            last = len(curve) - 1
            keep = sorted({round(i * last / max(1, points - 1)) for i in range(points)} | {last})
            yield from (curve[i] for i in keep)
        else:
            yield from curve
