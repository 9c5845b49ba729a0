"""The filter of the run table: words, and conditions on numbers such as `r1 > 40`."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

import polars as pl

from workbench import tables

_CONDITION = re.compile(
    r"(?P<name>[^\s<>=]+)\s*(?P<sign>[<>]=?)\s*(?P<number>[+-]?\d*\.?\d+(?:e[+-]?\d+)?)(?=\s|$)"
)
_HALF = re.compile(r"[^\s<>=]*\s*[<>]=?\s*[^\s<>=]*")
"""Pattern of a condition without its name or its number."""
_SIGNS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
_FIRST = ("metric.test/", "axis.", "metric.", "")
"""Prefixes of the columns in which a name is searched, in this order."""


def narrowed(table: pl.DataFrame, text: str, within: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    """The rows that fulfil each condition and whose columns `within` hold each other word; and a sentence
    for each condition that is left out: its name is no column of numbers, or it is only half a condition."""
    sentences = []
    for match in _CONDITION.finditer(text):
        column = _column(table, match["name"].lower())
        if column is None:
            sentences.append(f"There is no numeric column called {match['name']}; this condition is ignored.")
        else:
            table = table.filter(_SIGNS[match["sign"]](pl.col(column), float(match["number"])))
    rest = _CONDITION.sub(" ", text)
    for match in _HALF.finditer(rest):
        half = " ".join(match[0].split())
        sentences.append(f"{half} is not a complete condition (an example is r1 > 40); it is ignored.")
    return tables.containing(table, _HALF.sub(" ", rest), within), sentences


def _column(table: pl.DataFrame, name: str) -> str | None:
    """The column of numbers with this name, or whose name ends with it: `r1` is `metric.test/t2v_r1`."""
    for start in _FIRST:
        known = [c for c in table.columns if c.startswith(start) and table[c].dtype.is_numeric()]
        ends = {c: re.split(r"[./]", c)[-1].lower() for c in known}
        for fits in (str.__eq__, lambda end, name: end.endswith(f"_{name}")):
            if found := next((c for c, end in ends.items() if fits(end, name)), None):
                return found
    return None
