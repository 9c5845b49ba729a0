"""Wording of axes, choices and cells of a study.

A study may define the wording of each of its axes (`Study.says`), such as `{share} video hidden`. Without it
a choice is written as `axis=value`. Names of metrics are defined in `workbench.metrics` and
`workbench.tasks.head`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from workbench.errors import UserError

Value = None | bool | int | float | str

PLAIN = "as the study asks"
"""Name of a study's plan without options that change its cells."""
SHARE, VALUE = "{share}", "{value}"
TERMS = {
    "lr": "learning rate",
    "pflops": "training PFLOPs",
    "video_ratio": "video mask ratio",
    "text_ratio": "text mask ratio",
}
"""Names of axes in the terms of the field, for studies without wording for them."""
_HIDDEN = re.compile(r"\{share\} (.+) hidden")


def check(says: Mapping[str, str]) -> None:
    """`UserError` for words in which the choice has no place."""
    for axis, words in says.items():
        if words.count(SHARE) + words.count(VALUE) != 1:
            raise UserError(
                f"the words {words!r} for the axis {axis!r} must have one place for the choice: {SHARE} for "
                f"a share from 0 to 1, said as 'no' or '90 % of the', or {VALUE} for the value as it is"
            )


def check_axes(says: Mapping[str, str], axes: Sequence[str]) -> None:
    """`UserError` for words of an axis that no cell has, which would be a slip of the pen."""
    if unknown := [axis for axis in says if axis not in axes]:
        known = ", ".join(dict.fromkeys(axes)) or "none"
        raise UserError(f"a study says {', '.join(map(repr, unknown))} in words, but its axes are {known}")


def axis(name: str, says: Mapping[str, str]) -> str:
    """What an axis is called beside its values, in heads and sentences, as in `video mask ratio`.

    An axis said as `{share} video hidden` is a mask ratio, any other share is one `of the` rest of its words;
    values as they are stand below the axis' own name.
    """
    words = says.get(name, "")
    if (found := _HIDDEN.fullmatch(words)) is not None:
        return f"{found[1]} mask ratio"
    if words.startswith(f"{SHARE} "):
        return f"share of the {words.removeprefix(SHARE).strip()}"
    return TERMS.get(name) or spaced(name)


def spaced(name: str) -> str:
    """A name as words, as in print, where room is scarce: `video ratio`."""
    return " ".join(name.replace("_", " ").split())


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


def brief(axes: Mapping[str, Value], seed: int) -> str:
    """A run in a few letters that differ at the front, as in `v0.90 t0.00 s0`; words stand as they are.

    A number has the first letters of its axis in front, as many as tell it from the others.
    """
    numbers = [a for a, v in axes.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    parts = []
    for axis, value in axes.items():
        if value is None:
            continue
        if axis in numbers:
            start = _start(axis, [other for other in (*numbers, "seed") if other != axis])
            parts.append(f"{start}{_figure(axis, float(value))}")
        else:
            parts.append(f"{axis}={value}" if isinstance(value, bool) else str(value))
    return " ".join([*parts, f"s{seed}"])


def _start(axis: str, others: Sequence[str]) -> str:
    lengths = range(1, len(axis) + 1)
    return next((axis[:n] for n in lengths if not any(o.startswith(axis[:n]) for o in others)), axis)


def _figure(axis: str, value: float) -> str:
    """A share with two digits, so that names of one study are of one length."""
    share = axis.endswith(("ratio", "share")) and 0 <= value <= 1 and round(value, 2) == value
    return f"{value:.2f}" if share else f"{value:g}"


def first(words: str) -> str:
    """Words at the beginning of a sentence, as in `Text-to-video`; those with capitals of their own stay."""
    start = words.split(" ", 1)[0]
    return words[:1].upper() + words[1:] if start.islower() else words


def _share(values: Sequence[Value]) -> str:
    if values == [0]:
        return "no"
    shares = [f"{100 * float(value):g} %" for value in values if isinstance(value, (int, float))]
    return f"{' or '.join(shares)} of the"
