"""Results of the notebook functions: answers, their cells and comparisons. Notebooks display them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench import stats, tables
from workbench.answer import wording
from workbench.answer.results import Answer
from workbench.errors import UserError
from workbench.report import page, rows
from workbench.report.share.markup import to_html


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of an answer, as an argument of `compare`."""

    said: StudyAnswer
    key: str

    def __repr__(self) -> str:
        return f"<cell {self.said.answer.asked.labels[self.key]}>"


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """The answer of a study; a notebook displays it as the report does."""

    answer: Answer
    """The complete answer, see `workbench.answer.results`."""

    @property
    def sentence(self) -> str:
        """The answer as a sentence."""
        return self.answer.sentence

    @property
    def caveats(self) -> tuple[str, ...]:
        """Its limitations, a sentence each."""
        return self.answer.caveats

    @property
    def cells(self) -> pl.DataFrame:
        """One row for each cell with all digits, as in the report's `table.csv`."""
        return rows.exact(self.answer)

    @property
    def best(self) -> Cell:
        """The cell selected by val."""
        return self._known(self.answer.best, "no cell has a complete run that was evaluated on val")

    @property
    def baseline(self) -> Cell:
        """The cell that the others are compared with."""
        return self._known(self.answer.asked.baseline, f"study {self.answer.asked.name} has no baseline")

    def cell(self, **axes: Any) -> Cell:
        """The cell with these choices, such as `video_ratio=0.9`. Raises `UserError` for none or several."""
        asked = self.answer.asked
        for axis in axes:
            if axis not in asked.axes:
                raise UserError(
                    f"study {asked.name} has no axis {axis!r}; its axes are {', '.join(asked.axes)}"
                )
        found = [
            key
            for key, chosen in asked.cells.items()
            if all(axis in chosen and chosen[axis] == value for axis, value in axes.items())
        ]
        if len(found) == 1:
            return Cell(said=self, key=found[0])
        given = ", ".join(f"{axis}={value!r}" for axis, value in axes.items()) or "no choice"
        some = "; ".join(asked.labels[key] for key in (found or list(asked.cells))[:6])
        many = f"{len(found)} cells" if found else "no cell"
        raise UserError(f"{many} of study {asked.name} with {given}; there are {some}")

    def _known(self, key: str | None, otherwise: str) -> Cell:
        if key is None:
            raise UserError(otherwise)
        return Cell(said=self, key=key)

    def _repr_markdown_(self) -> str:
        return page.page(self.answer, ())

    def _repr_html_(self) -> str:
        return to_html(self._repr_markdown_())

    def __repr__(self) -> str:
        return f"{tables.to_text(rows.readable(self.answer))}\n\n{self.sentence}"


@dataclass(frozen=True, kw_only=True)
class CellComparison:
    """One cell minus another. The user chose both, so the difference is not a claim."""

    a: Cell
    b: Cell
    comparison: stats.Comparison
    """Paired by seed and query, without a test; see `workbench.stats.compare`."""
    settings: pl.DataFrame
    """Settings of the configuration in which the cells differ."""

    @property
    def sentence(self) -> str:
        """The difference with its interval."""
        return f"{wording.comparison(self.comparison)}."

    def _repr_markdown_(self) -> str:
        settings = f"\n\n{tables.to_markdown(self.settings)}" if self.settings.height else ""
        return f"{page.plain(self.sentence)}{settings}\n"

    def _repr_html_(self) -> str:
        return to_html(self._repr_markdown_())

    def __repr__(self) -> str:
        return f"{self.sentence}\n\n{tables.to_text(self.settings)}"
