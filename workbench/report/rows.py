"""The answer's table: as people read it (Markdown, LaTeX) and with all digits (CSV)."""

from __future__ import annotations

import polars as pl

from workbench import stats, tables
from workbench.answer.results import Answer

MARKS = {"better": "↑", "worse": "↓", "": ""}
LONE = "†"
DIFFERENCE, P = "difference", "p"


def readable(answer: Answer) -> pl.DataFrame:
    """Words only: axes, seeds, the metric with its interval, difference, p, reads, note."""
    table = tables.readable(answer.cells, answer.metric, answer.notes)
    if not answer.comparisons:
        return table
    keys = answer.cells["key"].to_list()
    at = table.columns.index(answer.metric) + 1
    alone = lone(answer)
    found = [_difference(answer, key, key in alone) for key in keys]
    table.insert_column(at, pl.Series(DIFFERENCE, found, dtype=pl.String()))
    return table.insert_column(at + 1, pl.Series(P, [_p(answer, key) for key in keys], dtype=pl.String()))


def exact(answer: Answer) -> pl.DataFrame:
    """All digits: the cell table with the interquartile mean and all that is known of the difference.

    Limits of the difference: `effect` (those that are shown), `seeds`, `queries` (over these alone),
    `bootstrap` (hierarchical); `p` belongs to `effect`, `p_seeds` is that of flipping signs.
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
            "p", "p_adjusted", "p_seeds", "p_queries", "family")  # fmt: skip


def _numbers(answer: Answer, key: str) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(_NUMBERS)
    seeds = answer.evidence.values.get(key)
    if seeds is not None:
        row["iqm"] = stats.iqm([float(values.mean()) for values in seeds.values()])
    if (c := answer.comparisons.get(key)) is None:
        return row
    limits = (c.interval or c.over_queries, c.over_seeds, c.over_queries, c.bootstrap)
    for name, interval in zip(_LIMITS, limits, strict=True):
        if interval is not None:
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    tests = {"p": c.p, "p_adjusted": c.p_adjusted, "p_seeds": c.p_seeds, "p_queries": c.p_queries}
    return row | tests | {"effect": c.effect, "family": float(c.family)}


def _kind(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    interval = None if c is None else c.interval or c.over_queries
    return "" if interval is None else interval.kind


def legend(answer: Answer) -> str:
    """What the columns and marks mean, in a few sentences."""
    text = f"{answer.metric} with its 95 % interval {varied(answer)}."
    text += " Cells are selected by val and reported by test."
    if not answer.comparisons or answer.asked.baseline is None:
        return text
    text += f" Differences are to {answer.asked.against}, {differing(answer)}"
    if lone(answer):
        text += (
            f" ({LONE} over queries alone: one seed, or seeds without any spread, say nothing about others)"
        )
    if any(c.interval is not None for c in answer.comparisons.values()):
        family = max(c.family for c in answer.comparisons.values())
        holm = f"p after Holm over {family} comparisons" if family > 1 else "p of that interval"
        text += f"; {holm}; ↑ better and ↓ worse where that may be claimed"
    return text + "."


def differing(answer: Answer) -> str:
    """The intervals of the differences, in words: "with 95 % intervals over seeds and queries"."""
    compared = answer.comparisons.values()
    kinds = {c.interval.kind for c in compared if c.interval is not None}
    if kinds:
        return f"with 95 % intervals over seeds{' and queries' if 'seeds+queries' in kinds else ''}"
    if any(c.over_queries is not None for c in compared):
        return "with 95 % intervals over queries, which say nothing about other seeds"
    return "without intervals, since one seed has nothing to vary"


def lone(answer: Answer) -> set[str]:
    """Keys of the cells whose difference has no interval over seeds, where others have one."""
    several = any(c.interval is not None for c in answer.comparisons.values())
    return {key for key, c in answer.comparisons.items() if several and c.interval is None}


def varied(answer: Answer) -> str:
    """What the intervals of the cells are about, in words: "over seeds"."""
    seeds = set(answer.cells["seeds"].to_list())
    if answer.error == "queries" or seeds == {1}:
        return "over queries (one seed)" if seeds == {1} else "over queries"
    kind = "over seeds" if answer.error == "seeds" else "over seeds and queries"
    return f"{kind}, over queries where there is one seed" if 1 in seeds else kind


def _difference(answer: Answer, key: str, alone: bool) -> str:
    c = answer.comparisons.get(key)
    if c is None:
        return ""
    interval = c.interval or c.over_queries
    limits = f" [{interval.low:+.1f}, {interval.high:+.1f}]" if interval is not None else ""
    mark = LONE if limits and alone else MARKS[answer.standing(key)]
    return f"{c.effect:+.1f}{limits}{' ' + mark if mark else ''}"


def _p(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    if c is None or c.p_adjusted is None:
        return ""
    return "<0.001" if c.p_adjusted < 0.001 else f"{c.p_adjusted:.2g}"
