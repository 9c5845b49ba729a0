"""What each choice does on average over a full grid, as tables."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from workbench import stats, tables


def main_table(found: stats.FactorEffects) -> pl.DataFrame:
    """Every level of every axis: axis, choice, effect with its interval, p after Holm, all as words."""
    return _table(found.of_one_axis)


def joint_table(found: stats.FactorEffects) -> pl.DataFrame | None:
    """The pairs of levels that are distinguishable, with the same columns; None without any."""
    joint = [effect for effect in found.of_two_axes if effect.distinguishable]
    return _table(joint) if joint else None


def _table(effects: Sequence[stats.Effect]) -> pl.DataFrame:
    def interval(effect: stats.Effect) -> str:
        i = effect.shown
        return "" if i is None else f" [{i.low:+.1f}, {i.high:+.1f}]"

    return pl.DataFrame(
        {
            "axis": [" x ".join(e.factors) for e in effects],
            "choice": [" x ".join(tables.number(level) for level in e.levels) for e in effects],
            "effect": [f"{e.effect:+.1f}{interval(e)}" for e in effects],
            "p": ["" if e.p_adjusted is None else f"{e.p_adjusted:.2g}" for e in effects],
        }
    )
