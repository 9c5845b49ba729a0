"""The table for a paper: booktabs, the selected cell in bold, arrows where a difference may be claimed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from workbench.answer.results import Answer
from workbench.report import rows
from workbench.tables import number

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", '"': r"\char34{}", "|": r"\textbar{}", "–": r"\textendash{}",
    "†": r"$\dagger$", "×": r"$\times$", "÷": r"$\div$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "[": "{[}", "]": "{]}",
}  # fmt: skip
"""Brackets are wrapped because one at the start of a row would be read as an option of the line break. The
quotation mark goes by its number, since pdflatex's own fonts have no `\\textquotedbl`."""
MINUS = "$-$"
_CODES = {code: letter for letter, code in SPECIAL.items()} | {MINUS: "-"}
_CODE = re.compile("|".join(re.escape(code) for code in sorted(_CODES, key=len, reverse=True)))
ABSENT = "ÐÞðþ"
"""Letters between À and ÿ that pdflatex's own fonts lack."""


def table(answer: Answer, provenance: Sequence[str]) -> str:
    """A `table` environment; the preamble needs `\\usepackage{booktabs}` only.

    provenance: lines for comments at the top.
    """
    content = rows.readable(answer)
    note = content.columns[-1] == ""
    columns = content.columns[:-1] if note else content.columns
    numbers = {"seeds", rows.P, answer.metric, *answer.asked.reads}
    align = ["r" if column in numbers else "l" for column in columns]
    head = " & ".join(escape(column) for column in columns)
    body = []
    for key, row in zip(answer.cells["key"], content.select(columns).iter_rows(), strict=True):
        cells = [escape(cell) for cell in row]
        if key in answer.selected:
            at = columns.index(answer.metric)
            cells[at] = rf"\textbf{{{cells[at]}}}"
        body.append(" & ".join(cells) + r" \\")
    caption = f"{answer.asked.question} {rows.legend(answer)} Bold: selected by val."
    return _environment(caption, answer.asked.name, align, head, body, provenance)


def plain_table(content: pl.DataFrame, caption: str, name: str = "") -> str:
    """Any table as a `table` environment; numbers as people read them, to the right."""
    align = ["r" if content[column].dtype.is_numeric() else "l" for column in content.columns]
    head = " & ".join(escape(column) for column in content.columns)
    body = [" & ".join(escape(number(v)) for v in row) + r" \\" for row in content.iter_rows()]
    return _environment(caption, name or caption, align, head, body, ())


def _environment(
    caption: str, name: str, align: Sequence[str], head: str, body: Sequence[str], provenance: Sequence[str]
) -> str:
    lines = [
        *(f"% {_one_line(line)}" for line in provenance),
        r"\begin{table}[t]",
        r"  \centering",
        r"  \small",
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{tab:{re.sub('[^A-Za-z0-9-]', '-', name)}}}",
        rf"  \begin{{tabular}}{{{''.join(align)}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Any text as LaTeX that compiles with pdflatex; letters it lacks appear as their code point."""
    escaped = "".join(SPECIAL.get(letter) or _letter(letter) for letter in _one_line(text))
    return re.sub(r"(?<![A-Za-z0-9])-(?=\d)", MINUS, escaped)


def unescape(text: str) -> str:
    """The text behind `escape`, without emphasis."""
    text = re.sub(r"\\textbf\{(.*)\}", r"\1", text.strip())
    return _CODE.sub(lambda match: _CODES[match[0]], text)


def _letter(letter: str) -> str:
    plain = letter.isascii() or ("À" <= letter <= "ÿ" and letter not in ABSENT)
    return letter if plain else f"(U+{ord(letter):04X})"


def _one_line(text: str) -> str:
    """No line breaks and no control characters: a comment or a row must stay one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
