"""The answer's table: as people read it (Markdown, LaTeX) and with all digits (CSV)."""

from __future__ import annotations

import polars as pl

from workbench import tables
from workbench.report.answer import Answer

MARKS = {"better": "↑", "worse": "↓", "": ""}
DIFFERENCE, P = "difference", "p"


def readable(answer: Answer) -> pl.DataFrame:
    """Words only: axes, seeds, the metric with its interval, difference, p, reads, note."""
    table = tables.readable(answer.cells, answer.metric, answer.notes)
    if not answer.comparisons:
        return table
    keys = answer.cells["key"].to_list()
    at = table.columns.index(answer.metric) + 1
    table.insert_column(
        at, pl.Series(DIFFERENCE, [_difference(answer, key) for key in keys], dtype=pl.String())
    )
    return table.insert_column(at + 1, pl.Series(P, [_p(answer, key) for key in keys], dtype=pl.String()))


def exact(answer: Answer) -> pl.DataFrame:
    """All digits: the cell table with effect, its limits, p, p_adjusted, standing and note."""
    keys = answer.cells["key"].to_list()
    rows = []
    for key in keys:
        c = answer.comparisons.get(key)
        interval = None if c is None else c.interval or c.over_queries
        rows.append((
            None if c is None else c.effect,
            None if interval is None else interval.low,
            None if interval is None else interval.high,
            "" if interval is None else interval.kind,
            None if c is None else c.p,
            None if c is None else c.p_adjusted,
            answer.standing(key),
            answer.notes.get(key, ""),
        ))  # fmt: skip
    texts = ("effect_interval", "standing", "note")
    names = ("effect", "effect_low", "effect_high", "effect_interval", "p", "p_adjusted", "standing", "note")
    schema = {name: pl.String() if name in texts else pl.Float64() for name in names}
    return pl.concat([answer.cells, pl.DataFrame(rows, schema=schema, orient="row")], how="horizontal")


def legend(answer: Answer) -> str:
    """What the columns and marks mean, in a few sentences."""
    text = f"{answer.metric} with its 95 % interval {varied(answer)}."
    text += " Cells are selected by val and reported by test."
    if answer.comparisons and answer.asked.baseline is not None:
        family = max(c.family for c in answer.comparisons.values())
        text += f" Differences are to {answer.asked.labels[answer.asked.baseline]}"
        if any(c.interval is not None for c in answer.comparisons.values()):
            holm = f"p after Holm over {family} comparisons" if family > 1 else "p of that interval"
            text += f", with 95 % intervals over seeds and queries; {holm}; "
            text += "↑ better and ↓ worse where that may be claimed"
        else:
            text += ", with 95 % intervals over queries, which say nothing about other seeds"
        text += "."
    return text


def varied(answer: Answer) -> str:
    """What the intervals of the cells are about, in words: "over seeds"."""
    seeds = set(answer.cells["seeds"].to_list())
    if answer.error == "queries" or seeds == {1}:
        return "over queries (one seed)" if seeds == {1} else "over queries"
    kind = "over seeds" if answer.error == "seeds" else "over seeds and queries"
    return f"{kind}, over queries where there is one seed" if 1 in seeds else kind


def _difference(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    if c is None:
        return ""
    interval = c.interval or c.over_queries
    limits = f" [{interval.low:+.1f}, {interval.high:+.1f}]" if interval is not None else ""
    mark = MARKS[answer.standing(key)]
    return f"{c.effect:+.1f}{limits}{' ' + mark if mark else ''}"


def _p(answer: Answer, key: str) -> str:
    c = answer.comparisons.get(key)
    if c is None or c.p_adjusted is None:
        return ""
    return "<0.001" if c.p_adjusted < 0.001 else f"{c.p_adjusted:.2g}"
