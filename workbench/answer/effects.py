"""What each choice does on average over a full grid, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from workbench import naming, stats, tables
from workbench.answer import wording


def main_table(found: stats.FactorEffects, says: Mapping[str, str]) -> pl.DataFrame:
    """Every level of every axis: axis, choice, effect with its interval, p after Holm, all as words.

    says: axis -> how its choices are said, see `workbench.naming`.
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
