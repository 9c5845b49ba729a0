"""Paired comparison of cells: over seeds, over queries, over both; corrected within a family.

"A beats B" is a claim about two ways of training, so it has to survive other seeds and other
queries. It may be made only when the p value of the seeds+queries interval is below 0.05 after Holm's
correction over all tests of the answer, or in its turn among registered contrasts (`Comparison.winner`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

import workbench.stats.intervals as intervals
from workbench.errors import UserError
from workbench.stats.components import Components, Estimate, estimate, p_values, stacked
from workbench.stats.families import ALPHA, Family, claimed_level, corrected, in_order
from workbench.stats.inputs import Array, Runs, Table, check_same_queries, tabulate
from workbench.stats.intervals import RESAMPLES, Interval

LEVEL = 0.95
Outcome = Literal["told apart", "open", "equal", "constant", "repeated seeds", "one seed", "not tested"]
"""Result of a comparison. `equal`, `constant`: every seed shows no difference, or exactly the same one;
`not tested`: it belongs to no family."""
EXACT_SIGN_FLIPS = 2**16
"""All flips of the signs are tried up to 16 seeds; beyond that, as many random ones."""
_AT_ONCE = 2**23
"""Largest number of values in memory for the flips of several comparisons."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A minus B, paired by seed and by query. `effect` is in the metric's own units."""

    a: str
    b: str
    unit: str
    higher_is_better: bool
    effect: float
    seeds: tuple[int, ...]
    """The seeds that both arms have; only these are compared."""
    unpaired: dict[str, tuple[int, ...]]
    """Seeds of one arm that the other lacks, by arm; reported, not used."""
    clusters: int
    """Number of clusters of queries (clips); 1 for a metric that is one number for each run."""
    level: float

    interval: Interval | None
    """The interval over seeds and queries, which decides. None with one seed, or if nothing varied."""
    p: float | None
    """Belongs to `interval`: below 1 - level exactly when the interval excludes zero."""
    over_seeds: Interval | None
    p_seeds: float | None
    """Exact sign-flip permutation over seeds; cannot go below 2 / 2**n."""
    over_queries: Interval | None
    """Interval for other queries with these trained models, which allows no claim about the cells."""
    p_queries: float | None
    bootstrap: Interval | None
    """Percentiles of the hierarchical bootstrap; too narrow with few seeds, so only informative."""
    components: Components | None
    estimate: Estimate | None
    repeated_seeds: bool
    """Whether every seed gave the same answers in both arms, so that all of them count as one."""

    reach: float | None = None
    """Largest possible difference of the metric; intervals are limited to it."""

    family: Family | None = None
    """Family that it is tested in; None if it is shown without a test and cannot be a claim."""
    p_adjusted: float | None = None
    claimed_interval: Interval | None = None
    """Interval of a claim, at a level that corrects for the selection of claims, see `claimed_level`."""

    @property
    def shown(self) -> Interval | None:
        """The interval to show: that of the claim if it is one, else the uncorrected one."""
        return self.claimed_interval or self.interval

    @property
    def winner(self) -> str | None:
        """The cell that may be said to beat the other; None when they do not differ significantly."""
        if self.p_adjusted is None or self.family is None or self.p_adjusted >= self.family.alpha:
            return None
        return self.ahead

    @property
    def ahead(self) -> str:
        """The cell with the better mean, whether or not the difference is significant."""
        return self.a if (self.effect > 0) == self.higher_is_better else self.b

    @property
    def outcome(self) -> Outcome:
        """The kind of statement that the comparison allows."""
        if self.winner is not None:
            return "told apart"
        if self.family is None:
            return "not tested"
        if self.estimate is None:
            return "repeated seeds" if self.repeated_seeds else "one seed"
        if self.interval is None:
            return "constant"
        return "equal" if self.estimate.error == 0 else "open"

    def judged(self, p_adjusted: float, claimed: float) -> Comparison:
        """With its p after correction and, if that makes it a claim, its interval at the level `claimed`."""
        found = replace(self, p_adjusted=p_adjusted, claimed_interval=None)
        return replace(found, claimed_interval=self.interval_at(claimed)) if found.winner else found

    def untested(self) -> Comparison:
        """The comparison without a family, to be shown without a claim."""
        return replace(self, family=None, p_adjusted=None, claimed_interval=None)

    def interval_at(self, level: float) -> Interval | None:
        """The deciding interval at another level."""
        # A constant difference has no variance to test it against.
        if self.estimate is None or (self.estimate.error == 0 and self.effect != 0):
            return None
        return self._limited(intervals.both_interval(self.estimate, level))

    def _limited(self, interval: Interval) -> Interval:
        return interval.within(None if self.reach is None else -self.reach, self.reach)


