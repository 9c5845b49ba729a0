"""Tables of cells from the run table, and tables as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

Intervals = Mapping[str, tuple[float, float] | None]
"""Key of a cell -> the interval of its mean."""


def cell_table(
    runs: pl.DataFrame,
    axes: Sequence[str],
    metric: str,
    reads: Sequence[str] = (),
    intervals: Intervals | None = None,
) -> pl.DataFrame:
    """One row a cell, of its complete runs: axes, `seeds`, means of `metric` and of `reads`.

    Args:
        runs: run table, see `workbench.tracking.runs.load_runs`.
        axes: names of the axes, in the order of their columns.
        metric: full name, e.g. `test/t2v_r1`; its interval becomes the columns `low` and `high`.
        reads: further metrics (`cost/train_pflops`) or columns of the run table (`steps`).

    Returns:
        Columns key, cell, the axes, seeds, metric, low, high, reads; cells in order of first run.
    """
    found = runs.filter(pl.col("state") == "complete").sort("seed", maintain_order=True)
    means = {name: _column(runs, name) for name in (metric, *reads)}
    values = {axis: f"axis.{axis}" for axis in axes if f"axis.{axis}" in runs.columns}
    table = found.group_by("key", maintain_order=True).agg(
        pl.col("cell").first(),
        *(pl.col(column).first().alias(axis) for axis, column in values.items()),
        pl.len().cast(pl.Int64).alias("seeds"),
        *(
            (pl.col(column).mean() if column else pl.lit(None, pl.Float64)).alias(name)
            for name, column in means.items()
        ),
    )
    limits = [(intervals or {}).get(key) or (None, None) for key in table["key"]]
    low = pl.Series("low", [low for low, _ in limits], dtype=pl.Float64)
    high = pl.Series("high", [high for _, high in limits], dtype=pl.Float64)
    at = table.columns.index(metric) + 1
    return table.insert_column(at, low).insert_column(at + 1, high)


def readable(table: pl.DataFrame, metric: str, notes: Mapping[str, str] | None = None) -> pl.DataFrame:
    """A cell table for people: the mean with its interval in one column, short names, notes.

    Columns without any value are left out.
    """
    columns: dict[str, list[str]] = {}
    for name in table.columns:
        if name == metric:
            columns[name] = [score(*row) for row in table.select(metric, "low", "high").rows()]
        elif name not in ("key", "cell", "low", "high") and table[name].null_count() < table.height:
            columns[short(name)] = [number(value) for value in table[name]]
    if notes:
        columns[""] = [notes.get(key, "") for key in table["key"]]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))


def differences(runs: pl.DataFrame, cells: Mapping[str, str]) -> pl.DataFrame:
    """What differs between the configurations of cells: column `setting`, then one of words for each cell.

    Args:
        runs: run table; each cell is seen by its first run, since all but the seed is the same in all.
        cells: key of a cell -> its label, the name of its column.

    An empty field stands for a setting that a cell does not have.
    """
    names = [c for c in runs.columns if c.startswith("config.") and c != "config.seed"]
    first = runs.unique("key", keep="first", maintain_order=True)
    rows = {row["key"]: row for row in first.iter_rows(named=True) if row["key"] in cells}
    found = {key: label for key, label in cells.items() if key in rows}
    differing = [n for n in names if len({str(rows[key][n]) for key in found}) > 1]
    columns = {"setting": [n.removeprefix("config.") for n in differing]}
    for key, label in found.items():
        columns[label] = ["" if (v := rows[key][n]) is None else str(v) for n in differing]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))


def number(value: Any) -> str:
    """A value as people read it: about four digits, an empty field for what is missing."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"


def score(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    """A metric as people read it, `46.8 [42.4, 51.0]`; the interval where there is one."""
    if mean is None:
        return ""
    if low is None or high is None:
        return f"{mean:.1f}" if abs(mean) >= 1 else number(mean)
    decimals = 1 if abs(mean) >= 1 or mean == 0 else 3
    return f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def duration(seconds: float) -> str:
    """As one would say it: 8 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def containing(table: pl.DataFrame, text: str, within: Sequence[str]) -> pl.DataFrame:
    """The rows whose words (columns `within`, joined) hold each word of `text`, in any case."""
    words = text.lower().split()
    columns = [name for name in within if name in table.columns]
    if not words or not columns:
        return table
    line = pl.concat_str(columns, separator=" ", ignore_nulls=True).str.to_lowercase()
    return table.filter(pl.all_horizontal(line.str.contains(word, literal=True) for word in words))


def to_text(table: pl.DataFrame) -> str:
    """Aligned columns for a terminal; columns of numbers to the right."""
    return "\n".join("  ".join(cells).rstrip() for cells in _aligned(table, "-"))


def to_markdown(table: pl.DataFrame) -> str:
    """A Markdown table; what Markdown would take for markup is escaped."""
    escaped = table.select(
        pl.Series(name, [_escape(number(v)) for v in table[name]], dtype=pl.String())
        for name in table.columns
    ).rename({name: _escape(name) for name in table.columns})
    right = [_is_numeric(table[name]) for name in table.columns]
    head, rule, *rows = _aligned(escaped, "-", right)
    rule = [line[:-1] + ":" if r else line for line, r in zip(rule, right, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def to_csv(table: pl.DataFrame) -> str:
    """CSV with full precision. Words that a spreadsheet would run as a formula get a `'` in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_harmless(name) for name in table.columns])
    writer.writerows([_harmless(value) for value in row] for row in table.iter_rows())
    return out.getvalue()


def _aligned(table: pl.DataFrame, rule: str, right: Sequence[bool] | None = None) -> list[list[str]]:
    """Head, rule and rows, every cell padded to its column's width."""
    found = []
    for i, name in enumerate(table.columns):
        cells = [name, *(number(value) for value in table[name])]
        width = max(3, *(len(cell) for cell in cells))
        to_right = right[i] if right is not None else _is_numeric(table[name])
        padded = [cell.rjust(width) if to_right else cell.ljust(width) for cell in cells]
        found.append([padded[0], rule * width, *padded[1:]])
    return [list(row) for row in zip(*found, strict=True)]


def _is_numeric(column: pl.Series) -> bool:
    """Numbers, also such as have already become words ("41.2 [38.0, 44.3]")."""
    words = [str(value) for value in column if value not in (None, "")]
    return bool(words) and all(word.lstrip("-")[:1].isdigit() for word in words)


def _column(runs: pl.DataFrame, name: str) -> str | None:
    return next((c for c in (f"metric.{name}", name) if c in runs.columns), None)


def short(name: str) -> str:
    """`cost/train_pflops` -> `train_pflops`; the splits stay, since val and test differ."""
    return name.split("/", 1)[1] if name.startswith(("cost/", "speed/")) else name


def _escape(text: str) -> str:
    for mark in "\\|`*_<[":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value
