"""Whether the numbers in a saved table are still those of the runs."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench import tables
from workbench.errors import UserError
from workbench.report import latex, rows
from workbench.report.answer import Answer

Row = Mapping[str, str]
CLOSE = 1e-6
"""Relative difference that rounding on another machine may make in numbers with all digits."""


def check(answer: Answer, path: Path) -> list[str]:
    """What no longer matches, a sentence each; empty when all does.

    Read are `.csv`, `.tex` and `.md`. Columns and rows may be left out of the saved table, and text around
    it may change; rows are recognised by their axes (CSV: by their key).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if path.suffix not in READERS:
        raise UserError(f"--check reads {', '.join(READERS)}, not {path.name!r}")
    content = tables.to_csv(rows.exact(answer)) if path.suffix == ".csv" else ""
    now = READERS[".csv"](content) if content else _rows_now(answer)
    saved = READERS[path.suffix](text)
    identity = (
        ["key"] if path.suffix == ".csv" else [axis for axis in answer.asked.axes if now and axis in now[0]]
    )
    known = [name for name in (saved[0] if saved else ()) if now and name in now[0] and name]
    compared = [name for name in known if name not in identity]
    if not compared or any(name not in known for name in identity):
        raise UserError(f"{path} holds no table of study {answer.asked.name} that could be checked")
    return _differences(saved, now, identity, compared)


def _differences(
    saved: Sequence[Row], now: Sequence[Row], identity: Sequence[str], names: Sequence[str]
) -> list[str]:
    current = {tuple(row[name] for name in identity): row for row in now}
    found = []
    for row in saved:
        key = tuple(row[name] for name in identity)
        where = " ".join(f"{name}={value}" for name, value in zip(identity, key, strict=True)) or "the cell"
        if key not in current:
            found.append(f"{where}: in the saved table, but there is no such cell with complete runs")
            continue
        found += [
            f"{where}: {name} was {row[name] or 'empty'}, is now {current[key][name] or 'empty'}"
            for name in names
            if not _same(row[name], current[key][name])
        ]
    return found


def _same(a: str, b: str) -> bool:
    if a == b:
        return True
    try:
        return math.isclose(float(a), float(b), rel_tol=CLOSE, abs_tol=1e-9)
    except ValueError:
        return False


def _rows_now(answer: Answer) -> list[Row]:
    table = rows.readable(answer)
    return [
        {name: _tidy(value) for name, value in zip(table.columns, row, strict=True)}
        for row in table.iter_rows()
    ]


def _csv(text: str) -> list[Row]:
    return [
        dict(row) for row in csv.DictReader(io.StringIO(text)) if None not in row and None not in row.values()
    ]


def _tex(text: str) -> list[Row]:
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("%")]
    found = [line[: -len(r"\\")] for line in lines if line.endswith(r"\\")]
    return _table([[latex.unescape(cell) for cell in re.split(r"(?<!\\)&", line)] for line in found])


def _markdown(text: str) -> list[Row]:
    """The first table after the heading of the cells; any first table in other files."""
    body = text.partition("## Every cell")[2] or text
    found: list[list[str]] = []
    for line in body.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            found.append([re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells])
        elif found:
            break
    return _table([row for row in found if not all(re.fullmatch(r":?-+:?", cell) for cell in row)])


def _table(cells: Sequence[Sequence[str]]) -> list[Row]:
    """The first row names the columns; rows of another length are none of this table."""
    if not cells:
        return []
    head = [_tidy(name) for name in cells[0]]
    return [
        {name: _tidy(value) for name, value in zip(head, row, strict=True)}
        for row in cells[1:]
        if len(row) == len(head)
    ]


def _tidy(text: str) -> str:
    return " ".join(text.split())


READERS = {".csv": _csv, ".tex": _tex, ".md": _markdown}