def compare(
    a: Runs,
    b: Runs,
    *,
    groups: Sequence[str] | None = None,
    names: tuple[str, str] = ("A", "B"),
    unit: str = "points",
    higher_is_better: bool = True,
    level: float = LEVEL,
    reach: float | None = None,
    resamples: int = RESAMPLES,
    rng: int | np.random.Generator = 0,
) -> Comparison:
    """Compares two cells.

    groups: [Q], the clip of each query; unit: unit of the effect; reach: see `Comparison`; see `Runs` for the
    values.
    """
    tables = [tabulate(runs, groups, name=name) for runs, name in zip((a, b), names, strict=True)]
    found = _against(tables[1], tables[:1], unit, higher_is_better, level, reach, resamples, rng)
    return adjust(found)[0]


def compare_family(
    cells: Mapping[str, Runs],
    baseline: str,
    *,
    groups: Sequence[str] | None = None,
    unit: str = "points",
    higher_is_better: bool = True,
    level: float = LEVEL,
    reach: float | None = None,
    resamples: int = RESAMPLES,
    rng: int | np.random.Generator = 0,
) -> dict[str, Comparison]:
    """Compares every other cell with the baseline, corrected together, in alphabetical order.

    All comparisons share the resamples of queries, so a thousand runs take seconds.
    """
    if baseline not in cells:
        raise UserError(f"the baseline {baseline!r} is not among the cells {sorted(cells)}")
    tables = {name: tabulate(cells[name], groups, name=name) for name in sorted(cells)}
    arms = [table for name, table in tables.items() if name != baseline]
    found = _against(tables[baseline], arms, unit, higher_is_better, level, reach, resamples, rng)
    return {comparison.a: comparison for comparison in adjust(found)}


def adjust(
    comparisons: Iterable[Comparison], family: Family | None = None, others: Sequence[float] = ()
) -> tuple[Comparison, ...]:
    """Holm's correction over a family of comparisons; those without a p value get none.

    family: the planned tests, if there are more than these; others: p values of its other tests.
    """
    out = list(comparisons)
    tested = [i for i, c in enumerate(out) if c.p is not None]
    level = out[0].level if out else LEVEL
    family = family or Family(comparisons=len(tested), alpha=round(1 - level, 12))  # 1 - 0.95 is not 0.05
    p = [p for i in tested if (p := out[i].p) is not None]
    adjusted, claimed = corrected([*p, *others], family)
    out = [replace(c, family=family) for c in out]
    for i, value in zip(tested, adjusted, strict=False):
        out[i] = out[i].judged(float(value), claimed)
    return tuple(out)


def adjust_in_order(
    comparisons: Sequence[Comparison | None], alpha: float = ALPHA
) -> tuple[Comparison | None, ...]:
    """Registered contrasts in their fixed order, each at alpha; testing stops at the first that fails.

    None stands for a contrast that cannot be tested yet, which fails as well. Those after the first failure
    belong to no family: they are not tested and cannot be claims.
    """
    known = [1.0 if c is None or c.p is None else c.p for c in comparisons]
    adjusted = in_order(known)
    claims = int(np.count_nonzero(adjusted < alpha))
    claimed = claimed_level(claims, len(known), 1 - alpha)
    family = Family(contrasts=len(known), alpha=alpha)
    out: list[Comparison | None] = []
    for i, c in enumerate(comparisons):
        if c is None or i > claims:
            out.append(None if c is None else c.untested())
        elif c.p is None:
            out.append(replace(c, family=family))
        else:
            out.append(replace(c, family=family).judged(float(adjusted[i]), claimed))
    return tuple(out)


def sign_flip(differences: ArrayLike, rng: int | np.random.Generator = 0) -> float:
    """Two-sided p of paired differences [n] under exchange of the two arms of a pair.

    Exact (all 2**n flips) up to 16 seeds.
    """
    return float(_sign_flips(np.asarray(differences, dtype=float)[None], intervals.base_seed(rng))[0])


def _sign_flips(differences: Array, seed: int) -> Array:
    """p [k] of each row of differences [k, n]; several rows are allowed only for exact tests."""
    d = np.sort(differences, axis=-1)
    n = d.shape[-1]
    if n < 2:
        return np.ones(len(d))
    if 2**n <= EXACT_SIGN_FLIPS:
        signs = 1 - 2 * (np.arange(2**n) >> np.arange(n)[:, None] & 1)  # [n, 2**n]
        # Added up as scipy's `permutation_test` does, so that the same flips count as ties to the last bit.
        means, observed = np.abs((d.T[..., None] * signs[:, None]).mean(0)), np.abs(d.mean(-1, keepdims=True))
        return np.asarray((means >= observed * (1 - 1e-14)).mean(-1), dtype=np.float64)
    from scipy import stats  # takes half a second to import

    found = stats.permutation_test(
        (d,), lambda x, axis: np.abs(x.mean(axis=axis)), permutation_type="samples", axis=-1,
        alternative="greater", n_resamples=EXACT_SIGN_FLIPS, vectorized=True,
        rng=np.random.default_rng([seed, 2]),
    )  # fmt: skip
    return np.atleast_1d(found.pvalue)


