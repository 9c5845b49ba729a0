"""Sentences on curves over the budget, and texts of their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.stats import scaling

DOUBLING = "what a doubling brings"
InWords = Callable[[float], str]
"""Converts a budget to words."""


def best(found: Sequence[scaling.Best], budget: InWords) -> str:
    """A sentence on the best arm at each budget and on other candidates."""
    parts = []
    for one in found:
        others = [arm for arm in one.candidates if arm != one.best]
        open_ = f" (or {' or '.join(others)})" if others else " (no other may be it)"
        parts.append(f"{budget(one.budget)}: {one.best}{open_}")
    return f"Best by the mean, with all that may be the best at 95 % each: {'; '.join(parts)}."


def crossing(one: scaling.Crossing, budget: InWords) -> str:
    """A sentence on the crossing of two curves within the budgets that were run."""
    both = f"the curves of {one.a} and {one.b}"
    if one.ahead:
        return f"In all of the range {one.ahead} is ahead of the two, {one.a} and {one.b}."
    if one.at is not None:
        return f"In the means {both} cross at {budget(one.at)} ({_limits(one, budget)})."
    if one.low is None and one.high is None:
        return f"Whether and where {both} cross is open."
    return (
        f"In the means {both} do not cross once in the range; a crossing is possible {_limits(one, budget)}."
    )


def meeting(one: scaling.Crossing, budget: InWords) -> list[str]:
    """Where two arms would meet beyond the largest budget; nothing where their difference does not shrink."""
    if one.at is None:
        return []
    return [
        f"If their difference went on along a straight line over doublings, they would meet at "
        f"{budget(one.at)} ({_limits(one, budget)}), which nothing here has measured."
    ]


def agreement(one: scaling.Agreement, budget: InWords, largest: str) -> str:
    """A sentence on how well a budget predicts the order at the largest one."""
    limits = f"at least {100 * one.low:.0f} and at most {100 * one.high:.0f} % in 95 % of studies"
    if one.low == 0 and one.high == 1:
        limits = "none or all of them may, with so few seeds"
    return (
        f"{100 * one.share:.0f} % of the pairs stand at {budget(one.budget)} in the order that they have at "
        f"{largest} ({limits})."
    )


def standing(one: scaling.Crossing) -> str:
    """The result for a pair of arms, in a few words."""
    if one.ahead:
        return f"{one.ahead} is ahead everywhere"
    if one.at is None and (one.low is not None or one.high is not None):
        return "no single crossing; limits give the range in which they may cross"
    if one.low is not None and one.high is not None:
        return "they cross"
    return "open" if one.low is None and one.high is None else "one side is open"


def limits(mean: float, low: float, high: float, *, signed: bool = False) -> str:
    """A mean with its limits."""
    form = "+.1f" if signed else ".1f"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def legend(title: str, axis: str, seeds: str) -> str:
    """Legend of the tables of curves."""
    return (
        f"{title} over the budget ({axis}) with 95 % intervals over seeds and queries, seeds {seeds}. "
        "Between two budgets a curve is a straight line over the logarithm of the budget, because so few "
        "points cannot support another form. An arm is a candidate for the best where no other arm is "
        "significantly better; two curves may cross where they do not differ significantly; both at 95 %, "
        "without correction for several tests. A dash stands for a limit outside the budgets that were run. "
        "This table is descriptive; it makes no claims."
    )


def _limits(one: scaling.Crossing, budget: InWords) -> str:
    """The limits in words: `95 % interval 0.01 to 0.03 PFLOPs`, or with an open end."""
    if one.low is None and one.high is None:
        return "the 95 % interval is open at both ends"
    if one.low is None:
        assert one.high is not None
        return f"up to {budget(one.high)} at 95 %"
    if one.high is None:
        return f"from {budget(one.low)} on at 95 %"
    return f"95 % interval {budget(one.low)} to {budget(one.high)}"
