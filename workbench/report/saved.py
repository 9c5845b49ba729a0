"""Reading of saved tables: CSV, LaTeX, Markdown; no row is skipped, whatever its form."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from workbench.report import latex


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text, as it is in a file."""

    heading: str
    """The heading above the table in a Markdown page."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Rows with their fields in the file, whose number may differ from that of the columns."""


_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*\n?")
_GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_TABULAR = re.compile(
    rf"\\begin\{{(tabular[*x]?)\}}(?:(?<=[*x]\}}){_GROUP})?(?:\[\w\])?{_GROUP}(.*?)\\end\{{\1\}}", re.DOTALL
)
_RULE = re.compile(
    r"\\(?:toprule|midrule|bottomrule|cmidrule|hline|cline|addlinespace)(?:\(\w*\)|\[[^]]*\]|\{[\d-]*\})*"
)
_END = re.compile(r"(?:\\\\|\\tabularnewline)\*?\s*(?:\[[^]]*\])?")
"""End of a row, with the optional space below it."""
_WIDE = re.compile(rf"\\multicolumn\{{(\d{{1,3}})\}}{_GROUP}\{{(.*)\}}", re.DOTALL)
_DELIMITER = re.compile(r"\s*\|?(\s*:?-+:?\s*\|)+(\s*:?-+:?\s*)?")


def read_csv(text: str) -> list[Table]:
    """The file as one table."""
    return _table("", [row for row in csv.reader(io.StringIO(text)) if row])


def read_tex(text: str) -> list[Table]:
    """Every `tabular`; rows end in `\\\\`, whatever follows it. Lines of heads above a `midrule` are one."""
    found = []
    for match in _TABULAR.finditer(_COMMENT.sub(r"\1", text)):
        head, rule, body = match[2].partition(r"\midrule")
        above, below = (_rows(head), _rows(body)) if rule else ([], _rows(match[2]))
        if len(above) > 1:
            above = [
                [" ".join(part for part in parts if part) for parts in zip_longest(*above, fillvalue="")]
            ]
        found += _table("", [*above, *below])
    return found


def _rows(text: str) -> list[list[str]]:
    """Rows of a `tabular`; a head above several columns stands above each of them."""
    rows = []
    for row in _END.split(_RULE.sub("", text)):
        if row.strip():
            fields: list[str] = []
            for cell in re.split(r"(?<!\\)&", row):
                wide = _WIDE.fullmatch(cell.strip())
                fields += [latex.unescape(wide[2])] * int(wide[1]) if wide else [latex.unescape(cell)]
            rows.append([_tidy(field) for field in fields])
    return rows


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


def printed(text: str) -> str:
    """A text as it comes back from a printed table, which lacks some letters."""
    return _tidy(latex.unescape(latex.escape(text)))


def paragraphs(text: str) -> set[str]:
    """The paragraphs of a text, each on one line."""
    return {_tidy(part) for part in re.split(r"\n\s*\n", text)}


def unescaped(text: str) -> str:
    """Markdown without its escapes, of which earlier versions wrote more."""
    return re.sub(r"\\(\W|_)", r"\1", text)


def _fields(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells]


def _table(heading: str, cells: Sequence[Sequence[str]]) -> list[Table]:
    """One table whose first row names the columns, or none."""
    rows = [tuple(_tidy(cell) for cell in row) for row in cells]
    return [Table(heading=heading, columns=rows[0], rows=tuple(rows[1:]))] if rows else []


def _tidy(text: str) -> str:
    return " ".join(text.split())