def _against(
    baseline: Table, arms: Sequence[Table], unit: str, higher_is_better: bool,
    level: float, reach: float | None, resamples: int, rng: int | np.random.Generator,
) -> list[Comparison]:  # fmt: skip
    """Each arm minus the baseline, unadjusted."""
    if not 0.5 <= level < 1:
        raise UserError(f"a level must be at least 0.5 and below 1, not {level!r}")
    tables = [baseline, *arms]
    check_same_queries(tables)
    seed = intervals.base_seed(rng)
    draws = None
    if len(baseline.sizes) > 1:
        sums = np.vstack([table.sums for table in tables])
        draws = intervals.query_draws(sums, baseline.sizes, resamples, seed)
    start, columns = 0, []
    for table in tables:
        columns.append(slice(start, start + len(table.seeds)))
        start += len(table.seeds)

    out, differences = [], []
    for arm, column in zip(arms, columns[1:], strict=True):
        pair = None if draws is None else (draws[:, column], draws[:, columns[0]])
        comparison, by_seed = _pair(arm, baseline, pair, unit, higher_is_better, level, reach, seed)
        out.append(comparison)
        differences.append(by_seed)
    return _tested(out, differences, seed)


def _tested(found: Sequence[Comparison], differences: Sequence[Array], seed: int) -> list[Comparison]:
    """With their p values, those of arms alike found together: one by one, a thousand would take seconds.

    differences: [n] of each comparison, by seed.
    """
    p: dict[int, float | None] = {}
    p_seeds: dict[int, float] = {}
    alike: dict[tuple[int, int], list[int]] = {}
    for i, c in enumerate(found):
        if c.estimate is None:
            continue
        n = c.estimate.seeds
        alike.setdefault((n, c.estimate.clusters), []).append(i)
        # Without variance: arms are equal, or the difference is constant and cannot be tested.
        p[i] = 1.0 if c.effect == 0 else None
    for (n, clusters), several in alike.items():
        vary = {i: e for i in several if (e := found[i].estimate) is not None and e.error > 0}
        if vary:
            p |= zip(vary, p_values(stacked(list(vary.values()), n, clusters)).tolist(), strict=True)
        most = max(1, _AT_ONCE // (n * 2**n)) if 2**n <= EXACT_SIGN_FLIPS else 1
        for part in (several[first : first + most] for first in range(0, len(several), most)):
            flips = _sign_flips(np.stack([differences[i] for i in part]), seed)
            p_seeds |= zip(part, flips.tolist(), strict=True)
    return [replace(c, p=p.get(i), p_seeds=p_seeds.get(i)) for i, c in enumerate(found)]


def _pair(
    a: Table, b: Table, draws: tuple[Array, Array] | None, unit: str, higher_is_better: bool,
    level: float, reach: float | None, seed: int,
) -> tuple[Comparison, Array]:  # fmt: skip
    """The comparison, still without p values over seeds, and its differences by seed, [n].

    draws: the resampled metric of every run of A [B, n_A] and of B [B, n_B].
    """
    seeds = tuple(s for s in a.seeds if s in b.seeds)
    if not seeds:
        raise UserError(f"{a.name} and {b.name} share no seed, so they cannot be paired")
    sums_a, sums_b = a.at(seeds), b.at(seeds)
    sums = sums_a - sums_b
    n, clusters = sums.shape
    differences = sums.sum(1) / a.sizes.sum()
    repeated = n > 1 and all(np.all(sums == sums[0]) for sums in (sums_a, sums_b))
    found = estimate(sums, a.sizes) if n > 1 and not repeated else None
    over_queries = bootstrap = p_queries = None
    if draws is not None:
        paired = (
            draws[0][:, [a.seeds.index(s) for s in seeds]] - draws[1][:, [b.seeds.index(s) for s in seeds]]
        )
        mean_draws = paired.mean(1)
        over_queries = intervals.percentile_interval(mean_draws, level, "queries", clusters)
        p_queries = intervals.bootstrap_p(mean_draws)
        if found is not None:
            weighted = (paired * intervals.seed_draws(n, len(paired), seed)).sum(1)
            bootstrap = intervals.percentile_interval(weighted, level, "seeds+queries", n)
    comparison = Comparison(
        a=a.name, b=b.name, unit=unit, higher_is_better=higher_is_better,
        effect=float(differences.mean()),
        seeds=seeds,
        unpaired={t.name: rest for t in (a, b)
                  if (rest := tuple(s for s in t.seeds if s not in seeds))},
        clusters=clusters, level=level, interval=None, p=None, reach=reach,
        over_seeds=intervals.seed_interval(differences, level) if found is not None else None,
        p_seeds=None,
        over_queries=over_queries, p_queries=p_queries, bootstrap=bootstrap,
        components=found.components() if found is not None else None,
        estimate=found, repeated_seeds=repeated,
    )  # fmt: skip
    return _with_interval(comparison), differences


def _with_interval(c: Comparison) -> Comparison:
    """The comparison with its deciding interval, and all intervals limited to the range of the metric."""
    over_seeds = None if c.over_seeds is None else c._limited(c.over_seeds)
    return replace(c, over_seeds=over_seeds, interval=c.interval_at(c.level))
