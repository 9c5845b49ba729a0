"""Looks at a study before all of its seeds are there: planned ones share the error, others are counted.

Whoever adds seeds until a claim appears makes false claims more often than 5 %: each look is another chance.
Looks that are planned beforehand may each spend a part of the 5 %, and since the parts add up to no more,
neither do the errors (Bonferroni's inequality), whatever the seeds share and whichever comparisons Holm
corrects at each look. `docs/statistics_validity.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from workbench.errors import UserError
from workbench.stats.families import ALPHA

Standing = Literal["planned", "repeated", "unplanned"]
"""`repeated`: the same seeds under the same plan as before, which shows nothing new and costs nothing."""


@dataclass(frozen=True)
class Looks:
    """Planned looks: `Looks({3: 0.01, 5: 0.015, 8: 0.025})`, number of seeds -> alpha of that look."""

    spend: Mapping[int, float]

    def __post_init__(self) -> None:
        seeds, alphas = list(self.spend), list(self.spend.values())
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 2 for n in seeds)
        if not seeds or not whole or any(a >= b for a, b in pairwise(seeds)):
            raise UserError(f"looks are planned at increasing numbers of seeds from 2 on, not {seeds}")
        if not all(0 < alpha <= ALPHA for alpha in alphas) or sum(alphas) > ALPHA + 1e-9:
            raise UserError(
                f"the alphas of planned looks are above 0 and add up to at most {ALPHA:g}, not {alphas}"
            )

    def alpha(self, seeds: int) -> float | None:
        """What the look at so many seeds may spend; None for a look that is not planned."""
        return self.spend.get(seeds)


@dataclass(frozen=True, kw_only=True)
class Look:
    """An answer that was given from the runs of some seeds."""

    seeds: tuple[int, ...]
    """Ascending."""
    plan: str
    """Fingerprint of what was registered (cells, metric, comparisons, looks), whatever the seeds."""


def merge(records: Iterable[Sequence[Look]]) -> tuple[Look, ...]:
    """One record of several, each in the order of its looks: a look that two of them hold is there once."""
    return tuple(dict.fromkeys(look for record in records for look in record))


def standings(record: Sequence[Look], looks: Looks, plan: str) -> tuple[Standing, ...]:
    """What each look of a record is, in order.

    A look is planned when its number of seeds has an alpha that no earlier look has spent, under the
    registered plan, and when it has all seeds that were seen before: leaving some out would be choosing by
    what they showed.
    """
    out: list[Standing] = []
    for number, look in enumerate(record):
        earlier = record[:number]
        spent = {len(one.seeds) for one in earlier}
        seen = {seed for one in earlier for seed in one.seeds}
        fits = look.plan == plan and looks.alpha(len(look.seeds)) is not None
        if look in earlier:
            out.append("repeated")
        elif fits and len(look.seeds) not in spent and seen <= set(look.seeds):
            out.append("planned")
        else:
            out.append("unplanned")
    return tuple(out)


def error_bound(looks: int, alpha: float = ALPHA) -> float:
    """The most that the error of so many looks can be when each is judged at alpha: their sum.

    looks: different ones; repeated ones do not count. Raises UserError for less than one.
    """
    if looks < 1:
        raise UserError(f"the error of looks takes at least one look, not {looks}")
    return min(1.0, looks * alpha)
