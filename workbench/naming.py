"""How people say the choices of a study: one choice, and the whole cell.

A study may give each of its axes words (`Study.says`), such as `{share} video hidden`. Without them a choice
is said as `axis=value`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.errors import UserError

Value = None | bool | int | float | str

PLAIN = "as the study asks"
"""The plan of a study under no option that changes its cells."""
SHARE, VALUE = "{share}", "{value}"


def check(says: Mapping[str, str]) -> None:
    """`UserError` for words in which the choice has no place."""
    for axis, words in says.items():
        if words.count(SHARE) + words.count(VALUE) != 1:
            raise UserError(
                f"the words {words!r} for the axis {axis!r} have one place for the choice: {SHARE} for a "
                f"share from 0 to 1, said as 'no' or '90 % of the', or {VALUE} for the value as it is"
            )


def check_axes(says: Mapping[str, str], axes: Sequence[str]) -> None:
    """`UserError` for words of an axis that no cell has, which would be a slip of the pen."""
    if unknown := [axis for axis in says if axis not in axes]:
        known = ", ".join(dict.fromkeys(axes)) or "none"
        raise UserError(f"a study says {', '.join(map(repr, unknown))} in words, but its axes are {known}")


def axis(name: str, says: Mapping[str, str]) -> str:
    """What an axis is called in a sentence: its words without a choice, as in `video hidden`."""
    return " ".join(says[name].replace(SHARE, "").replace(VALUE, "").split()) if name in says else name


def choice(axis: str, value: Value | Sequence[Value], says: Mapping[str, str]) -> str:
    """One choice, or several of one axis, as in `90 % of the video hidden` or `ratio=0.5 or 0.9`."""
    values: list[Value] = (
        [value] if value is None or isinstance(value, bool | int | float | str) else [*value]
    )
    if axis not in says:
        return f"{axis}={' or '.join(map(str, values))}"
    words = says[axis]
    if SHARE in words:
        return words.replace(SHARE, _share(values))
    return words.replace(VALUE, " or ".join(map(str, values)))


def cell(axes: Mapping[str, Value | Sequence[Value]], says: Mapping[str, str]) -> str:
    """A cell, or a part of its axes; empty for none.

    With commas where any of its axes has words, as in `90 % of the video hidden, no text hidden`.
    """
    separator = ", " if any(axis in says for axis in axes) else " "
    return separator.join(choice(axis, value, says) for axis, value in axes.items())


def _share(values: Sequence[Value]) -> str:
    if values == [0]:
        return "no"
    shares = [f"{100 * float(value):g} %" for value in values if isinstance(value, (int, float))]
    return f"{' or '.join(shares)} of the"
