"""Runs that collapse: how many runs of a cell train, and comparisons of those that do.

Some contrastive runs stay near chance. If one run in five of a cell does so, three seeds mostly do not show
it: none of them collapses, they agree well, and a test of means is confident of a wrong number. No test
repairs that. So two results are reported instead of one: how many of n runs train, with an exact interval,
and how the runs that train compare. `docs/statistics_validity.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from workbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Training:
    """The runs of a cell that train, by a threshold on val that was fixed before they were made."""

    trained: tuple[int, ...]
    """Seeds of the runs that train, ascending."""
    collapsed: tuple[int, ...]
    low: float
    """Limits of the share of runs that train: the exact interval of Clopper and Pearson (1934)."""
    high: float
    level: float

    @property
    def runs(self) -> int:
        return len(self.trained) + len(self.collapsed)

    @property
    def possible(self) -> float:
        """The largest probability of collapsing that these runs do not rule out.

        If none collapsed the limit is one-sided (`unseen`), since no lower limit is needed.
        """
        return 1 - self.low if self.collapsed else unseen(self.runs, self.level)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The seeds of both arms that a comparison keeps: pairs in which both runs train."""

    seeds: tuple[int, ...]
    left_out: dict[str, tuple[int, ...]]
    """Arm -> seeds that are left out because this arm's run collapsed; empty if there are none."""

    @property
    def conditional(self) -> bool:
        """Whether a claim from these pairs is one "of the runs that train", not of the cells as they are."""
        return bool(self.left_out)


def unseen(runs: int, level: float = 0.95) -> float:
    """Largest probability of a collapse that n runs without one do not rule out: 1 - 0.05**(1/n).

    It is 63, 45 and 26 % with 3, 5 and 10 runs. Raises UserError for less than one run.
    """
    if runs < 1:
        raise UserError(f"what some runs have not shown needs at least one run, not {runs}")
    return float(1 - (1 - level) ** (1 / runs))


def clopper_pearson(successes: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Exact limits of a share, given k of n (Clopper and Pearson, Biometrika 26, 1934)."""
    if not 0 <= successes <= runs or runs < 1:
        raise UserError(f"a share must be of k out of n >= 1 runs, not of {successes} out of {runs}")
    tail, failures = (1 - level) / 2, runs - successes
    low = betaincinv(successes, failures + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, failures, 1 - tail) if failures else 1.0
    return float(low), float(high)


def training(
    val: Mapping[int, float], threshold: float, *, higher_is_better: bool = True, level: float = 0.95
) -> Training:
    """The runs of a cell that train, which are better than the threshold.

    val: seed -> the metric on val, never on test, by which runs must not be chosen; threshold: in the
    metric's units, defined before the runs were made, such as `Null.threshold` of one run in the gallery of
    val.
    A run whose metric is not finite has collapsed. Raises UserError without runs or threshold.
    """
    if not val or not np.isfinite(threshold):
        raise UserError("which runs train takes at least one run and a threshold that is a number")
    sign = 1.0 if higher_is_better else -1.0
    trained = tuple(s for s in sorted(val) if np.isfinite(val[s]) and sign * (val[s] - threshold) > 0)
    low, high = clopper_pearson(len(trained), len(val), level)
    rest = tuple(s for s in sorted(val) if s not in trained)
    return Training(trained=trained, collapsed=rest, low=low, high=high, level=level)


def kept(arms: Mapping[str, Training]) -> Kept:
    """The seeds, of those that all arms have, with which the runs of all arms train.

    arms: name -> which of its runs train; two for a comparison, and any number for one block of seeds.
    """
    if len(arms) < 2:
        raise UserError("pairs of runs that both train take at least two arms")
    shared = set.intersection(*({*arm.trained, *arm.collapsed} for arm in arms.values()))
    out = {
        name: seeds for name, arm in arms.items() if (seeds := tuple(s for s in arm.collapsed if s in shared))
    }
    lost = {seed for seeds in out.values() for seed in seeds}
    return Kept(seeds=tuple(sorted(shared - lost)), left_out=out)
