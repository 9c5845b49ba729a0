"""Main effects in an incomplete grid, over the other choices that were run with all levels of a factor.

A block of a factor contains the cells that differ only in it. The blocks that have every level of the factor
form a full grid of factor and blocks, over which its main effect is computed; other cells are not used. So
the effect is about the other choices that were run with every level, which reports must say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.errors import UserError
from workbench.stats.compare import LEVEL
from workbench.stats.effects import FactorEffects, Level, factor_effects
from workbench.stats.inputs import Runs

Key = tuple[Level | None, ...]
"""Levels of a cell; None for a factor that it does not have."""


def blocks(cells: Sequence[Key], axis: int) -> tuple[list[list[Key]], list[Key]]:
    """The blocks of a factor that have all its levels, and the cells that the fullest other block lacks.

    The second list is empty if there is a block with all levels.
    """
    levels = dict.fromkeys(key[axis] for key in cells if key[axis] is not None)
    found: dict[Key, list[Key]] = {}
    for key in cells:
        if key[axis] is not None:
            found.setdefault((*key[:axis], *key[axis + 1 :]), []).append(key)
    whole = [block for block in found.values() if len(block) == len(levels)]
    if whole or not found:
        return whole, []
    fullest = max(found.values(), key=len)
    first = fullest[0]
    wanted = [(*first[:axis], level, *first[axis + 1 :]) for level in levels]
    return [], [key for key in wanted if key not in fullest]


def shared_effects(
    cells: Mapping[Key, Runs],
    factors: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
    reach: float | None = None,
) -> FactorEffects:
    """Main effects of the factors that have a block with all their levels, without tests.

    Arguments as in `factor_effects`. Raises `UserError` if no factor has such a block, or if the cells of the
    blocks share no seed.
    """
    parts = {
        name: whole
        for i, name in enumerate(factors)
        if (whole := blocks(list(cells), i)[0]) and len(whole[0]) > 1
    }
    used = list(dict.fromkeys(key for whole in parts.values() for block in whole for key in block))
    if not used:
        raise UserError("no factor has all its levels beside the same others")
    seeds = sorted(set.intersection(*(set(cells[key]) for key in used)))
    if not seeds:
        raise UserError("the cells with all levels of a factor share no seed")
    effects = []
    for name, whole in parts.items():
        axis = list(factors).index(name)
        grid = {
            (key[axis], number): {seed: cells[key][seed] for seed in seeds}
            for number, block in enumerate(whole)
            for key in block
        }
        found = factor_effects(grid, (name, ""), groups=groups, level=level, reach=reach)  # type: ignore[arg-type]
        effects += [effect for effect in found.effects if effect.factors == (name,)]
    unused = {key: tuple(seed for seed in cells[key] if seed not in seeds) for key in used}
    return FactorEffects(
        effects=tuple(effects),
        seeds=tuple(seeds),
        unused_seeds={key: left for key, left in unused.items() if left},  # type: ignore[misc]
        over={name: (sum(map(len, whole)), len(cells)) for name, whole in parts.items()},
    )
