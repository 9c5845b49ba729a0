"""The score of a selection by val, without the optimistic bias of the selected cell.

A lucky seed raises val and test alike, so the test score of the cell that val selects is too high: among 12
equal cells whose seeds have a standard deviation of 6 points, by about 8 points with one seed and by 3 to 5
with a few (`docs/statistics_validity.md`). Leaving out one seed at a time gives a score that is independent
of the selection.

Legend: n = seeds, C = clusters of queries (clips), k = cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.errors import UserError
from workbench.stats.components import Estimate, estimate
from workbench.stats.inputs import Array, Runs, check_same_queries, tabulate
from workbench.stats.intervals import Interval, both_interval


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The score of selecting by val with n - 1 seeds, measured on the seed that was left out."""

    mean: float | None
    """The mean; None with one seed, which leaves none for testing."""
    interval: Interval | None
    """Interval over seeds and queries, within the range of the metric."""
    apparent: float
    """The test mean of the cell that all seeds together select, which is biased upwards."""
    cell: str
    """The cell that all seeds together select."""
    votes: Mapping[str, int]
    """Cell -> number of held-out seeds for which it was selected; empty with one seed."""
    seeds: tuple[int, ...]
    """Seeds that every cell has; only these are used."""


def selected(
    val: Mapping[str, Mapping[int, float]], test: Mapping[str, Runs], groups: Sequence[str] | None = None, *,
    higher_is_better: bool = True, level: float = 0.95,
    lowest: float | None = None, highest: float | None = None,
) -> Selected:  # fmt: skip
    """Leave-one-seed-out: each seed tests the cell that the other seeds select by their mean on val.

    val: cell -> seed -> the metric; test: cell -> `Runs`, what each query contributes to it; groups: [Q], the
    clip of each query; lowest, highest: range of the metric, None for no limit. Raises UserError if val and
    test are not of the same cells, or if no seed is in all of them.
    """
    if not test or set(val) != set(test):
        raise UserError("selecting by val takes the same cells on val and on test, at least one")
    names = list(test)
    tables = [tabulate(test[name], groups, name=name) for name in names]
    check_same_queries(tables)
    seeds = tuple(sorted(set.intersection(*(set(t.seeds) & set(val[t.name]) for t in tables))))
    if not seeds:
        raise UserError("no seed has val and test of every cell, so none can be held out")
    scores = np.array([[val[name][seed] for name in names] for seed in seeds], dtype=float)
    if not np.isfinite(scores).all():
        raise UserError("selecting by val takes values on val that are finite")
    sums = np.stack([table.at(seeds) for table in tables])
    sizes = tables[0].sizes
    sign = 1.0 if higher_is_better else -1.0
    first = int(np.argmax(sign * scores.mean(0)))
    apparent = float(sums[first].sum() / (len(seeds) * sizes.sum()))
    if len(seeds) == 1:
        return Selected(mean=None, interval=None, apparent=apparent, cell=names[first], votes={}, seeds=seeds)
    chosen = held_out_choice(sign * scores)
    found = estimate(held_out(sums, chosen), sizes)
    interval = both_interval(inflated(found), level).within(lowest, highest)
    votes = {names[i]: int(number) for i, number in zip(*np.unique(chosen, return_counts=True), strict=True)}
    return Selected(
        mean=float(found.effect),
        interval=interval,
        apparent=apparent,
        cell=names[first],
        votes=votes,
        seeds=seeds,
    )


def held_out_choice(val: Array) -> np.ndarray:
    """[..., n] the cell that the other seeds select, from val [..., n, k] of which more is better."""
    choice: np.ndarray = (val.sum(-2, keepdims=True) - val).argmax(-1)
    return choice


def held_out(sums: Array, chosen: np.ndarray) -> Array:
    """[..., n, C] test sums [..., k, n, C] of each seed's chosen cell [..., n]."""
    return np.take_along_axis(sums, chosen[..., None, :, None], axis=-3)[..., 0, :, :]


def inflated(found: Estimate) -> Estimate:
    """The estimate with a variance that accounts for folds that share seeds.

    Each held-out seed takes part in the selection for all others, so rows of the table are correlated. Nadeau
    and Bengio (Machine Learning 52, 2003) put the correlation of such folds at the share that is held out, 1
    / n here, which makes the variance of a mean over n folds 1 / n + 1 / (n - 1) instead of 1 / n. The
    selection does not use queries.
    """
    return replace(found, seed_part=found.seed_part * (1 + found.seeds / (found.seeds - 1)))
