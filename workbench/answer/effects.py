"""Average effects of choices: tables, and effects over an incomplete grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from workbench import naming, stats, tables
from workbench.answer import wording
from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError
from workbench.naming import Value

MOST_MISSING = 4
"""Largest number of cells that a sentence names."""


def main_table(found: stats.FactorEffects, says: Mapping[str, str]) -> pl.DataFrame:
    """Every level of every axis: axis, choice, effect with its interval, p after Holm, all as words.

    says: axis -> wording of its choices, see `workbench.naming`.
    """
    return _table(found.of_one_axis, says)


def joint_table(found: stats.FactorEffects, says: Mapping[str, str]) -> pl.DataFrame | None:
    """The pairs of levels that are distinguishable, with the same columns; None without any."""
    joint = [effect for effect in found.of_two_axes if effect.distinguishable]
    return _table(joint, says) if joint else None


def _table(effects: Sequence[stats.Effect], says: Mapping[str, str]) -> pl.DataFrame:
    def interval(effect: stats.Effect) -> str:
        i = effect.shown
        return "" if i is None else f" [{i.low:+.1f}, {i.high:+.1f}]"

    return pl.DataFrame(
        {
            "axis": [" x ".join(naming.axis(factor, says) for factor in e.factors) for e in effects],
            "choice": [" x ".join(tables.number(level) for level in e.levels) for e in effects],
            "effect": [f"{e.effect:+.1f}{interval(e)}" for e in effects],
            "p": [wording.p_value(e.p_adjusted) for e in effects],
        }
    )


def over_holes(
    asked: StudyRecord, usable: Mapping[str, stats.Runs], groups: Sequence[str] | None
) -> stats.FactorEffects | None:
    """Main effects over the cells that share levels, without a test, because no study has planned them.

    None for a full grid, whose effects are computed elsewhere, a search, one seed, and missing runs.
    """
    axes, cells = _with_holes(asked)
    if not axes or len(usable) < len(asked.cells):
        return None
    runs = {levels: usable[key] for levels, key in cells.items()}
    try:
        found = stats.shared_effects(runs, axes, groups=groups, reach=asked.measure.reach)
    except UserError:  # reported by `refusal`, or by the caveats on missing runs
        return None
    kept = tuple(effect for effect in found.effects if not set(effect.factors) <= set(asked.within))
    return None if not kept or len(found.seeds) < 2 else replace(found, effects=kept)


def refusal(asked: StudyRecord) -> list[str]:
    """A sentence on the axes of an incomplete grid without average effects: the cells that they lack."""
    axes, cells = _with_holes(asked)
    lacking = {axis: missing for i, axis in enumerate(axes) if (missing := stats.blocks(list(cells), i)[1])}
    if not lacking or len(asked.seeds) < 2:
        return []
    parts = []
    for axis, missing in lacking.items():
        named = [
            " ".join(f"{name}={tables.number(v)}" for name, v in zip(axes, key, strict=True) if v is not None)
            for key in missing
        ]
        more = f" and {len(named) - MOST_MISSING} more" if len(named) > MOST_MISSING else ""
        parts.append(f"{axis} lacks {', '.join(named[:MOST_MISSING])}{more}")
    return [
        "No effect on average of an axis of which nowhere all choices stand beside the same others: "
        f"{'; '.join(parts)}."
    ]


def _with_holes(asked: StudyRecord) -> tuple[list[str], dict[tuple[Value, ...], str]]:
    """Axes that vary, and levels of them -> key of the cell; no axes for a full grid and for a search."""
    levels = {axis: {cell.get(axis) for cell in asked.cells.values()} for axis in asked.axes}
    axes = [axis for axis, found in levels.items() if len(found) > 1]
    cells = {tuple(cell.get(axis) for axis in axes): key for key, cell in asked.cells.items()}
    full = math.prod(len(levels[axis]) for axis in axes) == len(cells) and not any(
        None in levels[axis] for axis in axes
    )
    return ([] if asked.search or full or len(axes) < 2 else axes), cells
