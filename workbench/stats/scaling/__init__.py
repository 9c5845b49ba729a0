"""Metrics over the budget: curves of several arms, where they cross, and what small budgets predict.

Legend: A arms, K budgets, n seeds that every cell has, C clusters of queries (clips). x is the logarithm of a
budget to base 2, so that one step is a doubling.

With four budgets no form of a curve can be tested: a power law with a ceiling has three parameters, and
whether the fourth point fits it depends on its own noise. So curves have no parametric form: they are the
mean at each budget, with straight lines over x between neighbours. Every quantity of a curve (a value, a
difference of two arms, a slope) is a weighted sum of cells, and has the interval over seeds and queries of
any contrast (`components`). The interval of a crossing inverts that test (Fieller): all budgets at which the
two do not differ significantly. If the curves between the budgets are bent, the crossing of the straight
lines is meant; how far that is from the truth is measured in `tests/stats/test_scaling.py`.

Beyond the largest budget nothing was measured. `meeting` extrapolates the straight line through the
differences of two arms at all budgets, and makes no other assumption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from workbench.errors import UserError
from workbench.stats.components import estimate, half_width
from workbench.stats.inputs import Array, Runs, check_same_queries, tabulate
from workbench.stats.intervals import Interval, both_interval

ALPHA = 0.05
PLACES = 241
"""Budgets, evenly spaced over x, at which two arms are compared to find where they cross."""
DOUBLINGS = 10
"""Number of doublings beyond the largest budget up to which meetings are searched."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every arm at every budget, on the seeds that all of these cells have."""

    arms: tuple[str, ...]
    budgets: tuple[float, ...]
    """Ascending."""
    seeds: tuple[int, ...]
    sums: Array
    """[A, K, n, C]"""
    sizes: Array
    """[C], queries in each cluster."""
    higher_is_better: bool

    @property
    def x(self) -> Array:
        """[K]"""
        return np.log2(np.array(self.budgets))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Numbers of two arms, each pair once."""
        return list(combinations(range(len(self.arms)), 2))


@dataclass(frozen=True, kw_only=True)
class Point:
    """An arm at one budget."""

    mean: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Best:
    """Which arm is best at one budget."""

    budget: float
    best: str
    """The arm with the best mean."""
    candidates: tuple[str, ...]
    """Arms that may be the best: the truly best one is among them in 95 % of studies, at each budget."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The budget at which the difference of two arms is zero, with a 95 % interval."""

    a: str
    b: str
    at: float | None
    """The budget; None if the difference changes its sign nowhere in the range, or several times."""
    low: float | None
    """Lower limit; None if the interval extends to the smallest budget of the range or below."""
    high: float | None
    """Upper limit; None if the interval extends to the largest budget or above."""
    ahead: str
    """The arm that is significantly better at every budget of the range; empty if there is none."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of the order of the arms at a budget with that at the largest one."""

    budget: float
    share: float
    """Share of the pairs of arms whose means have the same order; 1 for the same order of all, 0 for the
    reverse one. Kendall's tau is 2 * share - 1."""
    low: float
    high: float
    """The true share is between `low` and `high` in at least 95 % of studies."""


def grid(
    cells: Mapping[tuple[str, float], Runs],
    groups: Sequence[str] | None = None,
    *,
    higher_is_better: bool = True,
) -> Grid:
    """Arms and budgets as a full grid; cells: (arm, budget) -> its runs.

    Raises `UserError` for fewer than two arms or budgets, a cell that is missing, a budget that is not
    positive, and fewer than two seeds that all cells have.
    """
    arms = tuple(dict.fromkeys(arm for arm, _ in cells))
    budgets = tuple(sorted({budget for _, budget in cells}))
    if len(arms) < 2 or len(budgets) < 2:
        raise UserError("curves over the budget need two arms or more at two budgets or more")
    if budgets[0] <= 0:
        raise UserError(f"a budget must be a positive number, not {budgets[0]!r}")
    missing = [(arm, budget) for arm in arms for budget in budgets if (arm, budget) not in cells]
    if missing:
        arm, budget = missing[0]
        raise UserError(f"curves over the budget need every arm at each; {arm} at {budget:g} is missing")
    seeds = sorted(set.intersection(*(set(runs) for runs in cells.values())))
    if len(seeds) < 2:
        raise UserError("curves over the budget need two seeds or more that all cells have")
    tables = {at: tabulate(runs, groups, name=f"{at[0]} at {at[1]:g}") for at, runs in cells.items()}
    check_same_queries(list(tables.values()))
    sums = np.stack([np.stack([tables[arm, budget].at(seeds) for budget in budgets]) for arm in arms])
    return Grid(
        arms=arms, budgets=budgets, seeds=tuple(seeds), sums=sums,
        sizes=next(iter(tables.values())).sizes, higher_is_better=higher_is_better,
    )  # fmt: skip


def curve(found: Grid, arm: str, level: float = 1 - ALPHA) -> tuple[Point, ...]:
    """The arm at each budget, with intervals over seeds and queries."""
    every = estimate(found.sums[found.arms.index(arm)], found.sizes)
    return tuple(
        Point(mean=float(every.effect[k]), interval=both_interval(every.at(k), level))
        for k in range(len(found.budgets))
    )


def slope(found: Grid, arm: str, level: float = 1 - ALPHA) -> Point:
    """Average gain of a doubling of the budget: the slope of the straight line over x."""
    x = found.x - found.x.mean()
    weights = x / np.square(x).sum()
    sums = np.einsum("k,knc->nc", weights, found.sums[found.arms.index(arm)])
    one = estimate(sums, found.sizes)
    return Point(mean=float(one.effect), interval=both_interval(one, level))


