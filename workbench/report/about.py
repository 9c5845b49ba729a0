"""Texts of a figure outside its page: title, caption, the answer, provenance."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.answer.results import Answer
from workbench.report.page import provenance

STYLE = (
    "body{font:15px system-ui,sans-serif;color:#1f2328;max-width:75rem;margin:2rem auto;padding:0 1rem;"
    "line-height:1.45}h2{font-size:1rem}ul{padding-left:1.2rem}"
)


@dataclass(frozen=True, kw_only=True)
class About:
    """Texts beside figures of one study."""

    title: str
    """The question."""
    answer: str
    provenance: tuple[str, ...]
    """Study, runs, commit, data and versions, a line each."""

    def page(self, charts: Sequence[tuple[str, str]]) -> str:
        """A whole page of HTML. charts: caption and chart, which is HTML already, of each picture."""
        title = html.escape(self.title)
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.provenance)
        parts = [
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p>{html.escape(self.answer)}</p>",
            *(f"<h2>{html.escape(caption)}</h2>\n{chart}" for caption, chart in charts),
            f"<h2>Provenance</h2>\n<ul>{lines}</ul>",
            "</body></html>\n",
        ]
        return "\n".join(parts)

    def inside(self, caption: str) -> Mapping[str, str]:
        """The same for the inside of an image file, see `workbench.figures.paper.written`."""
        words = f"{caption} {self.answer} Provenance: {'; '.join(self.provenance)}."
        return {"title": self.title, "words": words}


def about(answer: Answer) -> About:
    """The texts beside the figures of an answer."""
    return About(title=answer.asked.question, answer=answer.sentence, provenance=tuple(provenance(answer)))
