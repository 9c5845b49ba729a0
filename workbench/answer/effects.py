"""What each choice does on average over a full grid: in a sentence, as tables, and what they rest on."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from workbench import stats, tables
from workbench.stats.compare import LEVEL

MOST_TOLD = 4
"""Levels or pairs that a sentence names."""


def sentence(found: stats.FactorEffects, metric: str) -> str:
    """Which axes matter, and which of them act together; empty where nothing was tested (one seed)."""
    if not tested(found):
        return ""
    told: dict[str, list[stats.Effect]] = {}
    for effect in _main(found):
        told.setdefault(effect.factors[0], []).extend([effect] if _told(effect) else [])
    parts = [f"{axis} matters: {_listed(levels)}" for axis, levels in told.items() if levels]
    if silent := [axis for axis, levels in told.items() if not levels]:
        parts.append(f"no main effect of {' or '.join(silent)} is distinguishable")
    scale = f" ({_in(metric)} from the mean of all cells; told after Holm)" if any(told.values()) else ""
    text = f"On average over the other choices, {'; '.join(parts)}{scale}."
    if joint := [effect for effect in _joint(found) if _told(effect)]:
        return f"{text} Beyond that, together: {_listed(joint)}."
    return f"{text} No interaction of two axes is distinguishable."


def _listed(effects: Sequence[stats.Effect]) -> str:
    """The largest ones, with their intervals."""
    largest = sorted(effects, key=lambda effect: -abs(effect.effect))[:MOST_TOLD]
    more = f" and {len(effects) - len(largest)} more" if len(effects) > len(largest) else ""
    return ", ".join(f"{_levels(effect)} by {_size(effect)}" for effect in largest) + more


def _levels(effect: stats.Effect) -> str:
    if len(effect.levels) == 1:
        return tables.number(effect.levels[0])
    pairs = zip(effect.factors, effect.levels, strict=True)
    return " with ".join(f"{factor}={tables.number(level)}" for factor, level in pairs)


def _size(effect: stats.Effect) -> str:
    i = effect.interval
    return f"{effect.effect:+.1f}" + (f" ({i.low:+.1f} to {i.high:+.1f})" if i is not None else "")


def tested(found: stats.FactorEffects) -> bool:
    """Whether there are intervals and tests at all: not with one seed, nor with seeds that agree in all."""
    return any(effect.p is not None for effect in found.effects)


def main_table(found: stats.FactorEffects) -> pl.DataFrame:
    """Every level of every axis."""
    return _table(_main(found))


def joint_table(found: stats.FactorEffects) -> pl.DataFrame | None:
    """The pairs of levels that are distinguishable; None without any."""
    joint = [effect for effect in _joint(found) if _told(effect)]
    return _table(joint) if joint else None


def legend(found: stats.FactorEffects, metric: str) -> str:
    """What `main_table` shows and over which seeds."""
    return (
        f"Mean of the cells with this choice minus the mean of all cells, {_in(metric)}, {certainty(found)}. "
        f"{seeds(found)}"
    )


def certainty(found: stats.FactorEffects) -> str:
    """What intervals and p values there are, in words."""
    if tested(found):
        kinds = {effect.interval.kind for effect in found.effects if effect.interval is not None}
        over = "seeds and queries" if "seeds+queries" in kinds else "seeds"
        return f"with 95 % intervals over {over}; p after Holm over the choices of one axis or pair"
    if len(found.seeds) == 1:
        return "one seed: no interval and no test"
    return "all seeds gave the same answers and count as one: no interval and no test"


def seeds(found: stats.FactorEffects) -> str:
    """Which seeds were used, and how many runs of which seeds were not, as a sentence."""
    used = f"Seeds used: {', '.join(map(str, found.seeds))}"
    if not found.unused_seeds:
        return f"{used}."
    unused = sorted({seed for left in found.unused_seeds.values() for seed in left})
    runs = sum(len(left) for left in found.unused_seeds.values())
    return (
        f"{used}; left out {'was' if runs == 1 else 'were'} {runs} run{'' if runs == 1 else 's'} of seed"
        f"{'' if len(unused) == 1 else 's'} {', '.join(map(str, unused))}, which not every cell has."
    )


def _in(metric: str) -> str:
    unit = stats.unit(metric)
    return unit if unit.startswith("in ") else f"in {unit}"


def _main(found: stats.FactorEffects) -> list[stats.Effect]:
    return [effect for effect in found.effects if len(effect.factors) == 1]


def _joint(found: stats.FactorEffects) -> list[stats.Effect]:
    return [effect for effect in found.effects if len(effect.factors) == 2]


def _told(effect: stats.Effect) -> bool:
    return effect.p_adjusted is not None and effect.p_adjusted < 1 - LEVEL


def _table(effects: Sequence[stats.Effect]) -> pl.DataFrame:
    def interval(effect: stats.Effect) -> str:
        i = effect.interval
        return "" if i is None else f" [{i.low:+.1f}, {i.high:+.1f}]"

    return pl.DataFrame(
        {
            "axis": [" x ".join(e.factors) for e in effects],
            "choice": [" x ".join(tables.number(level) for level in e.levels) for e in effects],
            "effect": [f"{e.effect:+.1f}{interval(e)}" for e in effects],
            "p": ["" if e.p_adjusted is None else f"{e.p_adjusted:.2g}" for e in effects],
        }
    )
