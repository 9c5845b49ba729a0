"""Parallel coordinates: every cell is a line through its choices, its cost and its metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from workbench import naming
from workbench.figures.interactive import FONT
from workbench.figures.style import SCALE, label, safe, value_text

EQUAL = 0.02
"""Numbers that differ by less, relatively, are equal by design."""
LONGEST = 12
"""Number of characters to which the name of a level is truncated."""
NONE = "–"
"""Shown for a cell that lacks an axis."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One vertical axis and the position of each cell on it."""

    name: str
    """In words."""
    values: tuple[float, ...]
    ticks: tuple[str, ...] = ()
    """Words at 0, 1, 2, ... if the values are levels; empty if they are numbers."""

    def scaled(self) -> list[float]:
        """The values between 0 and 1."""
        low, high = self._range()
        return [(value - low) / (high - low) for value in self.values]

    def marks(self) -> list[tuple[float, str]]:
        """Places between 0 and 1 with their words: every level, or the ends of the numbers."""
        low, high = self._range()
        if self.ticks:
            return [((i - low) / (high - low), text) for i, text in enumerate(self.ticks)]
        return [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]

    def _range(self) -> tuple[float, float]:
        low, high = min(self.values), max(self.values)
        if self.ticks:
            low, high = 0.0, float(len(self.ticks) - 1)
        return (low, high) if high > low else (low - 0.5, high + 0.5)


def dimensions(
    cells: pl.DataFrame, axes: Sequence[str], numbers: Sequence[str], says: Mapping[str, str] | None = None
) -> list[Dimension]:
    """The axes that vary, then the numbers that every cell has, of the cells whose last number is known.

    cells: see `workbench.tables.cell_table`; numbers: full names; says: axis -> how its
    choices are said, see `workbench.naming`. Levels stand in order, numbers by size and words as planned.
    """
    known = cells.filter(pl.col(numbers[-1]).is_not_null())
    found = []
    for axis in axes:
        if axis not in known.columns or known[axis].n_unique() < 2:
            continue
        levels = known[axis].drop_nulls().unique(maintain_order=True)
        words = [value_text(level) for level in (levels.sort() if levels.dtype.is_numeric() else levels)]
        words = [NONE, *words] if known[axis].null_count() else words
        level_of = {word: float(i) for i, word in enumerate(words)}
        values = tuple(NONE if value is None else value_text(value) for value in known[axis])
        found.append(
            Dimension(
                name=naming.axis(axis, says or {}),
                values=tuple(level_of[v] for v in values),
                ticks=tuple(words),
            )
        )
    for name in dict.fromkeys(numbers):
        column = known[name].cast(pl.Float64).to_list() if name in known.columns else []
        if column and None not in column and (name == numbers[-1] or _varies(column)):
            found.append(Dimension(name=label(name), values=tuple(column)))
    return found


def _varies(values: Sequence[float]) -> bool:
    """Not so where numbers are equal by design, as the FLOPs of all arms."""
    return max(values) - min(values) > EQUAL * max(abs(value) for value in values)


def parallel_figure(dimensions: Sequence[Dimension]) -> go.Figure:
    """Lines that can be filtered by drawing over an axis; the last dimension colours them."""
    drawn = []
    for dimension in dimensions:
        ticks = {
            "tickvals": list(range(len(dimension.ticks))),
            "ticktext": [safe(t) for t in dimension.ticks],
        }
        drawn.append(
            {"label": safe(dimension.name), "values": [float(f"{v:.4g}") for v in dimension.values]}
            | (ticks if dimension.ticks else {"tickformat": "~g"})
        )
    colour = {
        "color": list(dimensions[-1].values),
        "colorscale": [[0, SCALE[0]], [1, SCALE[1]]],
        "showscale": True,
    }
    figure = go.Figure(go.Parcoords(line=colour, dimensions=drawn, labelangle=-8))
    return figure.update_layout(font=FONT, height=460, margin={"t": 110, "l": 80, "r": 60, "b": 30})
