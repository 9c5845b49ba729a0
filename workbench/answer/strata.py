"""The answer of a study that compares within strata (`Study.within`): the best choice of each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from workbench import stats
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence


def sentence(
    asked: Asked, evidence: Evidence, selected: Sequence[str], comparisons: Mapping[str, stats.Comparison]
) -> str:
    """The best choice of each stratum by val, its test score and how it stands against its baseline, and
    whether it is the same everywhere."""
    metric = f"test/{asked.metric}"
    parts = []
    for key in selected:
        runs = evidence.per_seed(key, metric)
        reached = f"{asked.choice(key)} {sum(runs.values()) / len(runs):.1f}"
        parts.append(f"{asked.place(key)}: {reached}{_standing(asked, key, comparisons)}")
    text = f"Best by val/{asked.metric}, with its {metric} and against {asked.against}: {'; '.join(parts)}."
    counts = Counter(map(asked.choice, selected))
    if len(counts) == 1:
        return f"{text} The choice by val is the same in all {len(selected)} that have runs."
    listed = ", ".join(f"{choice} in {count}" for choice, count in counts.most_common())
    return f"{text} The choice by val differs between them ({listed}), which by itself is no claim."


def _standing(asked: Asked, key: str, comparisons: Mapping[str, stats.Comparison]) -> str:
    if key == asked.base_of(key):
        return " (the baseline)"
    if (c := comparisons.get(key)) is None:
        return " (not compared yet)"
    if c.winner is None or c.interval is None:
        return f" ({c.effect:+.1f}, not told apart)"
    verb = "beats it" if c.winner == c.a else "loses to it"
    return f" ({verb} by {abs(c.effect):.1f}, {c.interval.text(negated=c.effect < 0)})"
