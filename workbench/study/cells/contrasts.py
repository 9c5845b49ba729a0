"""Contrasts: differences of some cells and others that a study registers before any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import UserError
from workbench.naming import Value


@dataclass(frozen=True)
class Contrast:
    """A difference that is registered before any run: the mean of some cells minus the mean of others.

    Contrasts of a study are tested in their order at 5 % each, up to the first that is not significant, see
    `workbench.stats.families`. First comes what matters most, or what is surest to be seen.
    """

    text: str
    """The contrast in words."""
    of: Mapping[str, Value | tuple[Value, ...]] = field(kw_only=True)
    """Axes with the value, or the values, that a cell has there; axes not named are averaged over."""
    against: Mapping[str, Value | tuple[Value, ...]] = field(kw_only=True)

    def sides(self, cells: Mapping[str, Sequence[Mapping[str, Value]]]) -> tuple[list[str], list[str]]:
        """Keys of the cells of both sides; `UserError` where a side has none, or both share one.

        cells: key -> the choices that lead to this cell.
        """
        of, against = (
            [key for key, ways in cells.items() if any(_fits(pattern, axes) for axes in ways)]
            for pattern in (self.of, self.against)
        )
        for pattern, found in ((self.of, of), (self.against, against)):
            if not found:
                names = dict.fromkeys(axis for ways in cells.values() for axes in ways for axis in axes)
                raise UserError(
                    f"the contrast {self.text!r} names {dict(pattern)}, which is not one of the cells; the "
                    f"axes are {', '.join(names)}, with the values of the study file"
                )
        if both := [key for key in of if key in against]:
            raise UserError(
                f"the contrast {self.text!r} has {len(both)} of the same cells on both sides, "
                f"{dict(self.of)} and {dict(self.against)}; each cell may be on one side only"
            )
        return of, against


def _fits(pattern: Mapping[str, Value | tuple[Value, ...]], axes: Mapping[str, Value]) -> bool:
    return all(
        axis in axes and axes[axis] in (wanted if isinstance(wanted, tuple) else (wanted,))
        for axis, wanted in pattern.items()
    )


def registered(
    contrasts: Sequence[Contrast], cells: Mapping[str, Sequence[Mapping[str, Value]]]
) -> tuple[dict[str, Any], ...]:
    """Contrasts in their order, as they stand in `study.json`; cells: see `Contrast.sides`."""
    sides = [contrast.sides(cells) for contrast in contrasts]
    return tuple(
        {
            "text": contrast.text,
            "of": {"cells": of, "axes": dict(contrast.of)},
            "against": {"cells": against, "axes": dict(contrast.against)},
        }
        for contrast, (of, against) in zip(contrasts, sides, strict=True)
    )
