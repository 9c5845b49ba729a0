"""Printed tables that fit a page: widths of texts, and the steps that make a table narrower.

Only LaTeX knows the exact width of a column, but it can be computed from the widths of the letters of
Computer Modern. A table first gets narrower gaps, then smaller letters; then optional columns are left out,
and at last the widest words are set in several lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

TEXT_WIDTH = 397.0
"""In points: of NeurIPS and ICLR; article has 345, Springer's LNCS 347, a column of two some 237."""
LOOKS = (("small", 9, 6.0), ("small", 9, 4.0), ("footnotesize", 8, 4.0), ("footnotesize", 8, 3.0))
"""Size of the letters, in points, and the gap at each side of a column, the best to read first."""
SMALLEST = ("scriptsize", 7, 2.0)
"""Size and gap if no further column can be left out."""
NARROWEST = 60.0
"""Smallest width in points of words in several lines."""
_WIDER = {9: 1.028, 8: 1.063, 7: 1.139}
"""How much wider than cmr10 a smaller font is for its size."""
_BOLD = 1.15
_GROUPS = {
    278: "ijlI.,:;!'[]|", 306: "f", 333: "- ", 361: "I", 389: "t()", 392: "r", 394: "s", 444: "ceaz",
    472: "?", 500: "aguvxo0123456789/_~", 528: "kqvxy", 556: "bdhnpuS", 625: "L", 653: "F", 681: "EPO",
    722: "wCTXVU", 736: "R", 750: "ABDHNUKG", 778: "+=@QOG&Δ±<>×÷", 833: "m%", 917: "M", 1028: "W",
}  # fmt: skip
"""Widths of letters in cmr10, in thousandths of its size; a letter in two groups counts as the wider one."""
_WIDTHS = {letter: width for width, letters in sorted(_GROUPS.items()) for letter in letters}
_OTHER = 800


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a printed table, in plain words."""

    head: str
    cells: tuple[str, ...]
    right: bool = False
    """Whether it is right-aligned, as numbers are."""
    optional: bool = False
    """Whether it may be left out if the table is too wide."""
    bold: frozenset[int] = field(default_factory=frozenset)
    """Rows whose cell is bold."""
    wrapped: float | None = None
    """Points in which its words are set in several lines."""

    def heads(self) -> tuple[str, str]:
        """The head in two lines, the second never empty: two where it is wider than what stands below."""
        words = self.head.split()
        widest = max((width(cell, 10) for cell in self.cells), default=0.0)
        if len(words) < 2 or width(self.head, 10) <= widest:
            return "", self.head
        cuts = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
        return min(cuts, key=lambda lines: max(width(line, 10) for line in lines))

    def points(self, size: int) -> float:
        """How wide it gets, without the gaps."""
        if self.wrapped is not None:
            return self.wrapped
        heads = [width(head, size) for head in self.heads()]
        return max([*heads, *(width(c, size, bold=i in self.bold) for i, c in enumerate(self.cells))])


class Above(NamedTuple):
    """A title above several columns."""

    text: str
    first: int
    """The first of its columns, from 0."""
    over: int
    """Number of columns below it."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A table after fitting."""

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]
    """Titles of columns that did not fit."""
    size: str
    """LaTeX command of the font size."""
    gap: float
    """`\\tabcolsep` in points."""
    over: float = 0.0
    """Points by which it is still too wide."""


def width(text: str, size: int, *, bold: bool = False) -> float:
    """Points that a text takes in letters of so many points, in Computer Modern."""
    thousandths = sum(_WIDTHS.get(letter, _OTHER) for letter in text)
    return thousandths / 1000 * size * _WIDER.get(size, 1.0) * (_BOLD if bold else 1.0)


def fit(columns: Sequence[Column], above: Sequence[Above] = (), *, text_width: float = TEXT_WIDTH) -> Fitted:
    """The columns in the largest letters in which they fit, fewer of them where that does not do.

    Args:
        above: heads above several columns each, none of which may then be left out.
        text_width: points that there are.
    """
    kept, left_out = list(columns), list[str]()
    while True:
        spare = [column for column in kept if column.optional and not above]
        for name, size, gap in LOOKS if spare else (*LOOKS, SMALLEST):
            if _total(kept, above, size, gap) <= text_width:
                return Fitted(columns=tuple(kept), left_out=tuple(left_out), size=name, gap=gap)
        if not spare:
            break
        # What is the same in every row tells a reader least, then what some rows lack; else the last goes.
        same = (column for column in spare if len(set(column.cells)) == 1)
        lacking = (column for column in reversed(spare) if "" in column.cells)
        gone = next(chain(same, lacking), spare[-1])
        left_out.append(gone.head)
        kept.remove(gone)
    name, size, gap = LOOKS[-1]
    wrapped = _wrapped(kept, above, size, gap, text_width)
    if (over := _total(wrapped, above, size, gap) - text_width) > 0:
        name, size, gap = SMALLEST
        wrapped = _wrapped(kept, above, size, gap, text_width)
        over = max(0.0, _total(wrapped, above, size, gap) - text_width)
    return Fitted(columns=wrapped, left_out=tuple(left_out), size=name, gap=gap, over=max(0.0, over))


def _total(columns: Sequence[Column], above: Sequence[Above], size: int, gap: float) -> float:
    """How wide a table gets; a head that is wider than its columns makes them wider."""
    points = [column.points(size) + 2 * gap for column in columns]
    heads = [width(one.text, size) - sum(points[one.first : one.first + one.over]) + 2 * gap for one in above]
    return sum(points) + sum(extra for extra in heads if extra > 0)


def _wrapped(
    columns: Sequence[Column], above: Sequence[Above], size: int, gap: float, text_width: float
) -> tuple[Column, ...]:
    """The same with words in several lines, the widest first, until they fit or no words are left."""
    found = list(columns)
    while (over := _total(found, above, size, gap) - text_width) > 0:
        wide = [
            i for i, c in enumerate(found) if c.wrapped is None and not c.right and c.points(size) > NARROWEST
        ]
        if not wide:
            break
        widest = max(wide, key=lambda i: found[i].points(size))
        room = max(NARROWEST, found[widest].points(size) - over)
        found[widest] = replace(found[widest], wrapped=math.floor(10 * room) / 10)
    return tuple(found)
