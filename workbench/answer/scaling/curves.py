"""Curves over the budget of a study: their data, their tables, and sentences on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench import naming, stats
from workbench.answer.evidence import Evidence
from workbench.answer.scaling import sentences
from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError
from workbench.stats import scaling


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Every arm (a choice of the axes besides the budget) at every budget."""

    asked: StudyRecord
    grid: scaling.Grid | None
    """Arms and budgets; None while they cannot be compared."""
    why: str
    """Why they cannot be compared; else empty."""
    keys: Mapping[tuple[str, float], str]
    """Arm and budget -> key of the cell."""

    @property
    def axis(self) -> str:
        """Name of the budget axis."""
        return naming.axis(self.asked.over, self.asked.says)

    def budget(self, value: float) -> str:
        """A budget in words."""
        value = float(f"{value:.3g}")
        return naming.choice(self.asked.over, int(value) if value.is_integer() else value, self.asked.says)

    @property
    def sentences(self) -> list[str]:
        """The best arm at each budget, crossings of curves, and what the smallest budgets predict."""
        if self.grid is None:
            return [f"There are no curves over {self.axis} yet: {self.why}."]
        grid = self.grid
        found = [sentences.best(scaling.best(grid), self.budget)]
        for i, j in grid.pairs:
            a, b = grid.arms[i], grid.arms[j]
            one = scaling.crossing(grid, a, b)
            found.append(sentences.crossing(one, self.budget))
            if one.at is None:
                found += sentences.meeting(scaling.meeting(grid, a, b), self.budget)
        largest = self.budget(grid.budgets[-1])
        found += [sentences.agreement(one, self.budget, largest) for one in scaling.agreement(grid)]
        return found


def curves(asked: StudyRecord, evidence: Evidence, usable: Mapping[str, stats.Runs]) -> Scaling | None:
    """None for a study without an axis of budgets; usable: key of a cell -> its runs that can be compared."""
    if not asked.over:
        return None
    keys: dict[tuple[str, float], str] = {}
    for key, axes in asked.cells.items():
        rest = {axis: value for axis, value in axes.items() if axis != asked.over}
        budget = axes.get(asked.over)
        if isinstance(budget, int | float):
            keys[naming.cell(rest, asked.says) or "all", float(budget)] = key
    try:
        if lacking := next((at for at, key in keys.items() if key not in usable), None):
            raise UserError(f"{lacking[0]} at {lacking[1]:g} has no complete run that can be compared")
        grid = scaling.grid(
            {at: usable[key] for at, key in keys.items()},
            evidence.groups,
            higher_is_better=asked.maximize,
        )
    except UserError as error:
        return Scaling(asked=asked, grid=None, why=str(error), keys=keys)
    return Scaling(asked=asked, grid=grid, why="", keys=keys)


def curve_rows(found: Scaling) -> pl.DataFrame:
    """A row for each arm and budget with all digits: mean, limits over seeds and queries, number of seeds."""
    rows = []
    if found.grid is not None:
        for arm in found.grid.arms:
            for budget, point in zip(found.grid.budgets, scaling.curve(found.grid, arm), strict=True):
                limits = point.interval.low, point.interval.high
                limits = _within(limits, found.asked)
                rows.append((arm, budget, found.keys[arm, budget], point.mean, *limits, point.interval.n))
    schema: dict[str, Any] = {"arm": pl.String(), "budget": pl.Float64(), "key": pl.String()}
    schema |= dict.fromkeys(("mean", "low", "high"), pl.Float64())
    return pl.DataFrame(rows, schema=schema | {"n": pl.Int64()}, orient="row")


def curve_table(found: Scaling) -> pl.DataFrame:
    """A row for each budget, in words: each arm with its interval, the best one, and all candidates for the
    best; the last row has the average gain of a doubling."""
    grid = found.grid
    if grid is None:
        return pl.DataFrame()
    rows = curve_rows(found)
    best = scaling.best(grid)
    columns: dict[str, list[str]] = {"budget": [*map(found.budget, grid.budgets), sentences.DOUBLING]}
    for arm in grid.arms:
        mine = rows.filter(arm=arm)
        rise = scaling.slope(grid, arm)
        columns[arm] = [sentences.limits(*one) for one in mine.select("mean", "low", "high").iter_rows()]
        columns[arm].append(sentences.limits(rise.mean, rise.interval.low, rise.interval.high, signed=True))
    columns["best"] = [*(one.best for one in best), ""]
    columns["may be the best"] = [*("; ".join(one.candidates) for one in best), ""]
    return pl.DataFrame(columns)


def pair_table(found: Scaling) -> pl.DataFrame:
    """A row for each pair of arms, in words: where the curves cross, with limits of that budget."""
    rows = []
    for i, j in found.grid.pairs if found.grid is not None else ():
        assert found.grid is not None
        one = scaling.crossing(found.grid, found.grid.arms[i], found.grid.arms[j])
        at = "–" if one.at is None else found.budget(one.at)
        low, high = (None if limit is None else found.budget(limit) for limit in (one.low, one.high))
        rows.append((f"{one.a} and {one.b}", at, low or "–", high or "–", sentences.standing(one)))
    names = ("pair", "cross at", "from", "to", "result")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String()), orient="row")


def order_table(found: Scaling) -> pl.DataFrame:
    """A row for each smaller budget, in words: share of pairs in the order of the largest, with limits."""
    rows = []
    for one in scaling.agreement(found.grid) if found.grid is not None else ():
        share, low, high = (f"{100 * value:.0f} %" for value in (one.share, one.low, one.high))
        rows.append((found.budget(one.budget), share, f"{low} to {high}"))
    names = ("budget", "pairs in the order of the largest budget", "in 95 % of studies")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String()), orient="row")


def legend(found: Scaling) -> str:
    """Legend of the tables."""
    seeds = ", ".join(map(str, found.grid.seeds)) if found.grid is not None else ""
    return sentences.legend(found.asked.measure.title, found.axis, seeds)


def _within(limits: tuple[float, float], asked: StudyRecord) -> tuple[float, float]:
    """The limits, restricted to the range of the metric."""
    least, most = asked.measure.low, asked.measure.high
    low = limits[0] if least is None else max(limits[0], least)
    return low, limits[1] if most is None else min(limits[1], most)
