"""Verdicts on published claims: holds, does not, cannot be told; by rule, from the interval of a figure.

A claim says that a figure is at least so much. It *holds* when the whole 95 % interval of the figure is at
or above that, it *does not* when the whole interval is below, and otherwise it *cannot be told*. FLOPs are
counted, not sampled: they decide without an interval. Anything else needs two seeds that do not agree in all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import stats
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence
from workbench.errors import UserError

HOLDS, DOES_NOT, OPEN = "holds", "does not", "cannot be told"
COUNTED = ("flops", "tokens", "passes")
"""In the names of metrics that are counted from the configuration and do not vary from run to run."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One claim beside what was measured."""

    text: str
    metric: str
    paper: str
    measured: str
    """The figure with its interval, in words; a dash where nothing was measured."""
    rule: str
    verdict: str
    reason: str
    """Why it cannot be told; else empty."""

    @property
    def line(self) -> str:
        """All of it on one line, for the terminal and the dashboard."""
        reason = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.text}: {self.verdict}{reason}; here {self.measured}, paper {self.paper}; "
            f"it holds when the whole 95 % interval is {self.rule}"
        )


@dataclass(frozen=True)
class _Figure:
    """What was measured."""

    value: float
    limits: tuple[float, float] | None
    why: str = ""
    """Why there are no limits."""


ONE_SEED = "one seed says nothing about other seeds"
REPEATED = "all seeds gave the same answers and count as one"
NO_SPREAD = "the figure is the same in each seed; without any spread there is nothing to judge that by"


def judge(
    claim: Mapping[str, Any], asked: Asked, evidence: Evidence, comparisons: Mapping[str, stats.Comparison]
) -> Verdict:
    """The verdict on one claim (fields of `workbench.study.spec.Claim`)."""
    try:
        figure = _figure(claim, asked, evidence, comparisons)
    except UserError as error:
        return _verdict(claim, "–", OPEN, str(error))
    least = float(claim["at_least"])
    measured = _words(claim, figure.value)
    if figure.limits is None:
        return _verdict(claim, measured, OPEN, figure.why)
    low, high = figure.limits
    if low < high:
        measured += f" ({_words(claim, low)} to {_words(claim, high)})"
    if low >= least:
        return _verdict(claim, measured, HOLDS)
    if high < least:
        return _verdict(claim, measured, DOES_NOT)
    return _verdict(claim, measured, OPEN, "the interval reaches to both sides of the rule")


def _figure(
    claim: Mapping[str, Any], asked: Asked, evidence: Evidence, comparisons: Mapping[str, stats.Comparison]
) -> _Figure:
    """`UserError` without runs."""
    arm = next((key for key, axes in asked.cells.items() if dict(axes) == dict(claim["arm"])), None)
    base_key = None if arm is None else asked.base_of(arm)
    if arm is None or base_key is None:
        raise UserError("the study has no such arm, or no baseline")
    if claim["metric"] == asked.metric and claim["figure"] == "difference":
        if (c := comparisons.get(arm)) is None:
            raise UserError("the arm and the baseline are not both there to be compared")
        return _compared(c)
    metric = claim["metric"] if "/" in claim["metric"] else f"test/{claim['metric']}"
    mine, base = evidence.per_seed(arm, metric), evidence.per_seed(base_key, metric)
    seeds = sorted(set(mine) & set(base))
    if not seeds:
        raise UserError("no seed is complete in both the arm and the baseline")
    a, b = (np.array([values[seed] for seed in seeds]) for values in (mine, base))
    if claim["figure"] == "difference":
        return _difference(a, b, metric)
    if not ((a > 0).all() and (b > 0).all()):
        raise UserError(f"{metric} is not above zero in every run, so it has no ratio")
    # A ratio is averaged as its logarithm, so that "twice" and "half" weigh the same.
    found = _difference(np.log(a), np.log(b), metric)
    if claim["figure"] == "times":
        limits = None if found.limits is None else (math.exp(found.limits[0]), math.exp(found.limits[1]))
        return _Figure(math.exp(found.value), limits, found.why)
    limits = None if found.limits is None else (_saved(found.limits[1]), _saved(found.limits[0]))
    return _Figure(_saved(found.value), limits, found.why)


def _saved(logarithm: float) -> float:
    """Percent less than the baseline."""
    return 100 * (1 - math.exp(logarithm))


def _compared(c: stats.Comparison) -> _Figure:
    """Nothing is told where `stats.claim` would tell nothing."""
    if c.interval is not None:
        return _Figure(c.effect, (c.interval.low, c.interval.high))
    if c.repeated_seeds:
        return _Figure(c.effect, None, REPEATED)
    return _Figure(c.effect, None, ONE_SEED if len(c.seeds) == 1 else NO_SPREAD)


def _difference(a: np.ndarray, b: np.ndarray, metric: str) -> _Figure:
    """Mean of a - b over paired seeds, [n] each, with its t interval."""
    if any(word in metric for word in COUNTED):
        mean = float((a - b).mean())
        return _Figure(mean, (mean, mean))
    return _compared(stats.compare(dict(enumerate(a)), dict(enumerate(b))))


def _words(claim: Mapping[str, Any], figure: float) -> str:
    if claim["figure"] == "saved":
        return f"{figure:.1f} %"
    return f"{figure:.2f}x" if claim["figure"] == "times" else f"{figure:+.1f}"


def _verdict(claim: Mapping[str, Any], measured: str, verdict: str, reason: str = "") -> Verdict:
    return Verdict(
        text=claim["text"],
        metric=claim["metric"],
        paper=claim["paper"],
        measured=measured,
        rule=f"at least {_words(claim, float(claim['at_least']))}",
        verdict=verdict,
        reason=reason,
    )
