"""The answer's table: in words (Markdown, LaTeX) and with all digits (CSV)."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from workbench import naming, stats, tables, tasks
from workbench.answer import wording
from workbench.answer.caveats import ALONE, table_legend
from workbench.answer.results import Answer

MARKS = {"better": "↑", "worse": "↓", "": ""}
DIFFERENCE, P = "difference", "p"


def readable(answer: Answer) -> pl.DataFrame:
    """Words only: axes, seeds, the metric with its interval, difference, p, reads, note; heads as people say
    them."""
    return tables.rename(named(answer), heads(answer))


def heads(answer: Answer) -> dict[str, str]:
    """Column of `named` -> its head on screens and pages, such as `video mask ratio`."""
    return _heads(answer, tasks.head, lambda axis: naming.axis(axis, answer.asked.says))


def named(answer: Answer) -> pl.DataFrame:
    """The same under the exact names of axes and metrics, by which `check` knows them."""
    table = tables.readable(answer.cells, answer.metric, answer.notes)
    if not answer.comparisons:
        return table
    keys = answer.cells["key"].to_list()
    at = table.columns.index(answer.metric) + 1
    found = [_difference(answer, key) for key in keys]
    table.insert_column(at, pl.Series(DIFFERENCE, found, dtype=pl.String()))
    return table.insert_column(at + 1, pl.Series(P, [_p(answer, key) for key in keys], dtype=pl.String()))


def print_heads(answer: Answer) -> dict[str, str]:
    """Column of `named` -> its head in print: short, so that a table fits one column, and with the unit."""
    return _heads(answer, lambda name: tasks.placed(name, tasks.metric(name).head), naming.spaced)


def former_heads(answer: Answer) -> dict[str, str]:
    """Head that an earlier version gave a column -> its name."""
    axes = {naming.spaced(axis): axis for axis in answer.asked.axes}
    return axes | {tables.short(name): name for name in answer.asked.reads}


def _heads(answer: Answer, of: Callable[[str], str], called: Callable[[str], str]) -> dict[str, str]:
    """Without the note, which has no head. of: head of a metric by its full name; called: of an axis."""
    asked, found = answer.asked, dict[str, str]()
    measured = {answer.metric, *asked.reads}
    for name in named(answer).columns:
        if name:
            found[name] = of(name) if name in measured else name
            if name in asked.axes:
                found[name] = called(name)
    return tables.distinct(found)


def exact(answer: Answer) -> pl.DataFrame:
    """All digits: the cell table with the interquartile mean and all that is known of the difference.

    Limits of the difference: `effect` (those that are shown, at `effect_level`), `seeds`, `queries` (over
    these alone), `bootstrap` (hierarchical), at 95 %; `p_seeds` is that of flipping signs.
    """
    keys, notes = answer.cells["key"].to_list(), answer.notes
    found = [_numbers(answer, key) for key in keys]
    columns = {name: pl.Series([row[name] for row in found], dtype=pl.Float64()) for name in _NUMBERS}
    columns |= {
        "effect_interval": pl.Series([_kind(answer, key) for key in keys], dtype=pl.String()),
        "standing": pl.Series([answer.standing(key) for key in keys], dtype=pl.String()),
        "note": pl.Series([notes.get(key, "") for key in keys], dtype=pl.String()),
    }
    return pl.concat([answer.cells, pl.DataFrame(columns)], how="horizontal")


_LIMITS = ("effect", "seeds", "queries", "bootstrap")
_NUMBERS = ("iqm", "effect", *(f"{name}_{end}" for name in _LIMITS for end in ("low", "high")),
            "effect_level", "p", "p_adjusted", "p_seeds", "p_queries", "family")  # fmt: skip


def _numbers(answer: Answer, key: str) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(_NUMBERS)
    seeds = answer.evidence.values.get(key)
    if seeds is not None:
        row["iqm"] = stats.iqm([float(values.mean()) for values in seeds.values()])
    if (c := answer.comparisons.get(key)) is None:
        return row
    shown = c.shown or c.over_queries
    limits = (shown, c.over_seeds, c.over_queries, c.bootstrap)
    for name, interval in zip(_LIMITS, limits, strict=True):
        if interval is not None:
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    tests = {"p": c.p, "p_adjusted": c.p_adjusted, "p_seeds": c.p_seeds, "p_queries": c.p_queries}
    size = None if c.family is None else float(c.family.size)
    level = None if shown is None else shown.level
    return row | tests | {"effect": c.effect, "effect_level": level, "family": size}


def _kind(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    interval = None if c is None else c.shown or c.over_queries
    return "" if interval is None else interval.kind


def legend(answer: Answer) -> str:
    """What the columns and marks mean, in a few sentences."""
    against = answer.asked.against if answer.asked.baseline is not None else ""
    return table_legend(answer.title, answer.cells_vary, answer.comparisons, against, bool(answer.alone))


def _difference(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    if c is None:
        return ""
    limited = (c.shown or c.over_queries) is not None
    mark = ALONE if limited and key in answer.alone else MARKS[answer.standing(key)]
    return wording.difference_with_interval(c) + (f" {mark}" if mark else "")


def _p(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    return "" if c is None else wording.p_value(c.p_adjusted)
