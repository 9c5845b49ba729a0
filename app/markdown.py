"""Escaping of texts for Markdown."""

from __future__ import annotations

import re

_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")
_LINK = re.compile(r"(://|www(?=\.)|@)")


def escaped(text: str) -> str:
    """Any text for Markdown, on one line: no markup, no HTML, no LaTeX, no link acts."""
    words = " ".join(text.split())
    # A word joiner (no width, no break) keeps bare addresses from becoming links.
    return _MARKUP.sub(r"\\\1", _LINK.sub("\\1\u2060", words))
