"""Whether the numbers in a saved table are still those of the runs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from workbench import tables, tasks
from workbench.answer import search
from workbench.answer.results import Answer
from workbench.errors import UserError
from workbench.report import macros, rows
from workbench.report.check.former import renewed, renewed_table
from workbench.report.page import (
    CELLS,
    CHOICES,
    CLAIMS,
    CONTRASTS,
    CROSSINGS,
    FRONT,
    MATTERED,
    ORDER,
    ORIGIN,
    OVER,
    lead,
    page,
)
from workbench.report.pivot import Pivot
from workbench.report.saved import Table, paragraphs, printed, read_csv, read_markdown, read_tex, unescaped
from workbench.report.share.markup import to_markdown

CLOSE = 1e-6
"""Relative difference that rounding on another machine may make in numbers with all digits."""
READERS = {".csv": read_csv, ".tex": read_tex, ".md": read_markdown, ".html": read_markdown}
ROWS_GO_BY = {
    CONTRASTS: ("contrast",), CLAIMS: ("claim",), MATTERED: ("axis",), CHOICES: ("axis", "choice"),
    ORIGIN: ("cell",), OVER: ("budget",), CROSSINGS: ("pair",), ORDER: ("budget",),
}  # fmt: skip
"""Columns that tell the rows of a table of the page apart; the others go by the axes."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found."""

    differences: tuple[str, ...]
    """A sentence each; empty when all matches."""
    compared: tuple[str, ...]
    """How much of which table was compared, in words."""


def check(answer: Answer, path: Path) -> Checked:
    """What no longer matches in a `.csv`, `.tex` or `.md` file, or in a page of `--share`.

    Rows may be left out of a saved table, and columns other than the metric; text around it may change. Every
    row that is there must be one of the report's, recognised by its axes (CSV: by its key), and so must every
    column, and every number that a file defines for prose (`macros`). Of `answer.md` all tables and the
    answer itself are compared; of another page the tables of cells and, under headings that name the study in
    backticks, those of its contrasts, claims, choices and curves.
    """
    text = _text(path)
    saved = raw = [renewed_table(table) for table in READERS[path.suffix](text)]
    defined = macros.read(text, answer) if path.suffix == ".tex" else {}
    if path.suffix == ".tex":
        saved = [_named(answer, table, printed) for table in saved]
        now = [_printed(answer, saved)]
    elif path.suffix == ".csv":
        now = read_csv(tables.to_csv(rows.exact(answer)))
    else:
        saved, now = (
            [_named(answer, t) for t in found] for found in (saved, read_markdown(page(answer, ())))
        )
    whole_page = any(table.heading == CELLS for table in saved)
    pairs = (
        list(_by_heading(saved, now))
        if whole_page
        else [*_cells_only(answer, saved, now), *_other_tables(answer, raw, now)]
    )
    differences = [
        f"the answer is now: {said}"
        for said in (lead(answer) if whole_page else ())
        if not paragraphs(unescaped(said)) <= paragraphs(renewed(unescaped(text)))
    ]
    compared = []
    for old, new in pairs:
        heading = old.heading if new is None else new.heading
        title = f"{heading}: " if whole_page or heading in ROWS_GO_BY else ""
        if new is None:
            differences.append(f"{title}this table is none of the report's")
            continue
        identity = _identity(answer, new)
        if heading in ROWS_GO_BY:
            needed = new.columns if whole_page else identity
        else:
            needed = (*identity, answer.metric)
        found, size = _compare(old, new, identity, needed)
        differences += [title + difference for difference in found]
        compared.append(title + size)
    if defined:
        found, size = _defined(defined, macros.macros(answer))
        differences += found
        compared.append(size)
    if not defined and not any(
        old.rows for old, new in pairs if new is not None and new.heading in ("", CELLS)
    ):
        raise UserError(f"{path} holds no table of study {answer.asked.name} that could be checked")
    return Checked(differences=tuple(differences), compared=tuple(compared))


