"""Tables of cells from the run table, and tables as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    """A cell table in words: the mean with its interval in one column, notes, equal decimals in a column.

    Columns keep their names, for `rename`; those without any value are left out.
    """
    columns: dict[str, list[str]] = {}
    for name in table.columns:
        if name == metric:
            columns[name] = scores(table.select(metric, "low", "high").rows())
        elif name not in ("key", "cell", "low", "high") and table[name].null_count() < table.height:
            columns[name] = numbers(table[name])
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
    """A value in readable form: about four digits, an empty field for missing values."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"


DIGITS, NEAR, MOST_DECIMALS = 4, 0.01, 7
"""Significant digits of the largest number of a column, the largest relative rounding error, and the largest
number of decimals, beyond which each number of a column is formatted separately."""


def numbers(values: Iterable[Any]) -> list[str]:
    """The values of one column as people read them, with equal decimals.

    There are so many that the largest number has four digits and every other is true to a hundredth of
    itself, and no zeros that all of them end in. Where that would take too many, each stands by itself.
    """
    column = list(values)
    found = [v for v in column if isinstance(v, float) and math.isfinite(v)]
    largest = max((abs(v) for v in found), default=0.0)
    if largest == 0 or largest >= 1e6 or any(isinstance(v, str) for v in column):
        return [number(v) for v in column]
    least = max(0, DIGITS - 1 - math.floor(math.log10(largest)))
    fits = (d for d in range(least, MOST_DECIMALS + 1) if all(_near(v, d) for v in found))
    if (decimals := next(fits, None)) is None:
        return [number(v) for v in column]
    needed = max(len(f"{v:.{decimals}f}".rstrip("0").partition(".")[2]) for v in found)
    return [f"{v:.{needed}f}" if isinstance(v, float) and math.isfinite(v) else number(v) for v in column]


def _near(value: float, decimals: int) -> bool:
    return abs(round(value, decimals) - value) <= NEAR * abs(value)


def scores(rows: Iterable[tuple[float | None, float | None, float | None]]) -> list[str]:
    """One column of a metric, as `score` writes each; rows: mean, low, high."""
    found = list(rows)
    largest = max((abs(mean) for mean, _, _ in found if mean is not None), default=0.0)
    decimals = 1 if largest >= 1 or largest == 0 else 3
    return [_score(*row, decimals) for row in found]


def score(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    """A metric as people read it, `46.8 [42.4, 51.0]`; the interval where there is one."""
    return scores([(mean, low, high)])[0]


def _score(mean: float | None, low: float | None, high: float | None, decimals: int) -> str:
    if mean is None:
        return ""
    limits = "" if low is None or high is None else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{rounded(mean):.{decimals}f}{limits}"


def rounded(mean: float) -> float:
    """A mean without the last bits, by which sums in another order differ: 2.75 is not 2.7499999999999996."""
    return round(mean, 9)


def duration(seconds: float) -> str:
    """A duration in words: 8 s, 12 min, 3 h 20 min."""
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
        pl.Series(name, [markdown(v) for v in numbers(table[name])], dtype=pl.String())
        for name in table.columns
    ).rename({name: markdown(name) for name in table.columns})
    right = [_is_numeric(table[name]) for name in table.columns]
    head, rule, *rows = _aligned(escaped, "-", right)
    rule = [line[:-1] + ":" if r else line for line, r in zip(rule, right, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def markdown(text: str) -> str:
    """A text on one line of Markdown: names and reasons come from files, and nothing in them may act as
    Markdown or HTML. What could not is left as people read it: `_` inside a word, and an interval."""
    said = _ACTING.sub(lambda found: found[0] if found["interval"] else f"\\{found[0]}", text)
    return " ".join(said.split())


_ACTING = re.compile(
    r"(?P<interval>\[[+-]?\d[\d.,]*, [+-]?\d[\d.,]*\](?![(\[:]))"  # a link needs a target behind it
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis needs the edge of a word
    r"|[\\`*<\[\]|#$]"
)


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """Column -> its head; columns of which heads would be the same, or another's name, keep their names."""
    times = Counter(names.values())
    free = {name: times[head] == 1 and (head == name or head not in names) for name, head in names.items()}
    return {name: head if free[name] else name for name, head in names.items()}


def rename(table: pl.DataFrame, heads: Mapping[str, str]) -> pl.DataFrame:
    """The table with its columns under what people call them; others keep their names."""
    return table.rename(distinct({name: heads.get(name, name) for name in table.columns}))


def to_csv(table: pl.DataFrame) -> str:
    """CSV for machines: names as they are, numbers with twelve digits, which hides how binary fractions end.

    Words that a spreadsheet would run as a formula get a `'` in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_harmless(name) for name in table.columns])
    writer.writerows([_harmless(value) for value in row] for row in table.iter_rows())
    return out.getvalue()


def _aligned(table: pl.DataFrame, rule: str, right: Sequence[bool] | None = None) -> list[list[str]]:
    """Head, rule and rows, every cell padded to its column's width."""
    found = []
    for i, name in enumerate(table.columns):
        cells = [name, *numbers(table[name])]
        width = max(3, *(len(cell) for cell in cells))
        to_right = right[i] if right is not None else _is_numeric(table[name])
        padded = [cell.rjust(width) if to_right else cell.ljust(width) for cell in cells]
        found.append([padded[0], rule * width, *padded[1:]])
    return [list(row) for row in zip(*found, strict=True)]


def _is_numeric(column: pl.Series) -> bool:
    """Numbers, also such as have already become words ("41.2 [38.0, 44.3]")."""
    words = [str(value) for value in column if value not in (None, "")]
    return bool(words) and all(_NUMBER.fullmatch(word) for word in words)


_NUMBER = re.compile(r"[<+-]?\d[\d.,]*(e[+-]?\d+)?( %)?( [\[(±].*)?[ ↑↓†]*")


def _column(runs: pl.DataFrame, name: str) -> str | None:
    return next((c for c in (f"metric.{name}", name) if c in runs.columns), None)


def short(name: str) -> str:
    """`cost/train_pflops` -> `train_pflops`, as in LaTeX macros; the splits stay, val and test differ."""
    return name.split("/", 1)[1] if name.startswith(("cost/", "speed/")) else name


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    if isinstance(value, float):
        return float(f"{value:.12g}")
    return "" if value is None else value
