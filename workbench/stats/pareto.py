"""The Pareto front of quality and cost, and how often a cell is on it when data are resampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

import workbench.stats.intervals as intervals
from workbench.errors import UserError
from workbench.stats.inputs import Runs, check_same_queries, tabulate


@dataclass(frozen=True, kw_only=True)
class ParetoPoint:
    """Means of one cell over its seeds, and whether it is on the front."""

    cost: float
    quality: float
    on_front: bool
    frequency: float
    """Share of bootstrap samples (seeds and queries) in which the cell is on the front."""
    seeds: int
    """Number of seeds; with one, only the queries are resampled and the frequency is overconfident."""


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """[..., k] True where no other point is at least as cheap and as good, and better in one.

    Points with equal cost and quality are on the front together.
    """
    x, y = np.broadcast_arrays(np.asarray(cost, dtype=float), np.asarray(quality, dtype=float))
    if np.isnan(x).any() or np.isnan(y).any():
        raise UserError("a Pareto front needs a cost and a quality for every point, not NaN")
    order = np.lexsort((-y, x), axis=-1)  # by cost; at equal cost the best first
    x, y = np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
    best = np.maximum.accumulate(y, axis=-1)
    rises = np.ones(y.shape, dtype=bool)
    rises[..., 1:] = best[..., 1:] > best[..., :-1]
    first = np.maximum.accumulate(np.where(rises, np.arange(y.shape[-1]), 0), axis=-1)
    front = (y == best) & (x == np.take_along_axis(x, first, -1))
    out: NDArray[np.bool_] = np.empty_like(front)
    np.put_along_axis(out, order, front, -1)
    return out


def pareto(
    costs: Mapping[str, Mapping[int, float]],
    qualities: Mapping[str, Runs],
    *,
    groups: Sequence[str] | None = None,
    higher_is_better: bool = True,
    resamples: int = 2000,
    rng: int | np.random.Generator = 0,
) -> dict[str, ParetoPoint]:
    """Front of mean cost (less is better) and mean quality, with bootstrap frequencies.

    costs: cell -> seed -> number; qualities: cell -> `Runs` with the same seeds. Queries are drawn
    once for all cells; seeds are drawn alike for cells with equally many.
    """
    names = sorted(qualities)
    wrong = [name for name in names if set(costs.get(name, ())) != set(qualities[name])]
    if wrong or set(costs) != set(qualities):
        raise UserError(
            "every cell of a Pareto front needs a cost and a quality for the same seeds; "
            f"not so: {', '.join(wrong or sorted(set(costs) ^ set(qualities)))}"
        )
    if not names:
        return {}
    seed = intervals.base_seed(rng)
    tables = [tabulate(qualities[name], groups, name=name) for name in names]
    check_same_queries(tables)
    sizes = tables[0].sizes
    drawn = intervals.query_draws(np.vstack([t.sums for t in tables]), sizes, resamples, seed)
    cost, quality = np.empty((resamples, len(names))), np.empty((resamples, len(names)))
    point_cost, point_quality = np.empty(len(names)), np.empty(len(names))
    start = 0
    for i, table in enumerate(tables):
        n = len(table.seeds)
        weights = intervals.seed_draws(n, resamples, seed)
        run_costs = np.array([float(costs[table.name][s]) for s in table.seeds])
        # Relative to the first run, so that equal costs stay exactly equal under any weights.
        point_cost[i] = run_costs[0] + (run_costs - run_costs[0]).mean()
        cost[:, i] = run_costs[0] + weights @ (run_costs - run_costs[0])
        quality[:, i] = (drawn[:, start : start + n] * weights).sum(1)
        point_quality[i] = table.means.mean()
        start += n
    sign = 1.0 if higher_is_better else -1.0
    front = pareto_front(point_cost, sign * point_quality)
    frequency = pareto_front(cost, sign * quality).mean(0)
    return {
        name: ParetoPoint(
            cost=float(point_cost[i]), quality=float(point_quality[i]), on_front=bool(front[i]),
            frequency=float(frequency[i]), seeds=len(tables[i].seeds),
        )
        for i, name in enumerate(names)
    }  # fmt: skip
