"""Families of tests: Holm's correction, the level of the intervals of claims, and tests in a fixed order.

One answer is one family. Without registered contrasts it is corrected by Holm (1979): its planned
comparisons, the distinct tests of its effects, and the verdicts that rest on an interval. Verdicts count as
if their p were 1 and have intervals at 1 - 0.05 / m. With k true nulls among the tests and v verdicts, Holm
claims one of the nulls with a chance of at most 0.05 k / (k + v), and one of the verdicts is wrong with at
most 0.05 v / (k + v): an answer says anything that is not so in at most 5 % of studies.

Registered contrasts are tested at 0.05 each, in their order, up to the first that fails (Maurer, Hothorn and
Lehmacher 1995). The first null in the order is the first that can be claimed wrongly: nothing is corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.stats.inputs import Array

ALPHA = 0.05
"""Familywise error of the claims of an answer."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Numbers of tests that are corrected together, including those that are not possible yet."""

    comparisons: int = 0
    """Planned comparisons of cells with their baselines."""
    effects: int = 0
    """Distinct tests of main effects and interactions, see `workbench.stats.effects.distinct_tests`."""
    verdicts: int = 0
    """Verdicts on published claims that rest on an interval."""
    contrasts: int = 0
    """Registered contrasts; if there are any the others are 0, since contrasts are a study's only family."""
    alpha: float = ALPHA
    """Error of the family: 0.05, or the share of it that a planned look may spend."""

    @property
    def size(self) -> int:
        """The divisor of alpha in the worst case; contrasts in a fixed order are not corrected."""
        return max(1, self.comparisons + self.effects + self.verdicts)


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p values (1979): valid whatever the dependence between the tests.

    p: [..., m], one family along the last axis.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, axis=-1, kind="stable")
    factors = np.arange(values.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(values, order, -1) * factors, axis=-1)
    out = np.empty_like(stepped)
    np.put_along_axis(out, order, np.minimum(stepped, 1.0), -1)
    return out


def corrected(p: Sequence[float], family: Family) -> tuple[Array, float]:
    """Holm's adjusted p values [len(p)], and the level of the intervals of claims.

    Tests of the family that are not in `p` count as if their p were 1, so that a claim does not vanish
    because another cell gets its second seed.
    """
    m = max(family.size, len(p))
    adjusted = holm([*p, *[1.0] * (m - len(p))])[: len(p)]
    return adjusted, claimed_level(int(np.count_nonzero(adjusted < family.alpha)), m, 1 - family.alpha)


def claimed_level(claims: int, size: int, level: float) -> float:
    """The level at which intervals of claims miss the truth in at most a share of 1 - level of the claims.

    Intervals of claims are selected, and therefore miss the truth more often than their nominal level.
    Benjamini and Yekutieli (2005): with R claims among m tests, 1 - (1 - level) R / m. Under Holm such an
    interval always excludes zero: the largest p that is claimed is below alpha / (m - R + 1), which is at
    most alpha R / m, since R (m - R + 1) - m = (R - 1) (m - R) is not negative.
    """
    return 1 - (1 - level) * max(claims, 1) / max(size, 1)


def in_order(p: ArrayLike) -> Array:
    """Adjusted p values of tests in a fixed order, [..., m]: the running maximum."""
    return np.maximum.accumulate(np.asarray(p, dtype=float), axis=-1)
