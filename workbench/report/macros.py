"""Numbers for prose: a LaTeX macro for each, so that a paper names them and never copies them.

A line of `numbers.tex` is such as `\\newcommand{\\MaskRatioVideoRatioZeroPointNine}{51.8}`: names are made of
letters alone, digits spelled out, as TeX wants them. `--check` compares them with the runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench import stats, tables
from workbench.answer import wording
from workbench.answer.results import Answer
from workbench.report import latex

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_MACRO = re.compile(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}\s*(?:% (.*))?")


def macros(answer: Answer) -> dict[str, str]:
    """Name, without the backslash -> what it stands for, in plain words."""
    asked, found = answer.asked, dict[str, str]()
    prefix = letters(asked.report)
    found[f"{prefix}Answer"] = answer.sentence
    found[f"{prefix}Runs"] = str(answer.evidence.done.height)
    for row in answer.cells.iter_rows(named=True):
        chosen = [f"{axis} {tables.number(value)}" for axis, value in asked.cells[row["key"]].items()]
        numbers = _numbers(answer, row)
        names = [letters(" ".join(chosen)) or "Cell"]
        names += ["Selected"] if answer.selected == (row["key"],) else []
        for name in names:
            _add(found, prefix + name, numbers)
    for number, contrast in enumerate(answer.contrasts, 1):
        name = prefix + letters(f"contrast {number}")
        found[name] = contrast.text
        if (c := contrast.comparison) is not None:
            found |= {f"{name}{part}": said for part, said in _difference(c).items()}
        found[f"{name}Result"] = contrast.result
    return {name: said for name, said in found.items() if said}


def text(answer: Answer, provenance: Sequence[str]) -> str:
    """The file `numbers.tex`; provenance: lines for comments at the top."""
    lines = [f"% {line}" for line in provenance]
    lines += [
        f"\\newcommand{{\\{name}}}{{{latex.escape(said)}}} % {answer.asked.report}"
        for name, said in macros(answer).items()
    ]
    return "\n".join(lines) + "\n"


def read(tex: str, answer: Answer) -> dict[str, str]:
    """The macros of this report in a file, as plain words; those of others are left alone.

    The comment behind a macro says whose it is; where there is none, the beginning of its name does.
    """
    report = answer.asked.report
    found = (match for line in tex.splitlines() if (match := _MACRO.fullmatch(line.strip())))
    mine = (m for m in found if m[1].startswith(letters(report)) and m[3] in (None, report))
    return {m[1]: latex.unescape(m[2]) for m in mine}


def letters(text: str) -> str:
    """A text as part of a macro's name: `video_ratio 0.9` becomes `VideoRatioZeroPointNine`."""
    words = re.sub(r"(?<=\d)\.(?=\d)", " point ", text)
    words = re.sub(r"(?<![A-Za-z0-9])-(?=\d)", " minus ", words)
    words = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit[0])]} ", words)
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z]+", words))


def _numbers(answer: Answer, row: dict[str, object]) -> dict[str, str]:
    """Last part of a macro's name -> what it stands for, of one cell."""
    key = str(row["key"])
    mean, low, high = (row[name] for name in (answer.metric, "low", "high"))
    assert isinstance(mean, float | None)
    found = {"": tables.score(mean), "Seeds": str(row["seeds"])}
    if isinstance(low, float) and isinstance(high, float):
        found["Interval"] = tables.score(mean, low, high).partition(" ")[2]
    for name in answer.asked.reads:
        found[letters(tables.short(name))] = tables.number(row[name])
    if (c := answer.comparisons.get(key)) is not None:
        found |= _difference(c)
    return {name: said for name, said in found.items() if said}


def _difference(c: stats.Comparison) -> dict[str, str]:
    difference, _, interval = wording.difference_with_interval(c).partition(" ")
    adjusted = wording.p_value(c.p_adjusted)
    return {"Difference": difference, "DifferenceInterval": interval, "DifferenceP": adjusted}


def _add(found: dict[str, str], name: str, numbers: dict[str, str]) -> None:
    """Adds the numbers of a cell under a name that is not taken: two values may be spelled alike."""
    free = next(one for one in (name, *(f"{name}{chr(65 + i)}" for i in range(26))) if one not in found)
    found |= {free + part: said for part, said in numbers.items()}
