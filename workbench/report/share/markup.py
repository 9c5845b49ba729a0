"""The Markdown that reports are made of as HTML, and back.

Reports use few forms: headings, paragraphs, bold paragraphs, lists and tables, with a backslash before what
is no markup. Whatever else stands in a text stays a text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from workbench.report.page import plain

_RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")
_BARS = re.compile(r"(?<!\\)\|")
_BOLD = re.compile(r"\*\*(.*[^\\])\*\*")
_MARK = re.compile(r"\\(.)")
BLOCKS = ("h1", "h2", "h3", "p", "li", "th", "td")
"""Elements whose text `to_markdown` reads; it passes over all others, figures and scripts among them."""


def to_html(markdown: str) -> str:
    """HTML of a report's text; names in it come from files, and nothing of them acts as markup."""
    blocks = (block.strip("\n") for block in re.split(r"\n\s*\n", markdown))
    return "\n".join(_block(block.splitlines()) for block in blocks if block.strip())


def to_markdown(page: str) -> str:
    """The headings, paragraphs, lists and tables of a page, as `answer.md` has them."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return "\n\n".join(reader.blocks) + "\n"


def _block(lines: Sequence[str]) -> str:
    first = lines[0]
    level = len(first) - len(first.lstrip("#"))
    if 0 < level <= 3 and len(lines) == 1:
        return f"<h{level}>{_text(first[level:])}</h{level}>"
    if len(lines) > 1 and first.startswith("|") and _RULE.fullmatch(lines[1].strip()):
        return _table(lines)
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_text(line[2:])}</li>" for line in lines) + "</ul>"
    text = " ".join(lines)
    if (bold := _BOLD.fullmatch(text)) is not None:
        return f"<p><strong>{_text(bold[1])}</strong></p>"
    return f"<p>{_text(text)}</p>"


def _table(lines: Sequence[str]) -> str:
    head, rule, *rows = (_fields(line) for line in lines)
    sides = [' class="number"' if field.endswith(":") else "" for field in rule]

    def row(fields: Sequence[str], element: str) -> Iterator[str]:
        yield "<tr>"
        for field, side in zip(fields, sides, strict=False):
            yield f"<{element}{side}>{_text(field)}</{element}>"
        yield "</tr>"

    body = "\n".join("".join(row(fields, "td")) for fields in rows)
    top = "".join(row(head, "th"))
    return f'<div class="wide"><table>\n<thead>{top}</thead>\n<tbody>{body}</tbody>\n</table></div>'


def _fields(line: str) -> list[str]:
    return [field.strip() for field in _BARS.split(line.strip().removeprefix("|").removesuffix("|"))]


def _text(text: str) -> str:
    return html.escape(_MARK.sub(r"\1", text.strip()))


class _Reader(HTMLParser):
    """Collects blocks as Markdown."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._inside = ""
        self._text: list[str] = []
        self._rows: list[list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "table":
            self._rows = []
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in BLOCKS:
            self._inside, self._text = tag, []

    def handle_data(self, data: str) -> None:
        if self._inside:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "table" and self._rows is not None:
            self.blocks += _lines(self._rows)
            self._rows = None
        elif tag == self._inside:
            text, self._inside = plain("".join(self._text)), ""
            if tag in ("th", "td"):
                if self._rows:
                    self._rows[-1].append(text)
            elif text:
                mark = {"h1": "# ", "h2": "## ", "h3": "### ", "li": "- "}.get(tag, "")
                self.blocks.append(mark + text)


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as one block; none without a head."""
    if not rows or not rows[0]:
        return []
    head, *rest = (f"| {' | '.join(fields)} |" for fields in rows)
    return ["\n".join([head, "|" + " --- |" * len(rows[0]), *rest])]
