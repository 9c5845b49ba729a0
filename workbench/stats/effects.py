"""Factor effects of a full grid: what each choice does on average, and which choices interact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from workbench.errors import UserError
from workbench.stats.compare import LEVEL, holm
from workbench.stats.components import Estimate, estimate, half_width, p_values
from workbench.stats.inputs import Array, Runs, Table, check_same_queries, tabulate
from workbench.stats.intervals import Interval

Level = str | float | int | bool


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one level (or pair of levels) adds.

    Main effect: mean of the cells with this level minus the mean of all cells. Interaction: what
    the pair of levels adds beyond its two main effects. Sums to zero over the levels of a factor.
    """

    factors: tuple[str, ...]
    """One name for a main effect, two for an interaction."""
    levels: tuple[Level, ...]
    effect: float
    interval: Interval | None
    """None with one seed. Seeds+queries as in `Comparison.interval`, without correction."""
    p: float | None
    p_adjusted: float | None
    """Holm over the levels of this term (one factor, or one pair of factors)."""

    @property
    def distinguishable(self) -> bool:
        """Whether it is told from zero after Holm."""
        return self.p_adjusted is not None and self.p_adjusted < 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class FactorEffects:
    """All main effects and interactions of a grid."""

    effects: tuple[Effect, ...]
    seeds: tuple[int, ...]
    """Seeds that every cell has; only these are used."""
    unused_seeds: dict[tuple[Level, ...], tuple[int, ...]]
    """Levels of a cell -> its seeds that another cell lacks."""

    @property
    def tested(self) -> bool:
        """Whether there are intervals and tests: not with one seed, nor with seeds that agree in all."""
        return any(effect.p is not None for effect in self.effects)

    @property
    def of_one_axis(self) -> tuple[Effect, ...]:
        """Main effects."""
        return tuple(effect for effect in self.effects if len(effect.factors) == 1)

    @property
    def of_two_axes(self) -> tuple[Effect, ...]:
        """Interactions."""
        return tuple(effect for effect in self.effects if len(effect.factors) == 2)


def factor_effects(
    cells: Mapping[tuple[Level, ...], Runs],
    factors: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
) -> FactorEffects:
    """Main effects and two-way interactions of a full grid, computed for each seed as a block.

    cells: levels of the factors, in their order -> runs. Raises UserError for an incomplete grid.
    """
    grid = _levels(cells, factors)
    keys = list(product(*grid))
    tables = [tabulate(cells[key], groups, name=_label(factors, key)) for key in keys]
    check_same_queries(tables)
    seeds = tuple(s for s in tables[0].seeds if all(s in t.seeds for t in tables))
    if not seeds:
        raise UserError("the cells of the grid share no seed, so no seed block is complete")
    values = np.stack([t.at(seeds) for t in tables])  # [cells, n, C]
    values = values.reshape(*(len(levels) for levels in grid), *values.shape[1:])
    axes = range(len(factors))
    effects = [
        effect
        for size in (1, 2)
        for term in combinations(axes, size)
        if all(len(grid[axis]) > 1 for axis in term)
        for effect in _term(values, term, factors, grid, tables[0].sizes, level)
    ]
    return FactorEffects(effects=tuple(effects), seeds=seeds, unused_seeds=_unused(keys, tables, seeds))


def _term(
    values: Array, term: tuple[int, ...], factors: Sequence[str],
    grid: Sequence[Sequence[Level]], sizes: Array, level: float,
) -> list[Effect]:  # fmt: skip
    """All levels of one main effect or interaction."""
    others = tuple(axis for axis in range(len(factors)) if axis not in term)
    contrast = values.mean(axis=others) if others else values
    for axis in range(len(term)):
        contrast = contrast - contrast.mean(axis=axis, keepdims=True)
    contrast = contrast.reshape(-1, *contrast.shape[-2:])  # [levels, n, C]
    names = tuple(factors[axis] for axis in term)
    levels = list(product(*(grid[axis] for axis in term)))
    # Seeds that all give the same answers are one seed.
    repeated = bool(np.all(values == values[..., :1, :]))
    found = None if repeated else estimate(contrast, sizes)
    if found is None or not found.error.any():
        return [
            Effect(factors=names, levels=key, effect=float(c.mean(0).sum() / sizes.sum()),
                   interval=None, p=None, p_adjusted=None)
            for key, c in zip(levels, contrast, strict=True)
        ]  # fmt: skip
    p = np.where(found.error > 0, p_values(found), 1.0)
    return [
        Effect(
            factors=names, levels=key, effect=float(found.effect[i]),
            interval=_interval(found, i, level), p=float(p[i]), p_adjusted=float(adjusted),
        )
        for i, (key, adjusted) in enumerate(zip(levels, holm(p), strict=True))
    ]  # fmt: skip


def _interval(found: Estimate, i: int, level: float) -> Interval:
    half, effect = float(half_width(found, 1 - level)[i]), float(found.effect[i])
    both = found.clusters > 1
    return Interval(
        low=effect - half, high=effect + half, level=level,
        kind="seeds+queries" if both else "seeds", n=found.seeds,
    )  # fmt: skip


def _levels(cells: Mapping[tuple[Level, ...], Runs], factors: Sequence[str]) -> list[list[Level]]:
    """The levels of each factor, sorted; UserError unless every combination is there."""
    if not cells or any(len(key) != len(factors) for key in cells):
        raise UserError(f"every cell needs one level for each of the factors {', '.join(factors)}")
    grid = [sorted({key[i] for key in cells}, key=_order) for i in range(len(factors))]
    missing = [key for key in product(*grid) if key not in cells]
    if missing:
        raise UserError(
            f"factor effects need a full grid; {len(missing)} cells are missing, "
            f"the first is {_label(factors, missing[0])}"
        )
    return grid


def _order(level: Level) -> tuple[bool, float, str]:
    """Numbers by size, before words."""
    return (True, 0.0, level) if isinstance(level, str) else (False, float(level), "")


def _label(factors: Sequence[str], key: tuple[Level, ...]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(factors, key, strict=True))


def _unused(
    keys: Sequence[tuple[Level, ...]], tables: Sequence[Table], seeds: tuple[int, ...]
) -> dict[tuple[Level, ...], tuple[int, ...]]:
    rest = {k: tuple(s for s in t.seeds if s not in seeds) for k, t in zip(keys, tables, strict=True)}
    return {key: left for key, left in rest.items() if left}
