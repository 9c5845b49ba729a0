"""The table for a paper: booktabs, the selected cell in bold, arrows where a difference may be claimed.

It fits the width of a text (`fit`); heads are short and name a unit once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from workbench.answer.results import Answer
from workbench.report import fit, rows
from workbench.tables import numbers

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", '"': r"\char34{}", "|": r"\textbar{}", "–": r"\textendash{}",
    "†": r"$\dagger$", "×": r"$\times$", "÷": r"$\div$",
    "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}", "±": r"$\pm$", "Δ": r"$\Delta$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "[": "{[}", "]": "{]}",
}  # fmt: skip
"""Brackets are wrapped because one at the start of a row would be read as an option of the line break. The
quotation mark goes by its number, since pdflatex's own fonts have no `\\textquotedbl`."""
MINUS = "$-$"
_CODES = {code: letter for letter, code in SPECIAL.items()} | {MINUS: "-"}
_CODE = re.compile("|".join(re.escape(code) for code in sorted(_CODES, key=len, reverse=True)))
ABSENT = "ÐÞðþ"
"""Letters between À and ÿ that pdflatex's own fonts lack."""


def table(answer: Answer, provenance: Sequence[str], *, text_width: float = fit.TEXT_WIDTH) -> str:
    """A `table` environment; the preamble needs `\\usepackage{booktabs}` only.

    provenance: lines for comments at the top; text_width: points that it has to fit.
    """
    content = rows.named(answer)
    chosen = [i for i, key in enumerate(answer.cells["key"]) if key in answer.selected]
    reads = set(answer.asked.reads)
    numbers = {"seeds", rows.P, answer.metric, *reads}
    columns = [
        fit.Column(
            head=head,
            cells=tuple(content[name]),
            right=name in numbers,
            optional=name in reads,
            bold=frozenset(chosen) if name == answer.metric else frozenset(),
        )
        for name, head in rows.print_heads(answer).items()
        if any(content[name])
    ]
    caption = f"{answer.asked.question} {rows.legend(answer)} Bold: selected on val."
    fitted = fit.fit(columns, text_width=text_width)
    return environment(fitted, caption, answer.asked.report, provenance)


def plain_table(content: pl.DataFrame, caption: str, name: str, *, text_width: float = fit.TEXT_WIDTH) -> str:
    """Any table as a `table` environment; numbers as people read them, to the right.

    name: what it is called, for the label; text_width: points that it has to fit.
    """
    columns = [
        fit.Column(
            head=column,
            cells=tuple(numbers(content[column])),
            right=content[column].dtype.is_numeric(),
        )
        for column in content.columns
    ]
    return environment(fit.fit(columns, text_width=text_width), caption, name, ())


def environment(
    table: fit.Fitted, caption: str, name: str, provenance: Sequence[str], above: Sequence[fit.Above] = ()
) -> str:
    """A `table` environment.

    above: heads that stand above several columns each, in their order; they leave the heads one line.
    """
    columns = table.columns
    heads = [("", column.head) if above else column.heads() for column in columns]
    lines = [" & ".join(escape(head[i]) for head in heads) for i in (0, 1) if i or any(h[0] for h in heads)]
    align = "".join("r" if column.right else "l" for column in columns)
    body = [" & ".join(_cell(column, i) for column in columns) for i in range(len(columns[0].cells))]
    left_out = [f"left out for want of room: {', '.join(table.left_out)}"] if table.left_out else []
    left_out += [f"too wide by about {table.over:.0f} pt"] if table.over else []
    written = [
        *(f"% {_one_line(line)}" for line in (*provenance, *left_out)),
        r"\begin{table}[t]",
        r"  \centering",
        rf"  \{table.size}",
        rf"  \setlength{{\tabcolsep}}{{{table.gap:g}pt}}",
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{tab:{re.sub('[^A-Za-z0-9]+', '-', name)}}}",
        rf"  \begin{{tabular}}{{@{{}}{align}@{{}}}}",
        r"    \toprule",
        *_above(above, len(columns)),
        *(rf"    {line} \\" for line in lines),
        r"    \midrule",
        *(rf"    {line} \\" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(written) + "\n"


def _above(above: Sequence[fit.Above], columns: int) -> list[str]:
    """The row of heads above several columns, with a rule below each."""
    if not above:
        return []
    cells, rules, at = list[str](), list[str](), 0
    for one in above:
        cells += [""] * (one.first - at)
        cells.append(rf"\multicolumn{{{one.over}}}{{c}}{{{escape(one.text)}}}")
        at = one.first + one.over
        rules.append(rf"\cmidrule(lr){{{one.first + 1}-{at}}}")
    cells += [""] * (columns - at)
    return [rf"    {' & '.join(cells)} \\", f"    {' '.join(rules)}"]


def _cell(column: fit.Column, row: int) -> str:
    text = escape(column.cells[row])
    if column.wrapped is not None:
        text = rf"\parbox[t]{{{column.wrapped:g}pt}}{{\raggedright {text}}}"
    return rf"\textbf{{{text}}}" if row in column.bold else text


def escape(text: str) -> str:
    """Any text as LaTeX that compiles with pdflatex; letters it lacks appear as their code point."""
    escaped = "".join(SPECIAL.get(letter) or _letter(letter) for letter in _one_line(text))
    return re.sub(r"(?<![A-Za-z0-9])-(?=\d)", MINUS, escaped)


def unescape(text: str) -> str:
    """The text behind `escape`, without emphasis and without the box that breaks it into lines."""
    text = re.sub(r"\\textbf\{(.*)\}", r"\1", text.strip())
    text = re.sub(r"\\parbox\[t\]\{[\d.]+pt\}\{\\raggedright (.*)\}", r"\1", text)
    return _CODE.sub(lambda match: _CODES[match[0]], text)


def _letter(letter: str) -> str:
    plain = letter.isascii() or ("À" <= letter <= "ÿ" and letter not in ABSENT)
    return letter if plain else f"(U+{ord(letter):04X})"


def _one_line(text: str) -> str:
    """No line breaks and no control characters: a comment or a row must stay one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
