"""Verdicts on published claims: holds, does not hold, open; by rule, from the interval of a figure.

A claim says that a figure is at least so much. It *holds* when the whole interval of the figure is at or
above that, it *does not hold* when the whole interval is below, and otherwise it is *open*. The level of
the interval is 1 - 0.05 / m, m being all that the answer tests. What is counted, as its metric says (FLOPs,
tokens, passes), decides without an interval. Anything else needs two seeds that do not agree in all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench import stats, tasks
from workbench.answer import sentences, wording
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError

HOLDS, DOES_NOT, OPEN = "holds", "does not hold", "open"


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
    """Why it is open; else empty."""
    level: float
    """Of the interval on which it rests."""

    @property
    def line(self) -> str:
        """All of it on one line, for the terminal and the dashboard."""
        return sentences.verdict(
            self.text, self.verdict, self.reason, self.measured, self.paper, self.rule, self.level
        )


@dataclass(frozen=True)
class _Figure:
    """What was measured."""

    value: float
    limits: tuple[float, float] | None
    why: str = ""
    """Why there are no limits."""


def is_counted(claim: Mapping[str, Any]) -> bool:
    """Whether the figure of a claim follows from the configuration, so that its verdict needs no interval."""
    return tasks.metric(claim["metric"]).counted


def verdict_level(family: stats.Family) -> float:
    """The level of the intervals on which verdicts rest: a part of alpha for each test of the answer."""
    return 1 - family.alpha / family.size


def judge(
    claim: Mapping[str, Any], asked: StudyRecord, evidence: Evidence,
    comparisons: Mapping[str, stats.Comparison], level: float,
) -> Verdict:  # fmt: skip
    """The verdict on one claim (fields of `workbench.study.spec.Claim`), from intervals of this level."""
    measured, verdict, reason = _judged(claim, asked, evidence, comparisons, level)
    return Verdict(
        text=claim["text"],
        metric=claim["metric"],
        paper=claim["paper"],
        measured=measured,
        rule=f"at least {_figure_text(claim, float(claim['at_least']))}",
        verdict=verdict,
        reason=reason,
        level=level,
    )


def _judged(
    claim: Mapping[str, Any], asked: StudyRecord, evidence: Evidence,
    comparisons: Mapping[str, stats.Comparison], level: float,
) -> tuple[str, str, str]:  # fmt: skip
    """What was measured, the verdict, and why it is open."""
    try:
        figure = _figure(claim, asked, evidence, comparisons, level)
    except UserError as error:
        return "–", OPEN, str(error)
    least = float(claim["at_least"])
    measured = _figure_text(claim, figure.value)
    if figure.limits is None:
        return measured, OPEN, figure.why
    low, high = figure.limits
    if low < high:
        measured += f" ({_figure_text(claim, low)} to {_figure_text(claim, high)})"
    if low >= least:
        return measured, HOLDS, ""
    if high < least:
        return measured, DOES_NOT, ""
    return measured, OPEN, sentences.BOTH_SIDES


def _figure(
    claim: Mapping[str, Any], asked: StudyRecord, evidence: Evidence,
    comparisons: Mapping[str, stats.Comparison], level: float,
) -> _Figure:  # fmt: skip
    """`UserError` without runs."""
    arm = next((key for key, axes in asked.cells.items() if dict(axes) == dict(claim["arm"])), None)
    base_key = None if arm is None else asked.base_of(arm)
    if arm is None or base_key is None:
        raise UserError("the study has no such arm, or no baseline")
    if claim["metric"] == asked.metric and claim["figure"] == "difference":
        if (c := comparisons.get(arm)) is None:
            raise UserError("the arm and the baseline are not both there to be compared")
        return _compared(c, level)
    metric = claim["metric"] if "/" in claim["metric"] else f"test/{claim['metric']}"
    mine, base = evidence.per_seed(arm, metric), evidence.per_seed(base_key, metric)
    seeds = sorted(set(mine) & set(base))
    if not seeds:
        raise UserError("no seed is complete in both the arm and the baseline")
    a, b = (np.array([values[seed] for seed in seeds]) for values in (mine, base))
    if claim["figure"] == "difference":
        return _difference(a, b, metric, level, tasks.metric(metric).reach)
    if not ((a > 0).all() and (b > 0).all()):
        raise UserError(f"{tasks.title(metric)} is not above zero in every run, so it has no ratio")
    # A ratio is averaged as its logarithm, so that "twice" and "half" weigh the same.
    found = _difference(np.log(a), np.log(b), metric, level)
    if claim["figure"] == "times":
        limits = None if found.limits is None else (math.exp(found.limits[0]), math.exp(found.limits[1]))
        return _Figure(math.exp(found.value), limits, found.why)
    limits = None if found.limits is None else (_saved(found.limits[1]), _saved(found.limits[0]))
    return _Figure(_saved(found.value), limits, found.why)


def _saved(logarithm: float) -> float:
    """Percent less than the baseline."""
    return 100 * (1 - math.exp(logarithm))


def _compared(c: stats.Comparison, level: float) -> _Figure:
    """Without an interval the verdict stays open, as the comparison does."""
    if (interval := c.interval_at(level)) is not None:
        return _Figure(c.effect, (interval.low, interval.high))
    return _Figure(c.effect, None, wording.WITHOUT_INTERVAL[c.outcome])


def _difference(
    a: np.ndarray, b: np.ndarray, metric: str, level: float, reach: float | None = None
) -> _Figure:
    """Mean of a - b over paired seeds, [n] each, with its t interval."""
    if tasks.metric(metric).counted:
        if not (np.allclose(a, a[0]) and np.allclose(b, b[0])):
            raise UserError(f"{tasks.title(metric)} should be the same in all runs of a cell, and is not")
        mean = float((a - b).mean())
        return _Figure(mean, (mean, mean))
    return _compared(stats.compare(dict(enumerate(a)), dict(enumerate(b)), reach=reach), level)


def _figure_text(claim: Mapping[str, Any], figure: float) -> str:
    """As in `43.1 %` saved, `2.04x`, or a difference of `+3.2`."""
    if claim["figure"] == "saved":
        return f"{figure:.1f} %"
    return f"{figure:.2f}x" if claim["figure"] == "times" else f"{figure:+.1f}"