def check_pivot(found: Pivot, path: Path) -> Checked:
    """What no longer matches in a table of that layout, see `check`."""
    text = _text(path)
    if path.suffix == ".html":
        raise UserError(f"{path} is a page, not a table in a layout; check it without --rows and such")
    [now] = READERS[path.suffix](
        {
            ".csv": lambda: tables.to_csv(found.exact()),
            ".tex": lambda: found.printed(()),
            ".md": lambda: tables.to_markdown(found.words()),
        }[path.suffix]()
    )
    identity = now.columns[: len(found.layout.rows)]
    others = set(now.columns) - set(identity)
    differences, compared = list[str](), list[str]()
    names = _former_heads(found) if path.suffix == ".md" else {}
    for read in map(renewed_table, READERS[path.suffix](text)):
        table = replace(read, columns=tuple(names.get(name, name) for name in read.columns))
        if set(identity) <= set(table.columns) and others & set(table.columns):
            more, size = _compare(table, now, identity, identity)
            differences += more
            compared.append(size)
    if not compared:
        raise UserError(f"{path} holds no table of study {found.asked.name} in the layout that was asked for")
    return Checked(differences=tuple(differences), compared=tuple(compared))


def _former_heads(found: Pivot) -> dict[str, str]:
    """Head that an earlier version gave a column of words -> its head now."""
    names = dict(found.down)
    for levels in found.across:
        pairs = zip(found.layout.columns, levels, strict=True)
        named = [f"{axis}={tables.number(value)}" for axis, value in pairs]
        for metric in found.metrics:
            names[" ".join([*named, tasks.metric(metric).head])] = found.head(levels, metric)
    return names


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if path.suffix not in READERS:
        raise UserError(f"--check must be given a file in {', '.join(READERS)}, not {path.name!r}")
    return to_markdown(text) if path.suffix == ".html" else text


def _defined(saved: Mapping[str, str], now: Mapping[str, str]) -> tuple[list[str], str]:
    """The differences of numbers for prose, and how many were compared."""
    found = [
        f"\\{name} was {said}, is now {now[name]}" if name in now else f"the report has no number \\{name}"
        for name, said in saved.items()
        if name not in now or said != printed(now[name])
    ]
    return found, f"{len(saved)} of {len(now)} numbers for prose"


def _named(answer: Answer, table: Table, read: Callable[[str], str] = str) -> Table:
    """A table about cells with the names of its columns in place of their heads, those of print and of
    earlier versions as well. read: what the form of the file makes of a name."""
    names = rows.former_heads(answer)
    for heads in (rows.print_heads(answer), rows.heads(answer), search.front_heads(answer.asked)):
        names |= {read(head): name for name, head in heads.items()}
    if table.heading in ROWS_GO_BY:
        return table
    return replace(table, columns=tuple(read(names.get(column, column)) for column in table.columns))


def _printed(answer: Answer, saved: Sequence[Table]) -> Table:
    """The whole table as it would be printed, with columns without any value where a saved table has them."""
    content, there = rows.named(answer), {name for table in saved for name in table.columns}
    names = [name for name in rows.heads(answer) if any(content[name]) or printed(name) in there]
    found = content.select(names)
    return Table(
        heading="",
        columns=tuple(map(printed, names)),
        rows=tuple(tuple(map(printed, row)) for row in found.iter_rows()),
    )


def _by_heading(saved: Sequence[Table], now: Sequence[Table]) -> Iterator[tuple[Table, Table | None]]:
    """Each saved table of a page with the one in the same place under the same heading."""
    seen: Counter[str] = Counter()
    for table in saved:
        there = [new for new in now if new.heading == table.heading]
        at = seen[table.heading]
        seen[table.heading] += 1
        yield table, there[at] if at < len(there) else None


def _cells_only(
    answer: Answer, saved: Sequence[Table], now: Sequence[Table]
) -> Iterator[tuple[Table, Table | None]]:
    """The tables of any other file that are about the cells, whatever else the file holds; where a heading
    names the study in backticks, those under such headings, so that one page can hold several studies."""
    new = next(table for table in now if table.heading in ("", CELLS))
    wanted = set(_identity(answer, new))
    for table in _of_study(answer, saved) or saved:
        if answer.metric in table.columns or (wanted and wanted <= set(table.columns)):
            yield table, new


