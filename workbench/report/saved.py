"""Tables read back from what was saved: CSV, LaTeX, Markdown; no row is passed over, however written."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.report import latex


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in words, as it stands in a file."""

    heading: str
    """Of a Markdown page: what stands above it."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Each with as many fields as it has there, which may be other than that of the columns."""


_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*\n?")
_GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_TABULAR = re.compile(
    rf"\\begin\{{(tabular[*x]?)\}}(?:(?<=[*x]\}}){_GROUP})?(?:\[\w\])?{_GROUP}(.*?)\\end\{{\1\}}", re.DOTALL
)
_RULE = re.compile(
    r"\\(?:toprule|midrule|bottomrule|cmidrule|hline|cline|addlinespace)(?:\(\w*\)|\[[^]]*\]|\{[\d-]*\})*"
)
_END = re.compile(r"(?:\\\\|\\tabularnewline)\*?\s*(?:\[[^]]*\])?")
"""Of a row, with the space that may be asked for below it."""
_DELIMITER = re.compile(r"\s*\|?(\s*:?-+:?\s*\|)+(\s*:?-+:?\s*)?")


def read_csv(text: str) -> list[Table]:
    """The file as one table."""
    return _table("", [row for row in csv.reader(io.StringIO(text)) if row])


def read_tex(text: str) -> list[Table]:
    """Every `tabular`; rows end in `\\\\`, whatever follows it."""
    found = []
    for match in _TABULAR.finditer(_COMMENT.sub(r"\1", text)):
        rows = [row for row in _END.split(_RULE.sub("", match[2])) if row.strip()]
        found += _table("", [[latex.unescape(cell) for cell in re.split(r"(?<!\\)&", row)] for row in rows])
    return found


def read_markdown(text: str) -> list[Table]:
    """Every table with its heading; a table goes on to the next empty line."""
    found: list[Table] = []
    lines, heading = [*text.splitlines(), ""], ""
    for i, line in enumerate(lines[:-1]):
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        elif "|" in line and _DELIMITER.fullmatch(lines[i + 1]):
            end = next(j for j in range(i + 2, len(lines)) if not lines[j].strip())
            found += _table(heading, [_fields(row) for row in (line, *lines[i + 2 : end])])
    return found


def paragraphs(text: str) -> set[str]:
    """The paragraphs of a text, each on one line."""
    return {_tidy(part) for part in re.split(r"\n\s*\n", text)}


def _fields(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells]


def _table(heading: str, cells: Sequence[Sequence[str]]) -> list[Table]:
    """One table whose first row names the columns, or none."""
    rows = [tuple(_tidy(cell) for cell in row) for row in cells]
    return [Table(heading=heading, columns=rows[0], rows=tuple(rows[1:]))] if rows else []


def _tidy(text: str) -> str:
    return " ".join(text.split())
