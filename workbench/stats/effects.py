"""Factor effects of a full grid: the average effect of each choice, and interactions."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import numpy as np

from workbench.errors import UserError
from workbench.stats.compare import LEVEL, Comparison, adjust
from workbench.stats.components import Estimate, estimate, p_values
from workbench.stats.families import ALPHA, Family, corrected
from workbench.stats.inputs import Array, Runs, Table, check_same_queries, tabulate
from workbench.stats.intervals import Interval, both_interval

Level = str | float | int | bool


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one level (or pair of levels).

    A main effect is the mean of the cells with this level minus the mean of all cells. An interaction is the
    effect of a pair of levels beyond its two main effects. Effects sum to zero over the levels of a factor.
    """

    factors: tuple[str, ...]
    """One name for a main effect, two for an interaction."""
    levels: tuple[Level, ...]
    effect: float
    interval: Interval | None
    """None with one seed. Seeds+queries as in `Comparison.interval`, without correction."""
    p: float | None
    estimate: Estimate | None = None
    reach: float | None = None
    """Largest possible effect; intervals are limited to it."""
    p_adjusted: float | None = None
    """p after Holm's correction over the family; None if the effect is shown without a test."""
    alpha: float = ALPHA
    """Level of the family; an effect is significant if its adjusted p is below it."""
    claimed_interval: Interval | None = None
    """Interval of a claim, see `Comparison.claimed_interval`."""

    @property
    def shown(self) -> Interval | None:
        """The interval to show: that of the claim if it is one, else the uncorrected one."""
        return self.claimed_interval or self.interval

    @property
    def distinguishable(self) -> bool:
        """Whether it is significant after correction."""
        return self.p_adjusted is not None and self.p_adjusted < self.alpha

    def judged(self, p_adjusted: float, claimed: float, alpha: float) -> Effect:
        """The effect with its corrected p and, if it is then a claim, its interval at the level `claimed`."""
        found = replace(self, p_adjusted=p_adjusted, claimed_interval=None, alpha=alpha)
        if not found.distinguishable or found.estimate is None:
            return found
        interval = both_interval(found.estimate, claimed)
        return replace(found, claimed_interval=interval.within(*_limits(found.reach)))