def _other_tables(
    answer: Answer, saved: Sequence[Table], now: Sequence[Table]
) -> Iterator[tuple[Table, Table]]:
    """Tables under headings that name the study in backticks, whose columns are those of a table of the
    report that is not about the cells, such as its contrasts."""
    for table in _of_study(answer, saved):
        for new in now:
            identity = ROWS_GO_BY.get(new.heading)
            if identity is not None and set(identity) <= set(table.columns) <= set(new.columns):
                yield table, new


def _of_study(answer: Answer, saved: Sequence[Table]) -> list[Table]:
    """Tables under headings that name the study in backticks."""
    return [table for table in saved if f"`{answer.asked.name}`" in table.heading]


def _identity(answer: Answer, now: Table) -> tuple[str, ...]:
    """Names of the columns by which rows are recognised."""
    if now.heading in ROWS_GO_BY:
        return ROWS_GO_BY[now.heading]
    if "key" in now.columns[:1]:
        return ("key",)
    # The axes come first, under names that LaTeX may have changed.
    return now.columns[: now.columns.index(answer.asked.cost if now.heading == FRONT else "seeds")]


def _compare(
    saved: Table, now: Table, identity: Sequence[str], needed: Sequence[str]
) -> tuple[list[str], str]:
    """The differences of one table, and how much of it was compared.

    identity: columns by which rows are recognised; needed: those that may not be left out.
    """
    missing = [name for name in needed if name not in saved.columns]
    found = [f"the column {name} is missing" for name in missing]
    for name, times in Counter(saved.columns).items():
        if name not in now.columns:
            found.append(f"the report has no column {name or 'without a name'}")
        elif times > 1:
            found.append(f"the column {name} is there {times} times")
    names = [name for name in dict.fromkeys(saved.columns) if name in now.columns and name not in identity]
    compared = 0
    if not set(identity) & set(missing):
        known = {_key(identity, row): row for row in _dicts(now)}
        whole = [row for row in saved.rows if len(row) == len(saved.columns)]
        for row in _dicts(saved, whole):
            found += _row_differences(row, known.get(_key(identity, row)), identity, names)
            compared += 1
    found += [
        f"the row {' | '.join(row)[:60]!r} has {len(row)} fields, the head of the table {len(saved.columns)}"
        for row in saved.rows
        if len(row) != len(saved.columns)
    ]
    size = f"{compared} of {len(now.rows)} rows x {len(names)} of {len(now.columns) - len(identity)} columns"
    return found, size


def _row_differences(
    row: dict[str, str], now: dict[str, str] | None, identity: Sequence[str], names: Sequence[str]
) -> list[str]:
    where = " ".join(f"{name}={row[name]}" for name in identity) or "the cell"
    if now is None:
        return [f"{where}: in the saved table, but there is no such row (no such cell with complete runs)"]
    return [
        f"{where}: {name or 'the note'} was {row[name] or 'empty'}, is now {now[name] or 'empty'}"
        for name in names
        if not _same(row[name], now[name])
    ]


def _key(identity: Sequence[str], row: dict[str, str]) -> tuple[str, ...]:
    """The fields by which a row is recognised; 0.5 and 0.50 are one number."""
    return tuple(_number(row[name]) or row[name] for name in identity)


def _number(text: str) -> str:
    """A number in one form; empty for other words."""
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return ""


def _dicts(table: Table, some: Sequence[Sequence[str]] | None = None) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in (table.rows if some is None else some)]


def _same(a: str, b: str) -> bool:
    """Equal words; equal numbers, as far as the one with fewer decimals tells, since an earlier version gave
    the numbers of a column other decimals, an interval among them."""
    if a == b:
        return True
    parts = [_NUMBERS.split(text) for text in (a, b)]
    if parts[0][::2] != parts[1][::2]:
        return False
    return all(_near(one, other) for one, other in zip(parts[0][1::2], parts[1][1::2], strict=True))


_NUMBERS = re.compile(r"((?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]))")


def _near(a: str, b: str) -> bool:
    x, y = float(a), float(b)
    if math.isclose(x, y, rel_tol=CLOSE, abs_tol=1e-9):
        return True
    digits = [-int(Decimal(text).as_tuple().exponent) for text in (a, b)]
    if min(digits) < 0:
        return False
    return abs(x - y) <= 0.5000001 * 10.0 ** -min(digits)
