"""Verdicts on published claims: holds, does not, cannot be told; by rule, from the interval of a figure.

A claim says that a figure is at least so much. It *holds* when the whole 95 % interval of the figure is at
or above that, it *does not* when the whole interval is below, and otherwise it *cannot be told*. FLOPs are
counted, not sampled: they decide without an interval. Anything else needs two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import stats
from workbench.errors import UserError
from workbench.report.asked import Asked
from workbench.report.evidence import Evidence

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


def judge(
    claim: Mapping[str, Any], asked: Asked, evidence: Evidence, comparisons: Mapping[str, stats.Comparison]
) -> Verdict:
    """The verdict on one claim (fields of `workbench.study.spec.Claim`)."""
    try:
        estimate, low, high = _figure(claim, asked, evidence, comparisons)
    except UserError as error:
        return _verdict(claim, "–", OPEN, str(error))
    least = float(claim["at_least"])
    if low is None or high is None:
        return _verdict(claim, _words(claim, estimate), OPEN, "one seed says nothing about other seeds")
    measured = _words(claim, estimate)
    if low < high:
        measured += f" ({_words(claim, low)} to {_words(claim, high)})"
    if low >= least:
        return _verdict(claim, measured, HOLDS)
    if high < least:
        return _verdict(claim, measured, DOES_NOT)
    return _verdict(claim, measured, OPEN, "the interval reaches to both sides of the rule")


def _figure(
    claim: Mapping[str, Any], asked: Asked, evidence: Evidence, comparisons: Mapping[str, stats.Comparison]
) -> tuple[float, float | None, float | None]:
    """The figure and its interval; the limits are None with one seed. `UserError` without runs."""
    arm = next((key for key, axes in asked.cells.items() if dict(axes) == dict(claim["arm"])), None)
    if arm is None or asked.baseline is None:
        raise UserError("the study has no such arm, or no baseline")
    if claim["metric"] == asked.metric and claim["figure"] == "difference":
        if (c := comparisons.get(arm)) is None:
            raise UserError("the arm and the baseline are not both there to be compared")
        if c.estimate is not None and c.estimate.error == 0:
            return c.effect, c.effect, c.effect
        return c.effect, *((c.interval.low, c.interval.high) if c.interval is not None else (None, None))
    metric = claim["metric"] if "/" in claim["metric"] else f"test/{claim['metric']}"
    mine, base = evidence.per_seed(arm, metric), evidence.per_seed(asked.baseline, metric)
    seeds = sorted(set(mine) & set(base))
    if not seeds:
        raise UserError("no seed is complete in both the arm and the baseline")
    a, b = (np.array([values[seed] for seed in seeds]) for values in (mine, base))
    if claim["figure"] == "difference":
        return _mean(a - b, metric)
    if not ((a > 0).all() and (b > 0).all()):
        raise UserError(f"{metric} is not above zero in every run, so it has no ratio")
    # A ratio is averaged as its logarithm, so that "twice" and "half" weigh the same.
    ratio, low, high = (None if x is None else math.exp(x) for x in _mean(np.log(a / b), metric))
    assert ratio is not None
    if claim["figure"] == "times":
        return ratio, low, high
    if low is None or high is None:
        return 100 * (1 - ratio), None, None
    return 100 * (1 - ratio), 100 * (1 - high), 100 * (1 - low)


def _mean(values: np.ndarray, metric: str) -> tuple[float, float | None, float | None]:
    """Mean over paired seeds [n] with its t interval."""
    mean = float(values.mean())
    if any(word in metric for word in COUNTED):
        return mean, mean, mean
    interval = stats.summarise({i: [value] for i, value in enumerate(values)}).interval
    return (mean, interval.low, interval.high) if interval is not None else (mean, None, None)


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