@dataclass(frozen=True, kw_only=True)
class FactorEffects:
    """All main effects and interactions of a grid."""

    effects: tuple[Effect, ...]
    seeds: tuple[int, ...]
    """Seeds that every cell has; only these are used."""
    unused_seeds: dict[tuple[Level, ...], tuple[int, ...]]
    """Levels of a cell -> its seeds that another cell lacks."""
    family: Family | None = None
    """Family that the effects are tested in; None if they are shown without a test."""
    over: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """For an incomplete grid: factor -> numbers of used cells and of all (see
    `workbench.stats.incomplete_grids`)."""

    @property
    def tested(self) -> bool:
        """Whether tests are possible, which needs at least two seeds with different results."""
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
    reach: float | None = None,
) -> FactorEffects:
    """Main effects and two-way interactions of a full grid, computed for each seed as a block, without tests.

    cells: levels of the factors, in their order -> runs; reach: largest difference of two cells that the
    metric can have. `adjust_together` tests the effects. Raises UserError for an incomplete grid.
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
        for effect in _term(values, term, factors, grid, tables[0].sizes, level, reach)
    ]
    return FactorEffects(effects=tuple(effects), seeds=seeds, unused_seeds=_unused(keys, tables, seeds))


def distinct_tests(levels: Mapping[str, int], apart: Collection[str] = ()) -> int:
    """Number of distinct tests of the main effects and interactions of a full grid.

    levels: factor -> number of its levels; apart: factors whose own effects are not tested. Effects of the
    two levels of a factor are mirror images and count once: a factor of L levels has L tests, or 1 with two
    levels; an interaction has as many as the product of both numbers.
    """
    tests = {factor: n if n > 2 else 1 for factor, n in levels.items() if n > 1}
    terms = [term for size in (1, 2) for term in combinations(tests, size) if not set(term) <= set(apart)]
    return sum(math.prod(tests[factor] for factor in term) for term in terms)


def adjust_together(
    comparisons: Iterable[Comparison], found: FactorEffects | None, family: Family
) -> tuple[tuple[Comparison, ...], FactorEffects | None]:
    """Holm over the comparisons and the distinct tests of the effects of one answer.

    family: what is planned; tests that cannot be made yet, and verdicts, count as if their p were 1.
    """
    comparisons = list(comparisons)
    p = [c.p for c in comparisons if c.p is not None]
    if found is None:
        return adjust(comparisons, family), None
    tests = _distinct(found.effects)
    known = {key: effect.p for effect, key in zip(found.effects, tests, strict=True) if effect.p is not None}
    adjusted, claimed = corrected([*known.values(), *p], family)
    values = dict(zip(known, adjusted.tolist(), strict=False))
    effects = [
        effect.judged(values[key], claimed, family.alpha) if key in values else effect
        for effect, key in zip(found.effects, tests, strict=True)
    ]
    return adjust(comparisons, family, list(known.values())), replace(
        found, effects=tuple(effects), family=family
    )


def _distinct(effects: Sequence[Effect]) -> list[tuple[object, ...]]:
    """A key of the test of each effect; mirror images have the same key."""
    levels: dict[tuple[tuple[str, ...], int], set[Level]] = {}
    for effect in effects:
        for i, level in enumerate(effect.levels):
            levels.setdefault((effect.factors, i), set()).add(level)
    return [
        (e.factors, *(level if len(levels[e.factors, i]) > 2 else None for i, level in enumerate(e.levels)))
        for e in effects
    ]


def _term(
    values: Array, term: tuple[int, ...], factors: Sequence[str], grid: Sequence[Sequence[Level]],
    sizes: Array, level: float, reach: float | None,
) -> list[Effect]:  # fmt: skip
    """All levels of one main effect or interaction."""
    others = tuple(axis for axis in range(len(factors)) if axis not in term)
    contrast = values.mean(axis=others) if others else values
    for axis in range(len(term)):
        contrast = contrast - contrast.mean(axis=axis, keepdims=True)
    contrast = contrast.reshape(-1, *contrast.shape[-2:])  # [levels, n, C]
    # The positive weights of the cells add up to this, which limits the effect.
    share = len(term) * math.prod(1 - 1 / len(grid[axis]) for axis in term)
    largest = None if reach is None else share * reach
    # Seeds that all give the same answers count as one seed.
    repeated = bool(np.all(values == values[..., :1, :]))
    found = None if repeated else estimate(contrast, sizes)
    tested = found is not None and bool(found.error.any())
    p = p_values(found) if found is not None else np.empty(0)
    out = []
    for i, key in enumerate(product(*(grid[axis] for axis in term))):
        mine = found.at(i) if found is not None and tested else None
        out.append(
            Effect(
                factors=tuple(factors[axis] for axis in term), levels=key,
                effect=float(contrast[i].mean(0).sum() / sizes.sum()), reach=largest, estimate=mine,
                interval=None if mine is None else both_interval(mine, level).within(*_limits(largest)),
                p=None if mine is None else float(p[i]) if mine.error > 0 else 1.0,
            )
        )  # fmt: skip
    return out


def _limits(reach: float | None) -> tuple[float | None, float | None]:
    return (None, None) if reach is None else (-reach, reach)


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
    """Sort key: numbers by size, before words."""
    return (True, 0.0, level) if isinstance(level, str) else (False, float(level), "")


def _label(factors: Sequence[str], key: tuple[Level, ...]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(factors, key, strict=True))


def _unused(
    keys: Sequence[tuple[Level, ...]], tables: Sequence[Table], seeds: tuple[int, ...]
) -> dict[tuple[Level, ...], tuple[int, ...]]:
    rest = {k: tuple(s for s in t.seeds if s not in seeds) for k, t in zip(keys, tables, strict=True)}
    return {key: left for key, left in rest.items() if left}
