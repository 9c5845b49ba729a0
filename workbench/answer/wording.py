"""Sentences on results and their certainty: comparisons and answers.

Sentences on effects, verdicts and registered contrasts are in `workbench.answer.sentences`; those on
limitations and on kinds of intervals are in `workbench.answer.caveats`. There are no sentences on certainty
elsewhere. These modules convert numbers and kinds to words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from workbench import stats, tables, tasks
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.stats.power import MOST_SEEDS, detectable, seeds_needed

WITHOUT_CLAIMS = "shown without claims, which a study has for its registered contrasts or its planned looks"
WITHOUT_INTERVAL: Mapping[stats.Outcome, str] = {
    "one seed": "one seed says nothing about other seeds",
    "repeated seeds": "all seeds gave identical answers, so they count as one",
    "constant": "the figure is the same for every seed, so its uncertainty cannot be estimated",
}
"""Why the verdict on a figure without an interval is open."""
ONE_SEED = "not claimed: one seed"
"""Shown beside every difference of models with one seed."""


# Families of tests, and intervals


def percent(level: float) -> str:
    """A level in percent, such as "95 %" or "98.3 %"."""
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
    return "<0.001" if p < 0.001 else f"{p:.3f}"


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
            f"{c.a} and {c.b} differed by exactly {_difference(c)} in each of {_seeds(c)}, "
            "so the uncertainty of this difference cannot be estimated"
        )
    if c.outcome == "equal":
        return f"{c.a} and {c.b} had the same results throughout, in all {_seeds(c)}"
    assert c.interval is not None
    limits = interval(c.interval, _decimals(c))
    holm = _after_holm(c, ", not") if c.interval.excludes_zero() else ""
    return (
        f"{c.a} and {c.b} do not differ significantly with {_seeds(c)} "
        f"(difference {c.effect:.{_decimals(c)}f} {c.unit}, {limits}{holm}){_outlook(c, worth)}"
    )


def signed(c: stats.Comparison) -> str:
    """A registered difference in a few words, of what is named first: `+3.2 points of R@1 (...)`."""
    if c.outcome == "told apart" and c.shown is not None:
        limits = interval(c.shown, _decimals(c))
        return f"{c.effect:+.{_decimals(c)}f} {c.unit} ({limits}; {_seeds(c)})"
    if c.outcome == "one seed":
        limits = (
            f" ({interval(c.over_queries, _decimals(c))} over queries)" if c.over_queries is not None else ""
        )
        return f"{c.effect:+.{_decimals(c)}f} {c.unit} in the models of one seed{limits}"
    if c.outcome == "open" and c.interval is not None:
        limits = interval(c.interval, _decimals(c))
        return f"{c.effect:+.{_decimals(c)}f} {c.unit}, not significant with {_seeds(c)} ({limits})"
    return comparison(c)


def _after_holm(c: stats.Comparison, holds: str) -> str:
    many = c.family is not None and c.family.size > 1
    return f"{holds} after Holm over {family(c.family)}" if c.family is not None and many else ""


def _not_tested(c: stats.Comparison) -> str:
    """A difference that is shown beside the claims of a study and is none."""
    found = c.interval or c.over_queries
    over = " over queries" if c.interval is None else ""
    limits = "" if found is None else f"{interval(found, _decimals(c))}{over}; "
    return (
        f"{c.a} minus {c.b} is {c.effect:+.{_decimals(c)}f} {c.unit} ({limits}{_seeds(c)}), "
        "without a test and without a claim"
    )


def _one_seed(c: stats.Comparison) -> str:
    """A comparison in which nothing varied between seeds is about these trained models at most."""
    limits = ""
    if c.over_queries is not None:
        limits = f" ({interval(c.over_queries, _decimals(c), negated=c.effect < 0)} over queries)"
    if c.outcome == "one seed":
        other = c.b if c.ahead == c.a else c.a
        seen = f"{c.ahead} is ahead of {other} by {_difference(c)} in these models"
        if c.effect == 0:
            seen = f"{c.a} and {c.b} have the same result in these models"
        return f"{seen}{limits}; `--seeds 3` tells whether that is luck"
    seen = "they had the same result" if c.effect == 0 else f"{c.ahead} was ahead by {_difference(c)}"
    return (
        f"{c.a} and {c.b} cannot be compared: {WITHOUT_INTERVAL[c.outcome]}; in these trained models "
        f"{seen}{limits}, which says nothing about other seeds"
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
            f"; even {MOST_SEEDS:,} seeds would not be enough to detect a difference of {size} with these "
            f"{c.clusters} clips: the limit is about {limit:.{_decimals(c)}f}"
        )
    if needed <= len(c.seeds):
        return f"; a difference of {size} would have been detected with a probability of at least 80 %"
    seeds = float(f"{needed:.1g}")
    return f"; a fresh study would need on the order of {seeds:,.0f} seeds to detect a difference of {size}"


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
    asked: StudyRecord, evidence: Evidence, selected: Sequence[str], next_best: str | None,
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
    reached = f"Best on val: {asked.labels[best]}, with {_scored(asked, evidence, best)} on test"
    if paid := costs(asked, evidence, best):
        reached += f" ({paid})"
    if asked.registered:
        return f"{reached}; that it is best is no claim."
    if best == asked.baseline:
        second = f" {comparison(comparisons[next_best])}." if next_best and next_best in comparisons else ""
        return f"{reached}; it is the baseline: no other cell does better on val.{second}"
    if best in comparisons:
        return f"{reached}. {comparison(comparisons[best])}."
    if best in refused:
        return f"{reached}, but is not compared with the baseline: {refused[best]}."
    return f"{reached}; there is no baseline to compare with yet."


def _strata(
    asked: StudyRecord,
    evidence: Evidence,
    selected: Sequence[str],
    comparisons: Mapping[str, stats.Comparison],
) -> str:
    """The best choice of each stratum by val, and whether it is the same everywhere."""
    parts = []
    for key in selected:
        reached = f"{asked.choice(key)} {_mean(evidence, key, f'test/{asked.metric}'):.1f}"
        parts.append(f"{asked.stratum(key)}: {reached}{_against_baseline(asked, key, comparisons)}")
    text = f"Best on val, with {asked.measure.title} on test, against {asked.against}: {'; '.join(parts)}."
    counts = Counter(map(asked.choice, selected))
    if len(counts) == 1:
        return f"{text} The choice by val is the same in all {len(selected)} that have runs."
    listed = ", ".join(f"{choice} in {count}" for choice, count in counts.most_common())
    return f"{text} The choice by val differs between them ({listed}), which by itself is no claim."


def _against_baseline(asked: StudyRecord, key: str, comparisons: Mapping[str, stats.Comparison]) -> str:
    if key == asked.base_of(key):
        return " (the baseline)"
    if (c := comparisons.get(key)) is None:
        return " (not compared yet)"
    if c.winner is None or c.shown is None:
        why = "not tested" if c.family is None else ONE_SEED if c.outcome == "one seed" else "not significant"
        return f" ({c.effect:+.1f}, {why})"
    verb = "beats it" if c.winner == c.a else "loses to it"
    return f" ({verb} by {abs(c.effect):.1f}, {interval(c.shown, negated=c.effect < 0)})"


def search(asked: StudyRecord, evidence: Evidence, best: str, front: Sequence[str]) -> str:
    """The answer of a search, which is a statement about these trials and no claim."""
    many = trials(evidence.done.height)
    if front:
        ends = [front[0]] if len(front) == 1 else [front[0], front[-1]]
        said = " to ".join(_reached(asked, evidence, key) for key in ends)
        against = f"{asked.measure.label} on val against {tasks.metric(asked.cost).label}"
        are = "is" if len(front) == 1 else "are"
        text = f"{len(front)} of {many} {are} on the Pareto front of {against}: {said}"
    else:
        text = f"Of {many}, {_reached(asked, evidence, best)} is best on val"
    return f"{text}. Selected on val among {many} with one seed each, this is no claim."


COSTS = ("cost/train_gflops_per_clip", "speed/clips_per_s")
"""What the selected cell costs beside its baseline is said of these, where the study reads them."""


def costs(asked: StudyRecord, evidence: Evidence, key: str) -> str:
    """As in `training GFLOPs per clip: 0.112 against 0.795 of the baseline`; empty for that itself."""
    base = asked.base_of(key)
    if base is None or base == key:
        return ""
    found: list[str] = []
    done = evidence.done
    for name in COSTS:
        if name not in asked.reads or f"metric.{name}" not in done.columns:
            continue
        means = [done.filter(key=which)[f"metric.{name}"].mean() for which in (key, base)]
        if None not in means:
            values = [tables.number(mean) for mean in means]
            of = "" if found else " of the baseline"
            found.append(f"{tasks.metric(name).label}: {values[0]} against {values[1]}{of}")
    return "; ".join(found)


def _scored(asked: StudyRecord, evidence: Evidence, key: str) -> str:
    """As in `text-to-video R@1 of 51.8 %`."""
    unit = f" {asked.measure.unit}" if asked.measure.unit else ""
    return f"{asked.measure.label} of {_mean(evidence, key, f'test/{asked.metric}'):.1f}{unit}"


def _reached(asked: StudyRecord, evidence: Evidence, key: str) -> str:
    text = f"{asked.labels[key]} ({_scored(asked, evidence, key)} on test"
    if asked.cost:
        cost = next(iter(evidence.per_seed(key, asked.cost).values()))
        text += f", {tasks.metric(asked.cost).label} {tables.number(cost)}"
    return text + ")"


def trials(count: int) -> str:
    """As in "1 trial" and "12 trials"."""
    return f"{count} trial{'' if count == 1 else 's'}"


def _mean(evidence: Evidence, key: str, metric: str) -> float:
    runs = evidence.per_seed(key, metric)
    return tables.rounded(sum(runs.values()) / len(runs))
