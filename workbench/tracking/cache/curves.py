"""Cached evaluations of runs, a few points of long curves, read once from `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from workbench.metrics import score
from workbench.tracking.cache import rows
from workbench.tracking.cache.rows import RowFile, plain_signature

FILE = "metrics.jsonl"
Point = tuple[str, int, float | None, float | None, str, float]
"""Run, step, seconds, pflops, metric, value."""
Read = Callable[[Path], Mapping[str, list[Point]]]
"""Reads all points of a run, by metric."""

_VERSION = 1
_LISTS: dict[str, pl.DataType] = {
    "step": pl.List(pl.Int64()), "seconds": pl.List(pl.Float64()), "pflops": pl.List(pl.Float64()),
    "metric": pl.List(pl.String()), "value": pl.List(pl.Float64()),
}  # fmt: skip


def evaluations(folder: Path, names: Sequence[str], metrics: Sequence[str], read: Read) -> pl.DataFrame:
    """Long form, as `workbench.tracking.curves.load_curves`, of metrics that are scores.

    folder: of the study; names: of runs, checked.
    """
    file = RowFile(folder, "evaluations", _VERSION, _LISTS)
    many = len(names) >= rows.WORTH_KEEPING
    kept = file.read().filter(pl.col("run").is_in(list(names))) if many else file.none()
    known = dict(kept.select("run", "signature").iter_rows())
    seen = {name: plain_signature(f"{folder}/{name}", FILE) for name in names}
    valid = {name for name, now in seen.items() if now is not None and tuple(known.get(name, ())) == now}
    new = [_row(name, seen[name], read(folder / name)) for name in seen if name not in valid]
    if len(new) >= rows.WORTH_KEEPING:
        file.add([row for row in new if row["signature"]])
    table = pl.concat([kept.filter(pl.col("run").is_in(list(valid))), file.frame(new)])
    ordered = pl.DataFrame({"run": list(names)}, schema={"run": pl.String()})
    ordered = ordered.join(table, on="run", how="inner", maintain_order="left")
    return ordered.select("run", *_LISTS).explode(*_LISTS).filter(pl.col("metric").is_in(list(metrics)))


def keep_evaluations(path: Path, read: Read) -> None:
    """Keeps those of a run that has ended."""
    seen = plain_signature(str(path), FILE)
    if seen is not None:
        RowFile(path.parent, "evaluations", _VERSION, _LISTS).add([_row(path.name, seen, read(path))])


def _row(name: str, seen: Iterable[int] | None, points: Mapping[str, list[Point]]) -> dict[str, Any]:
    chosen = [point for metric, curve in points.items() if score(metric) for point in curve]
    columns = zip(*chosen, strict=True) if chosen else [()] * 6
    _, step, seconds, pflops, metric, value = (list(column) for column in columns)
    return {
        "run": name, "signature": list(seen or ()), "step": step, "seconds": seconds, "pflops": pflops,
        "metric": metric, "value": value,
    }  # fmt: skip
