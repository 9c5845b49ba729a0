"""Display of tables: numbers as numbers, so that they sort, and text that spreadsheets do not execute."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

_NUMBER = re.compile(
    r"(?P<number>[+-]?\d{1,9}(?:\.\d+)?(?:e[+-]?\d{1,3})?)"
    r"(?P<percent> %)?(?: ?(?P<interval>\[[^\[\]]*\]))?(?P<marks>[ ↑↓†]*)"
)
"""A number as the tables of `workbench` write it: `41.2 [38.0, 44.3]`, `+1.2 [-0.3, 2.7] ↑`, `37 %`."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Letters with which a spreadsheet starts a formula."""


def sortable(
    words: pl.DataFrame, digits: Mapping[str, pl.Series] | None = None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table with columns of numbers in place of words, and how Streamlit is to write them.

    An interval behind a number becomes a column of its own. digits: numbers for columns whose words do not
    hold them ("<0.001").
    """
    columns: dict[str, pl.Series] = {}
    forms: dict[str, Any] = {}
    for name in words.columns:
        if digits and name in digits:
            if digits[name].drop_nulls().len():
                columns[name] = digits[name].alias(name)
                forms[name] = st.column_config.NumberColumn(format="%.2g")
        elif words[name].dtype == pl.String() and (found := _numbers(words[name])) is not None:
            numbers, rest, percent = found
            columns[title := _free(f"{name} (%)" if percent else name, columns)] = numbers
            forms[title] = st.column_config.NumberColumn(format=_format(words[name]))
            if any(rest):
                columns[_free(f"{name}: interval", columns)] = pl.Series(rest, dtype=pl.String())
        else:
            columns[_free(name, columns)] = words[name]
    return pl.DataFrame(columns), forms


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with a `'` in front of words that a spreadsheet would run as a formula: the table on the page
    has an export of its own. Numbers stay as they are."""
    changed = [
        pl.Series(name, [_harmless(word) for word in frame[name]], dtype=pl.String())
        for name in frame.columns
        if frame[name].dtype == pl.String()
    ]
    return frame.with_columns(changed).rename({name: str(_harmless(name)) for name in frame.columns})


def _harmless(word: str | None) -> str | None:
    if word is None or not word.startswith(_FORMULA) or _NUMBER.fullmatch(word):
        return word
    return f"'{word}"


def _numbers(column: pl.Series) -> tuple[pl.Series, list[str], bool] | None:
    """Numbers, what stands behind them, and whether they are shares in percent; None if one is no number."""
    found = [_NUMBER.fullmatch(word) if word else None for word in column]
    if not any(found) or any(word and match is None for word, match in zip(column, found, strict=True)):
        return None
    percent = {bool(match["percent"]) for match in found if match}
    if len(percent) > 1:
        return None
    numbers = [None if match is None else float(match["number"]) for match in found]
    whole = all("." not in match["number"] and "e" not in match["number"] for match in found if match)
    rest = ["" if m is None else f"{m['interval'] or ''}{m['marks'].rstrip()}".strip() for m in found]
    series = pl.Series(numbers, dtype=pl.Float64())
    return series.cast(pl.Int64) if whole else series, rest, percent == {True}


def _format(words: pl.Series) -> str:
    """As the words are written."""
    numbers = [match["number"] for word in words if word and (match := _NUMBER.fullmatch(word))]
    sign = "+" if any(number.startswith("+") for number in numbers) else ""
    decimals = {len(number.partition(".")[2]) for number in numbers}
    if len(decimals) == 1 and not any("e" in number for number in numbers):
        return f"%{sign}.{decimals.pop()}f"
    return f"%{sign}.4g"


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += " "
    return name
