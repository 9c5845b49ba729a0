"""The answer in a sentence: who beats whom, or that nobody can say, and what it would take."""

from __future__ import annotations

import math

from workbench.stats.compare import Comparison
from workbench.stats.power import MOST_SEEDS, detectable, seeds_needed


def claim(comparison: Comparison, worth: float | None = None) -> str:
    """One sentence on an adjusted comparison, without a full stop.

    worth: the difference one would like to be able to see, in the metric's units; without it, a
    difference as large as the one observed.
    """
    c = comparison
    if c.winner is not None and c.interval is not None:
        loser = c.b if c.winner == c.a else c.a
        family = f"; holds after Holm over {c.family} comparisons" if c.family > 1 else ""
        return (
            f"{c.winner} beats {loser} by {_difference(c)} "
            f"({c.interval.text(_decimals(c), negated=c.effect < 0)}; {_seeds(c)}{family})"
        )
    if c.estimate is None:
        return _one_seed(c)
    if c.interval is None:
        return (
            f"{c.a} and {c.b} differed by exactly {_difference(c)} in each of {_seeds(c)}; "
            "without any spread there is nothing to judge that by"
        )
    if c.estimate.error == 0:
        return f"{c.a} and {c.b} had the same results throughout, in all {_seeds(c)}"
    text = c.interval.text(_decimals(c))
    holm = f", not after Holm over {c.family} comparisons" if c.interval.excludes_zero() else ""
    return (
        f"{c.a} and {c.b} cannot be told apart with {_seeds(c)} "
        f"(difference {c.effect:.{_decimals(c)}f} {c.unit}, {text}{holm}){_outlook(c, worth)}"
    )


def _one_seed(c: Comparison) -> str:
    """Nothing varied between seeds: about these trained models at most."""
    better = c.a if (c.effect > 0) == c.higher_is_better else c.b
    reason = "all seeds gave the same answers and count as one" if c.repeated_seeds else "one seed"
    seen = "they had the same result" if c.effect == 0 else f"{better} was ahead by {_difference(c)}"
    if c.over_queries is not None:
        seen += f" ({c.over_queries.text(_decimals(c), negated=c.effect < 0)} over queries)"
    return (
        f"{c.a} and {c.b} cannot be told apart: {reason}; in these trained models {seen}, "
        "which says nothing about other seeds"
    )


def _outlook(c: Comparison, worth: float | None) -> str:
    """How many more seeds a difference of `worth` would take."""
    difference = abs(c.effect) if worth is None else worth
    if c.components is None or difference == 0:
        return ""
    size = f"{difference:.{_decimals(c)}f}"
    needed = seeds_needed(c.components, difference, family=c.family, level=c.level)
    if needed is None:
        limit = detectable(c.components, MOST_SEEDS, family=c.family, level=c.level)
        return (
            f"; even {MOST_SEEDS:,} seeds would not do to see a difference of {size} with these "
            f"{c.clusters} clips: the limit is about {limit:.{_decimals(c)}f}"
        )
    more = needed - len(c.seeds)
    if more <= 0:
        return f"; a difference of {size} would have been seen with a chance of at least 80 %"
    return f"; about {more} more would be needed to see a difference of {size}"


def _difference(c: Comparison) -> str:
    return f"{abs(c.effect):.{_decimals(c)}f} {c.unit}"


def _seeds(c: Comparison) -> str:
    return f"{len(c.seeds)} seed{'s' if len(c.seeds) != 1 else ''}"


def _decimals(c: Comparison) -> int:
    """One, or as many as show the first digit of the uncertainty (else of the difference)."""
    interval = c.interval or c.over_queries
    scale = (interval.high - interval.low) / 2 if interval is not None else 0.0
    scale = scale or abs(c.effect)
    return min(6, max(1, -math.floor(math.log10(scale)))) if scale > 0 else 1
