"""The sentences that say what was found and how certain it is: comparisons and answers.

Those on effects, verdicts and registered contrasts are in `workbench.answer.sentences`; what limits an
answer, and what its intervals are about, is said in `workbench.answer.caveats`. There are no sentences on
certainty elsewhere. These files are given numbers and kinds and make words of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from workbench import stats, tables
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence
from workbench.stats.power import MOST_SEEDS, detectable, seeds_needed

WITHOUT_CLAIMS = "shown without claims, which a study has for its registered contrasts or its planned looks"
WITHOUT_INTERVAL: Mapping[stats.Outcome, str] = {
    "one seed": "one seed says nothing about other seeds",
    "repeated seeds": "all seeds gave the same answers and count as one",
    "constant": "the figure is the same in each seed; without any spread there is nothing to judge that by",
}
"""Why the verdict on a figure without an interval is open."""


# What is tested together, and intervals


def percent(level: float) -> str:
    """As in "95 %" and "98.3 %"."""
    return f"{100 * level:.3g} %"


def family(found: stats.Family) -> str:
    """As in "5 comparisons" and "16 tests (5 comparisons, 11 effects)"."""
    counts = {"comparison": found.comparisons, "effect": found.effects, "verdict": found.verdicts}
    parts = [f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items() if n]
    if len(parts) == 1 and found.comparisons:
        return parts[0]
    return f"{found.size} test{'' if found.size == 1 else 's'} ({', '.join(parts)})"


def at_claims(found: Iterable[stats.Comparison | stats.Effect]) -> str:
    """As in " (of claims 98.3 %)", where claims have intervals of another level; else empty."""
    levels = {c.claimed_interval.level for c in found if c.claimed_interval is not None} - {0.95}
    return f" (of claims {percent(min(levels))})" if levels else ""


def p_value(p: float | None) -> str:
    """A p value in a table; empty where nothing was tested."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def difference_with_interval(c: stats.Comparison | None) -> str:
    """As in `+3.2 [+1.0, +5.4]`; over queries alone where there is one seed."""
    if c is None:
        return ""
    found = c.shown or c.over_queries
    limits = f" [{found.low:+.1f}, {found.high:+.1f}]" if found is not None else ""
    return f"{c.effect:+.1f}{limits}"


# One comparison


def interval(found: stats.Interval, decimals: int = 1, *, negated: bool = False) -> str:
    """As in "95 % interval 5.2 to 11.0"; negated: of the difference the other way round."""
    low, high = (-found.high, -found.low) if negated else (found.low, found.high)
    return f"{percent(found.level)} interval {low:.{decimals}f} to {high:.{decimals}f}"


def comparison(c: stats.Comparison, worth: float | None = None) -> str:
    """One sentence on an adjusted comparison, without a full stop.

    worth: the difference one would like to be able to see, in the metric's units; without it, a
    difference as large as the one observed.
    """
    if c.outcome == "told apart":
        assert c.shown is not None
        loser = c.b if c.winner == c.a else c.a
        limits = interval(c.shown, _decimals(c), negated=c.effect < 0)
        return (
            f"{c.winner} beats {loser} by {_difference(c)} ({limits}; {_seeds(c)}{_after_holm(c, '; holds')})"
        )
    if c.outcome == "not tested":
        return _not_tested(c)
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
    holm = _after_holm(c, ", not") if c.interval.excludes_zero() else ""
    return (
        f"{c.a} and {c.b} cannot be told apart with {_seeds(c)} "
        f"(difference {c.effect:.{_decimals(c)}f} {c.unit}, {limits}{holm}){_outlook(c, worth)}"
    )


def _after_holm(c: stats.Comparison, holds: str) -> str:
    many = c.family is not None and c.family.size > 1
    return f"{holds} after Holm over {family(c.family)}" if c.family is not None and many else ""


def _not_tested(c: stats.Comparison) -> str:
    """A difference that is shown beside the claims of a study and is none."""
    found = c.interval or c.over_queries
    limits = "" if found is None else f"{interval(found, _decimals(c))}; "
    over = " over queries" if c.interval is None and found is not None else ""
    limits = limits.replace("; ", f"{over}; ")
    return (
        f"{c.a} minus {c.b} is {c.effect:+.{_decimals(c)}f} {c.unit} ({limits}{_seeds(c)}), "
        "without a test and without a claim"
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
    """How many seeds a fresh study would need for a difference of `worth`. Not how many more: adding seeds
    until a claim appears makes claims of luck."""
    difference = abs(c.effect) if worth is None else worth
    if c.components is None or difference == 0:
        return ""
    size = f"{difference:.{_decimals(c)}f}"
    tests = 1 if c.family is None else c.family.size
    level = c.level if c.family is None else 1 - c.family.alpha
    needed = seeds_needed(c.components, difference, family=tests, level=level)
    if needed is None:
        limit = detectable(c.components, MOST_SEEDS, family=tests, level=level)
        return (
            f"; even {MOST_SEEDS:,} seeds would not do to see a difference of {size} with these "
            f"{c.clusters} clips: the limit is about {limit:.{_decimals(c)}f}"
        )
    if needed <= len(c.seeds):
        return f"; a difference of {size} would have been seen with a chance of at least 80 %"
    seeds = float(f"{needed:.1g}")
    return f"; a fresh study would need on the order of {seeds:,.0f} seeds to see a difference of {size}"


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
    if asked.registered:
        means = {key: _mean(evidence, key, f"test/{asked.metric}") for key in selected}
        listed = ", ".join(f"{asked.labels[key]} is best by val/{asked.metric} and reaches "
                           f"test/{asked.metric} {mean:.1f}" for key, mean in means.items())  # fmt: skip
        return f"{listed}, which by itself is no claim."
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
    if c.winner is None or c.shown is None:
        return f" ({c.effect:+.1f}, not {'tested' if c.family is None else 'told apart'})"
    verb = "beats it" if c.winner == c.a else "loses to it"
    return f" ({verb} by {abs(c.effect):.1f}, {interval(c.shown, negated=c.effect < 0)})"


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
