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

from workbench import stats, tasks
from workbench.answer import wording
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence
from workbench.errors import UserError

HOLDS, DOES_NOT, OPEN = "holds", "does not", "cannot be told"


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
        return wording.verdict(self.text, self.verdict, self.reason, self.measured, self.paper, self.rule)


@dataclass(frozen=True)
class _Figure:
    """What was measured."""

    value: float
    limits: tuple[float, float] | None
    why: str = ""
    """Why there are no limits."""


def judge(
    claim: Mapping[str, Any], asked: Asked, evidence: Evidence, comparisons: Mapping[str, stats.Comparison]
) -> Verdict:
    """The verdict on one claim (fields of `workbench.study.spec.Claim`)."""
    try:
        figure = _figure(claim, asked, evidence, comparisons)
    except UserError as error:
        return _verdict(claim, "–", OPEN, str(error))
    least = float(claim["at_least"])
    measured = _figure_text(claim, figure.value)
    if figure.limits is None:
        return _verdict(claim, measured, OPEN, figure.why)
    low, high = figure.limits
    if low < high:
        measured += f" ({_figure_text(claim, low)} to {_figure_text(claim, high)})"
    if low >= least:
        return _verdict(claim, measured, HOLDS)
    if high < least:
        return _verdict(claim, measured, DOES_NOT)
    return _verdict(claim, measured, OPEN, wording.BOTH_SIDES)


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
    """Without an interval the verdict stays open, as the comparison does."""
    if c.interval is not None:
        return _Figure(c.effect, (c.interval.low, c.interval.high))
    return _Figure(c.effect, None, wording.WITHOUT_INTERVAL[c.outcome])


def _difference(a: np.ndarray, b: np.ndarray, metric: str) -> _Figure:
    """Mean of a - b over paired seeds, [n] each, with its t interval."""
    if tasks.metric(metric).counted:
        mean = float((a - b).mean())
        return _Figure(mean, (mean, mean))
    return _compared(stats.compare(dict(enumerate(a)), dict(enumerate(b))))


def _figure_text(claim: Mapping[str, Any], figure: float) -> str:
    """As in `43.1 %` saved, `2.04x`, or a difference of `+3.2`."""
    if claim["figure"] == "saved":
        return f"{figure:.1f} %"
    return f"{figure:.2f}x" if claim["figure"] == "times" else f"{figure:+.1f}"


def _verdict(claim: Mapping[str, Any], measured: str, verdict: str, reason: str = "") -> Verdict:
    return Verdict(
        text=claim["text"],
        metric=claim["metric"],
        paper=claim["paper"],
        measured=measured,
        rule=f"at least {_figure_text(claim, float(claim['at_least']))}",
        verdict=verdict,
        reason=reason,
    )
