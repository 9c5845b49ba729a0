"""Verdicts on published claims: holds, does not hold, open; by rule, from the interval of a figure.

A claim is that a figure has at least some value. It *holds* when the whole interval of the figure is at or
above that value, it *does not hold* when the whole interval is below, and otherwise it is *open*. The level
of the interval is 1 - 0.05 / m for m tests in the answer. Counted metrics (FLOPs, tokens, passes) are decided
without an interval. All others need two seeds with different results. Metrics that are measured on queries
need an interval over seeds and queries, so their figure must be a difference of a metric that is recorded for
each query.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench import stats, tasks
from workbench.answer import sentences, wording
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError
from workbench.metrics import score

NO_SHARED_SEED = "no seed is complete in both the arm and the baseline"
WITHOUT_QUERIES = "its interval would be over seeds alone, not over queries"
HOLDS, DOES_NOT, OPEN = "holds", "does not hold", "open"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on one claim, with the measured figure."""

    text: str
    metric: str
    paper: str
    measured: str
    """The figure with its interval, in words; a dash if nothing was measured."""
    rule: str
    verdict: str
    reason: str
    """Why it is open; else empty."""
    level: float
    """Level of the interval on which the verdict rests."""

    @property
    def line(self) -> str:
        """All of it on one line, for the terminal and the dashboard."""
        return sentences.verdict(
            self.text, self.verdict, self.reason, self.measured, self.paper, self.rule, self.level
        )


@dataclass(frozen=True)
class _Figure:
    """A measured figure with its limits."""

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
    """The measured figure in words, the verdict, and why it is open."""
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
    """The measured figure of a claim. Raises `UserError` without runs."""
    arm = next((key for key, axes in asked.cells.items() if dict(axes) == dict(claim["arm"])), None)
    base_key = None if arm is None else asked.base_of(arm)
    if arm is None or base_key is None:
        raise UserError("the study has no such arm, or no baseline")
    name = claim["metric"].removeprefix("test/")
    if name == asked.metric and claim["figure"] == "difference":
        if (c := comparisons.get(arm)) is None:
            raise UserError("the arm and the baseline are not both there to be compared")
        return _compared(c, level)
    metric = claim["metric"] if "/" in claim["metric"] else f"test/{claim['metric']}"
    of_queries = score(metric) is not None and not tasks.metric(metric).counted
    if of_queries and claim["figure"] == "difference" and tasks.queries_of(name) is not None:
        return _compared(_over_queries(evidence, name, arm, base_key), level)
    found = _over_seeds(claim, evidence, metric, (arm, base_key), level)
    return replace(found, limits=None, why=WITHOUT_QUERIES) if of_queries else found


def _over_queries(evidence: Evidence, name: str, arm: str, base: str) -> stats.Comparison:
    """An arm minus its baseline in a metric over queries that is not the study's own."""
    sides = [evidence.claimed[name].get(key, {}) for key in (arm, base)]
    for key, answered in zip((arm, base), sides, strict=True):
        complete = evidence.done.filter(key=key)["seed"].to_list()
        if missing := [str(seed) for seed in sorted(complete) if seed not in answered]:
            where = tasks.queries_of(name)
            assert where is not None  # otherwise no values would have been read
            seeds = f"seed{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            raise UserError(f"{where.file} of {seeds} is missing or damaged")
    if not set(sides[0]) & set(sides[1]):
        raise UserError(NO_SHARED_SEED)
    every = [one for answered in sides for one in answered.values()]
    if len({one.identity for one in every}) > 1:
        raise UserError("the runs of the arm and the baseline answered other queries")
    a, b = ({seed: one.values for seed, one in answered.items()} for answered in sides)
    return stats.compare(a, b, groups=every[0].groups, reach=tasks.metric(name).reach)


def _over_seeds(
    claim: Mapping[str, Any], evidence: Evidence, metric: str, keys: tuple[str, str], level: float
) -> _Figure:
    """The figure of one number a run; keys: of the arm and of its baseline."""
    arm, base_key = keys
    mine, base = evidence.per_seed(arm, metric), evidence.per_seed(base_key, metric)
    seeds = sorted(set(mine) & set(base))
    if not seeds:
        raise UserError(NO_SHARED_SEED)
    a, b = (np.array([values[seed] for seed in seeds]) for values in (mine, base))
    if claim["figure"] == "difference":
        return _difference(a, b, metric, level, tasks.metric(metric).reach)
    if not ((a > 0).all() and (b > 0).all()):
        raise UserError(f"{tasks.title(metric)} is not above zero in every run, so it has no ratio")
    # Ratios are averaged as logarithms, so that "twice" and "half" have equal weights.
    found = _difference(np.log(a), np.log(b), metric, level)
    if claim["figure"] == "times":
        limits = None if found.limits is None else (math.exp(found.limits[0]), math.exp(found.limits[1]))
        return _Figure(math.exp(found.value), limits, found.why)
    limits = None if found.limits is None else (_saved(found.limits[1]), _saved(found.limits[0]))
    return _Figure(_saved(found.value), limits, found.why)


def _saved(logarithm: float) -> float:
    """The logarithm of a ratio, as percent less than the baseline."""
    return 100 * (1 - math.exp(logarithm))


def _compared(c: stats.Comparison, level: float) -> _Figure:
    """The figure of a comparison; without an interval the verdict stays open."""
    if (interval := c.interval_at(level)) is not None:
        return _Figure(c.effect, (interval.low, interval.high))
    return _Figure(c.effect, None, wording.WITHOUT_INTERVAL[c.outcome])


def _difference(
    a: np.ndarray, b: np.ndarray, metric: str, level: float, reach: float | None = None
) -> _Figure:
    """Mean of a - b over paired seeds, [n] each, with its t interval."""
    if tasks.metric(metric).counted:
        if not (np.allclose(a, a[0]) and np.allclose(b, b[0])):
            raise UserError(f"{tasks.title(metric)} must be the same in all runs of a cell, but is not")
        mean = float((a - b).mean())
        return _Figure(mean, (mean, mean))
    return _compared(stats.compare(dict(enumerate(a)), dict(enumerate(b)), reach=reach), level)


def _figure_text(claim: Mapping[str, Any], figure: float) -> str:
    """The figure in words: `43.1 %` saved, `2.04x`, or a difference of `+3.2`."""
    if claim["figure"] == "saved":
        return f"{figure:.1f} %"
    return f"{figure:.2f}x" if claim["figure"] == "times" else f"{figure:+.1f}"