def best(found: Grid, alpha: float = ALPHA) -> tuple[Best, ...]:
    """The arm with the best mean at each budget, and all arms that may be the best.

    An arm is not a candidate if another is significantly better, one-sided at alpha / (A - 1): the truly best
    one is left out with a probability of at most alpha (Bonferroni over the other arms).
    """
    sign = 1 if found.higher_is_better else -1
    means = sign * found.sums.sum((-1, -2))  # [A, K]
    out = np.zeros(means.shape, bool)
    for i in range(len(found.arms)):
        rest = [j for j in range(len(found.arms)) if j != i]
        ahead = estimate(sign * (found.sums[rest] - found.sums[i]), found.sizes)  # [A - 1, K]
        half = half_width(ahead, min(1.0, 2 * alpha / len(rest)))
        out[i] = (ahead.effect - half > 0).any(0)
    return tuple(
        Best(
            budget=budget,
            best=found.arms[int(means[:, k].argmax())],
            candidates=tuple(arm for arm, gone in zip(found.arms, out[:, k], strict=True) if not gone),
        )
        for k, budget in enumerate(found.budgets)
    )


def crossing(found: Grid, a: str, b: str, alpha: float = ALPHA) -> Crossing:
    """The budget at which the curves of two arms cross, within the budgets that were run."""
    x = np.linspace(found.x[0], found.x[-1], PLACES)
    right = np.clip(np.searchsorted(found.x, x, side="right"), 1, len(found.x) - 1)
    share = (x - found.x[right - 1]) / (found.x[right] - found.x[right - 1])
    weights = np.zeros((PLACES, len(found.x)))
    weights[np.arange(PLACES), right - 1] = 1 - share
    weights[np.arange(PLACES), right] = share
    return _zero(found, a, b, x, weights, alpha)


def meeting(found: Grid, a: str, b: str, alpha: float = ALPHA) -> Crossing:
    """The budget beyond the largest one, up to `DOUBLINGS` of it, at which two arms would meet.

    Their difference is extrapolated along the straight line through all budgets."""
    x = np.linspace(found.x[-1], found.x[-1] + DOUBLINGS, PLACES)
    centred = found.x - found.x.mean()
    weights = 1 / len(found.x) + np.outer(x - found.x.mean(), centred / np.square(centred).sum())
    return _zero(found, a, b, x, weights, alpha)


def agreement(found: Grid, alpha: float = ALPHA) -> tuple[Agreement, ...]:
    """Agreement of the order at each smaller budget with that at the largest one.

    In the interval, pairs whose order is significant at both budgets count as agreeing or not; any other pair
    may be either. Orders are tested one-sided at alpha / (2 P) for P pairs, so that all significant orders
    are true in at least 1 - alpha of studies, whatever their dependence.
    """
    pairs = found.pairs
    differences = np.stack([found.sums[i] - found.sums[j] for i, j in pairs])  # [P, K, n, C]
    every = estimate(differences, found.sizes)
    order = np.sign(every.effect)
    told = np.abs(every.effect) > half_width(every, alpha / len(pairs))
    out = []
    for k, budget in enumerate(found.budgets[:-1]):
        same, both = order[:, k] == order[:, -1], told[:, k] & told[:, -1]
        out.append(
            Agreement(
                budget=budget,
                share=float(same.mean()),
                low=float((same & both).mean()),
                high=1 - float((~same & both).mean()),
            )
        )
    return tuple(out)


def _zero(found: Grid, a: str, b: str, x: Array, weights: Array, alpha: float) -> Crossing:
    """The zero of `a` minus `b` along x [M]; each point is a weighted sum of the budgets, [M, K]."""
    difference = found.sums[found.arms.index(a)] - found.sums[found.arms.index(b)]
    every = estimate(np.einsum("mk,knc->mnc", weights, difference), found.sizes)
    open_ = np.abs(every.effect) <= half_width(every, alpha)
    fields: dict[str, Any] = {"a": a, "b": b, "at": _root(x, every.effect), "ahead": ""}
    if not open_.any():
        ahead = a if (every.effect[0] > 0) == found.higher_is_better else b
        # A difference that is significant on both sides of zero jumps between two points: it crosses there.
        if (np.sign(every.effect) == np.sign(every.effect[0])).all():
            return Crossing(**{**fields, "ahead": ahead}, low=None, high=None)
        if fields["at"] is None:
            return Crossing(**fields, low=None, high=None)
        return Crossing(**fields, low=fields["at"], high=fields["at"])
    first, last = np.flatnonzero(open_)[[0, -1]]
    low = None if first == 0 else float(2 ** x[first - 1])
    high = None if last == len(x) - 1 else float(2 ** x[last + 1])
    return Crossing(**fields, low=low, high=high)


def _root(x: Array, difference: Array) -> float | None:
    """The budget at which a difference [M] changes its sign, if it does so once."""
    [changes] = np.nonzero(np.sign(difference[:-1]) * np.sign(difference[1:]) <= 0)
    if not len(changes) or changes[-1] - changes[0] > 1 or difference[0] * difference[-1] > 0:
        return None
    left, right = changes[0], changes[0] + 1
    if difference[left] == difference[right]:
        return float(2 ** x[left])
    share = difference[left] / (difference[left] - difference[right])
    return float(2 ** (x[left] + share * (x[right] - x[left])))
