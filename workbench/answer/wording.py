"""The sentences that say what was found and how certain it is: comparisons, answers, effects, verdicts.

What limits an answer, and what its intervals are about, is said in `workbench.answer.caveats`. There are no
sentences on certainty elsewhere. Both files are given numbers and kinds and make words of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from workbench import stats, tables
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence
from workbench.metrics import Metric
from workbench.stats.power import MOST_SEEDS, detectable, seeds_needed

MOST_LISTED = 4
"""Levels or pairs of levels that a sentence names."""

VERDICT_RULE = (
    "A claim holds when the whole 95 % interval of its figure satisfies the rule, does not when the "
    "whole interval fails it, and cannot be told otherwise."
)
NO_INTERACTION = "No interaction of two axes is distinguishable after Holm."
BOTH_SIDES = "the interval reaches to both sides of the rule"
WITHOUT_INTERVAL: Mapping[stats.Outcome, str] = {
    "one seed": "one seed says nothing about other seeds",
    "repeated seeds": "all seeds gave the same answers and count as one",
    "constant": "the figure is the same in each seed; without any spread there is nothing to judge that by",
}
"""Why the verdict on a figure without an interval is open."""


# One comparison


def interval(found: stats.Interval, decimals: int = 1, *, negated: bool = False) -> str:
    """As in "95 % interval 5.2 to 11.0"; negated: of the difference the other way round."""
    low, high = (-found.high, -found.low) if negated else (found.low, found.high)
    return f"{100 * found.level:.3g} % interval {low:.{decimals}f} to {high:.{decimals}f}"


def comparison(c: stats.Comparison, worth: float | None = None) -> str:
    """One sentence on an adjusted comparison, without a full stop.

    worth: the difference one would like to be able to see, in the metric's units; without it, a
    difference as large as the one observed.
    """
    if c.outcome == "told apart":
        assert c.interval is not None
        loser = c.b if c.winner == c.a else c.a
        family = f"; holds after Holm over {c.family} comparisons" if c.family > 1 else ""
        limits = interval(c.interval, _decimals(c), negated=c.effect < 0)
        return f"{c.winner} beats {loser} by {_difference(c)} ({limits}; {_seeds(c)}{family})"
    if c.outcome in ("one seed", "repeated seeds"):
        return _one_seed(c)
    if c.outcome == "constant":
        return (
            f"{c.a} and {c.b} differed by exactly {_difference(c)} in each of {_seeds(c)}; "
            "without any spread there is nothing to judge that by"
        )
    if c.outcome == "equal":
        return f"{c.a} and {c.b} had the same results throughout, in all {_seeds(c)}"
    assert c.interval is not None
    limits = interval(c.interval, _decimals(c))
    holm = f", not after Holm over {c.family} comparisons" if c.interval.excludes_zero() else ""
    return (
        f"{c.a} and {c.b} cannot be told apart with {_seeds(c)} "
        f"(difference {c.effect:.{_decimals(c)}f} {c.unit}, {limits}{holm}){_outlook(c, worth)}"
    )


def _one_seed(c: stats.Comparison) -> str:
    """A comparison in which nothing varied between seeds is about these trained models at most."""
    reason = "one seed" if c.outcome == "one seed" else WITHOUT_INTERVAL[c.outcome]
    seen = "they had the same result" if c.effect == 0 else f"{c.ahead} was ahead by {_difference(c)}"
    if c.over_queries is not None:
        seen += f" ({interval(c.over_queries, _decimals(c), negated=c.effect < 0)} over queries)"
    return (
        f"{c.a} and {c.b} cannot be told apart: {reason}; in these trained models {seen}, "
        "which says nothing about other seeds"
    )


def _outlook(c: stats.Comparison, worth: float | None) -> str:
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


def _difference(c: stats.Comparison) -> str:
    return f"{abs(c.effect):.{_decimals(c)}f} {c.unit}"


def _seeds(c: stats.Comparison) -> str:
    return f"{len(c.seeds)} seed{'s' if len(c.seeds) != 1 else ''}"


def _decimals(c: stats.Comparison) -> int:
    """One, or as many as show the first digit of the uncertainty (else of the difference)."""
    found = c.interval or c.over_queries
    scale = (found.high - found.low) / 2 if found is not None else 0.0
    scale = scale or abs(c.effect)
    return min(6, max(1, -math.floor(math.log10(scale)))) if scale > 0 else 1


# The answer of a study


def ablation(
    asked: Asked, evidence: Evidence, selected: Sequence[str], next_best: str | None,
    comparisons: Mapping[str, stats.Comparison], refused: Mapping[str, str],
) -> str:  # fmt: skip
    """The cell that val selects, its test score, and how it stands against the baseline.

    selected: keys, one for each stratum; next_best: key of the best cell by val besides the baseline.
    """
    if not selected:
        return "No run is complete yet."
    if asked.within:
        return _strata(asked, evidence, selected, comparisons)
    best = selected[0]
    mean = _mean(evidence, best, f"test/{asked.metric}")
    reached = f"{asked.labels[best]} is best by val/{asked.metric} and reaches test/{asked.metric} {mean:.1f}"
    if best == asked.baseline:
        second = f" {comparison(comparisons[next_best])}." if next_best and next_best in comparisons else ""
        return f"{reached}; it is the baseline: no other cell does better on val.{second}"
    if best in comparisons:
        return f"{reached}. {comparison(comparisons[best])}."
    if best in refused:
        return f"{reached}, but is not compared with the baseline: {refused[best]}."
    return f"{reached}; there is no baseline to compare with yet."


def _strata(
    asked: Asked, evidence: Evidence, selected: Sequence[str], comparisons: Mapping[str, stats.Comparison]
) -> str:
    """The best choice of each stratum by val, and whether it is the same everywhere."""
    metric = f"test/{asked.metric}"
    parts = []
    for key in selected:
        reached = f"{asked.choice(key)} {_mean(evidence, key, metric):.1f}"
        parts.append(f"{asked.stratum(key)}: {reached}{_against_baseline(asked, key, comparisons)}")
    text = f"Best by val/{asked.metric}, with its {metric} and against {asked.against}: {'; '.join(parts)}."
    counts = Counter(map(asked.choice, selected))
    if len(counts) == 1:
        return f"{text} The choice by val is the same in all {len(selected)} that have runs."
    listed = ", ".join(f"{choice} in {count}" for choice, count in counts.most_common())
    return f"{text} The choice by val differs between them ({listed}), which by itself is no claim."


def _against_baseline(asked: Asked, key: str, comparisons: Mapping[str, stats.Comparison]) -> str:
    if key == asked.base_of(key):
        return " (the baseline)"
    if (c := comparisons.get(key)) is None:
        return " (not compared yet)"
    if c.winner is None or c.interval is None:
        return f" ({c.effect:+.1f}, not told apart)"
    verb = "beats it" if c.winner == c.a else "loses to it"
    return f" ({verb} by {abs(c.effect):.1f}, {interval(c.interval, negated=c.effect < 0)})"


def search(asked: Asked, evidence: Evidence, best: str, front: Sequence[str]) -> str:
    """The answer of a search, which is a statement about these trials and no claim."""
    many = trials(evidence.done.height)
    if front:
        ends = [front[0]] if len(front) == 1 else [front[0], front[-1]]
        said = " to ".join(_reached(asked, evidence, key) for key in ends)
        against = f"val/{asked.metric} against {asked.cost}"
        text = f"{len(front)} of {many} are on the Pareto front of {against}: {said}"
    else:
        text = f"Of {many}, {_reached(asked, evidence, best)} is best by val/{asked.metric}"
    return f"{text}. Selected on val among {many} with one seed each, this is no claim."


def _reached(asked: Asked, evidence: Evidence, key: str) -> str:
    test = next(iter(evidence.per_seed(key, f"test/{asked.metric}").values()))
    text = f"{asked.labels[key]} (test/{asked.metric} {test:.1f}"
    if asked.cost:
        text += f" for {asked.cost} {tables.number(next(iter(evidence.per_seed(key, asked.cost).values())))}"
    return text + ")"


def trials(count: int) -> str:
    """As in "1 trial" and "12 trials"."""
    return f"{count} trial{'' if count == 1 else 's'}"


def _mean(evidence: Evidence, key: str, metric: str) -> float:
    runs = evidence.per_seed(key, metric)
    return sum(runs.values()) / len(runs)


# Effects over a grid


def effects(found: stats.FactorEffects, measure: Metric) -> str:
    """Which axes matter, and which of them act together; empty where nothing was tested (one seed)."""
    if not found.tested:
        return ""
    distinct: dict[str, list[stats.Effect]] = {}
    for effect in found.of_one_axis:
        distinct.setdefault(effect.factors[0], []).extend([effect] if effect.distinguishable else [])
    parts = [f"{axis} matters: {_largest(levels)}" for axis, levels in distinct.items() if levels]
    if silent := [axis for axis, levels in distinct.items() if not levels]:
        parts.append(f"no main effect of {' or '.join(silent)} is distinguishable")
    rest = ""
    if any(distinct.values()):
        rest = f" ({_scale(measure)} from the mean of all cells; told after Holm)"
    text = f"On average over the other choices, {'; '.join(parts)}{rest}."
    if joint := [effect for effect in found.of_two_axes if effect.distinguishable]:
        return f"{text} Beyond that, together: {_largest(joint)}."
    return f"{text} No interaction of two axes is distinguishable."


def effects_legend(found: stats.FactorEffects, measure: Metric) -> str:
    """What a table of main effects shows and over which seeds."""
    return (
        f"Mean of the cells with this choice minus the mean of all cells, {_scale(measure)}, "
        f"{effects_vary(found)}. {effects_seeds(found)}"
    )


def effects_vary(found: stats.FactorEffects) -> str:
    """What intervals and p values the effects have: "with 95 % intervals over seeds; ..."."""
    if found.tested:
        kinds = {effect.interval.kind for effect in found.effects if effect.interval is not None}
        over = "seeds and queries" if "seeds+queries" in kinds else "seeds"
        return f"with 95 % intervals over {over}; p after Holm over the choices of one axis or pair"
    if len(found.seeds) == 1:
        return "one seed: no interval and no test"
    return f"{WITHOUT_INTERVAL['repeated seeds']}: no interval and no test"


def effects_seeds(found: stats.FactorEffects) -> str:
    """Which seeds were used, and how many runs of which seeds were not, as a sentence."""
    used = f"Seeds used: {', '.join(map(str, found.seeds))}"
    if not found.unused_seeds:
        return f"{used}."
    unused = sorted({seed for left in found.unused_seeds.values() for seed in left})
    runs = sum(len(left) for left in found.unused_seeds.values())
    return (
        f"{used}; left out {'was' if runs == 1 else 'were'} {runs} run{'' if runs == 1 else 's'} of seed"
        f"{'' if len(unused) == 1 else 's'} {', '.join(map(str, unused))}, which not every cell has."
    )


def _largest(effects: Sequence[stats.Effect]) -> str:
    """The largest ones, with their intervals."""
    largest = sorted(effects, key=lambda effect: -abs(effect.effect))[:MOST_LISTED]
    more = f" and {len(effects) - len(largest)} more" if len(effects) > len(largest) else ""
    return ", ".join(f"{_levels(effect)} by {_size(effect)}" for effect in largest) + more


def _levels(effect: stats.Effect) -> str:
    if len(effect.levels) == 1:
        return tables.number(effect.levels[0])
    pairs = zip(effect.factors, effect.levels, strict=True)
    return " with ".join(f"{factor}={tables.number(level)}" for factor, level in pairs)


def _size(effect: stats.Effect) -> str:
    i = effect.interval
    return f"{effect.effect:+.1f}" + (f" ({i.low:+.1f} to {i.high:+.1f})" if i is not None else "")


def _scale(measure: Metric) -> str:
    """As in "in points of R@1"."""
    return f"in {measure.difference}" if measure.difference else measure.in_units


# Verdicts


def verdict(text: str, verdict: str, reason: str, measured: str, paper: str, rule: str) -> str:
    """All of a verdict on one line, for the terminal and the dashboard."""
    why = f" ({reason})" if reason else ""
    return (
        f"{text}: {verdict}{why}; here {measured}, paper {paper}; "
        f"it holds when the whole 95 % interval is {rule}"
    )
