"""Interim looks at a study before all of its seeds are complete: planned ones share the error.

Adding seeds until a claim appears leads to false claims in more than 5 % of studies, because each look is
another chance. Looks that are planned in advance may each spend a part of the 5 %, and since the parts add up
to no more, neither do the errors (Bonferroni's inequality), whatever the seeds share and whichever
comparisons Holm corrects at each look. `docs/statistics_validity.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
            raise UserError(f"looks must be planned at increasing numbers of seeds from 2 on, not {seeds}")
        if not all(0 < alpha <= ALPHA for alpha in alphas) or sum(alphas) > ALPHA + 1e-9:
            raise UserError(
                f"the alphas of planned looks must be above 0 and add up to at most {ALPHA:g}, not {alphas}"
            )

    def alpha(self, seeds: int) -> float | None:
        """The alpha of the look at this number of seeds; None for a look that is not planned."""
        return self.spend.get(seeds)


@dataclass(frozen=True, kw_only=True)
class Look:
    """An answer that was given from the runs of some seeds."""

    seeds: tuple[int, ...]
    """Ascending."""
    plan: str
    """Digest of what was registered (cells, metric, comparisons, looks), whatever the seeds."""
    runs: str = ""
    """Digest of which cells had which seeds; empty where all that were compared had the same."""
    cells: str = field(default="", compare=False)
    """Digest of the cells; empty for a look that an earlier version noted."""
    tests: str = field(default="", compare=False)
    """Digest of what was tested of them and by which rules, without the words; empty as well."""


def merge(records: Iterable[Sequence[Look]]) -> tuple[Look, ...]:
    """Merges records, each in the order of its looks; a look that is in several records appears once."""
    return tuple(dict.fromkeys(look for record in records for look in record))


def standings(record: Sequence[Look], looks: Looks, plan: str) -> tuple[Standing, ...]:
    """The standing of each look of a record, in order.

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


def changed(look: Look, earlier: Sequence[Look]) -> bool:
    """Whether other tests were planned when the answer of the look was seen for the first time, from the same
    cells and with some of its seeds. Looks that an earlier version noted do not tell."""
    seen = (
        one
        for one in earlier
        if (one.plan == look.plan or (one.cells and one.cells == look.cells))
        and set(one.seeds) & set(look.seeds)
    )
    first = next(seen, look)
    return first.plan != look.plan and first.tests != look.tests


def error_bound(looks: int, alpha: float = ALPHA) -> float:
    """Upper bound of the error of this number of looks when each is tested at alpha: their sum.

    looks: different ones; repeated ones do not count. Raises UserError for less than one.
    """
    if looks < 1:
        raise UserError(f"the error of looks takes at least one look, not {looks}")
    return min(1.0, looks * alpha)
