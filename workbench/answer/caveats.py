"""The sentences on the limitations of an answer and on the kinds of its intervals.

Each function of the first part returns a list of sentences, empty if there is nothing to report; the facts
are collected by `workbench.answer.facts`. The sentences on results are in `workbench.answer.wording`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from workbench import naming, stats
from workbench.answer import wording
from workbench.answer.study_record import StudyRecord
from workbench.metrics import disturbed
from workbench.stats.intervals import Kind
from workbench.stats.power import detectable

FEW_CLUSTERS = 30
"""Below this the t approximation for the query part is doubtful (docs/statistics.md)."""
HARDWARE = ("device_name", "decoder", "hostname", "precision", "threads", "processes")
"""Facts of a run that must agree before its cost or speed is compared with another's."""
BEFORE = {"processes": 1}
"""Values of runs that were made before the fact was recorded."""
ALONE = "†"
"""Marks a difference whose interval is over queries alone, beside others over seeds."""

SMOKE = "This is a smoke test: it tries the whole path and answers nothing."

FRONT_LEGEND = (
    "The front is chosen by val. Intervals are over the queries of test; FLOPs are counted, not sampled, and "
    "have none. Front by test: in how many resamples of the test queries the cell is on the front."
)
IMPORTANCE_LEGEND = (
    "Share of each axis in what sets the best quarter of the trials apart (PED-ANOVA), with 95 % bootstrap "
    "intervals over trials. It says where to look, not that a choice is better."
)


# Limitations of an answer


def of_comparison(c: stats.Comparison, reach: float | None = None) -> list[str]:
    """All caveats of one adjusted comparison; reach: see `smallest_difference`."""
    found = unpaired_seeds(c)
    if c.repeated_seeds:
        found.append(
            f"Every seed of {c.a} and of {c.b} gave the same answers, so the seeds count as one: "
            "does the seed reach the training?"
        )
    if 1 < c.clusters < FEW_CLUSTERS:
        found.append(
            f"Only {c.clusters} clips were queried; intervals over queries are rough below {FEW_CLUSTERS}."
        )
    return found + smallest_difference(c, reach)


def smallest_difference(c: stats.Comparison, reach: float | None = None) -> list[str]:
    """The smallest difference that this gallery and this number of seeds would probably detect.

    reach: the largest possible difference of the metric, in its units; None if there is no limit.
    """
    if c.components is None or c.estimate is None:
        return [f"{_count(len(c.seeds), 'seed')}: the variation between seeds cannot be estimated."]
    if c.estimate.error == 0:
        return []
    tests = 1 if c.family is None else c.family.size
    level = c.level if c.family is None else 1 - c.family.alpha
    smallest = detectable(c.components, len(c.seeds), family=tests, level=level)
    given = _count(len(c.seeds), "seed") + (f" and {c.clusters} clips" if c.clusters > 1 else "")
    holm = f" after Holm over {wording.family(c.family)}" if c.family is not None and tests > 1 else ""
    if reach is not None and smallest > reach:
        return [f"With {given}{holm}, no difference between {c.a} and {c.b} could be detected."]
    missed = f"one in five differences of {smallest:.3g} {c.unit} between {c.a} and {c.b} is missed"
    return [f"With {given}{holm}, {missed}, and more of the smaller ones."]


def unpaired_seeds(comparison: stats.Comparison) -> list[str]:
    """Seeds that only one arm has, which the paired comparison leaves out."""
    return [
        f"{_count(len(seeds), 'seed')} of {name} ({_join(seeds)}) left out: the other arm lacks "
        f"{'it' if len(seeds) == 1 else 'them'}."
        for name, seeds in comparison.unpaired.items()
    ]


def unequal_seeds(seeds: Mapping[str, Collection[int]]) -> list[str]:
    """Cells whose completed seeds differ from those of most cells, with which they are ranked.

    seeds: cell -> its seeds.
    """
    sets = {cell: tuple(sorted(values)) for cell, values in seeds.items()}
    usual = _most_common(sets.values())
    odd = {cell: values for cell, values in sorted(sets.items()) if values != usual}
    if not odd:
        return []
    listed = some([f"{cell} ({_join(values) or 'none'})" for cell, values in odd.items()])
    return [
        f"Unequal seeds: most cells have {_join(usual) or 'none'}, but not {listed}; they are ranked beside "
        "cells with other seeds."
    ]


def unequal_budgets(budgets: Mapping[str, str]) -> list[str]:
    """Cells trained for another budget than the others. budgets: cell -> budget in words."""
    kinds: dict[str, list[str]] = {}
    for cell, budget in sorted(budgets.items()):
        kinds.setdefault(budget, []).append(cell)
    if len(kinds) < 2:
        return []
    listed = "; ".join(f"{budget}: {some(cells)}" for budget, cells in sorted(kinds.items()))
    return [f"Unequal budgets, so differences may be due to training longer ({listed})."]


def missing_runs(
    expected: Mapping[str, Collection[int]],
    complete: Mapping[str, Collection[int]],
    failed: Mapping[str, Mapping[int, str]],
) -> list[str]:
    """Planned runs that are missing.

    expected, complete: cell -> seeds; failed: cell -> seed -> why. A failed run that was later completed
    counts as complete.
    """
    lost: list[str] = []
    absent: list[str] = []
    for cell in sorted(expected):
        for seed in sorted(set(expected[cell]) - set(complete.get(cell, ()))):
            reason = failed.get(cell, {}).get(seed)
            where = f"{cell} seed {seed}"
            if reason is None:
                absent.append(where)
            else:
                lost.append(f"{where} ({reason})")
    total = sum(len(set(seeds)) for seeds in expected.values())
    out = []
    if lost:
        out.append(
            f"{len(lost)} of {total} runs failed and are not in the table, which favours cells "
            f"that fail when they do badly: {some(lost)}."
        )
    if absent:
        out.append(f"{len(absent)} of {total} runs are not done yet: {some(absent)}.")
    return out


def confounded(cell: str, diffs: Mapping[str, Collection[str]], settings: Collection[str] = ()) -> list[str]:
    """Arms that differ from the baseline in more than one setting.

    cell: the cell that the answer is about; diffs: every compared cell -> the axes in which it differs;
    settings: differing settings of that cell, for an axis that changes several.
    """
    axes, out = sorted(diffs[cell]), []
    if len(axes) > 1:
        out.append(
            f"{cell} differs from the baseline in {len(axes)} axes ({some(axes)}), so its effect cannot be "
            "put down to one of them."
        )
    elif len(settings) > 1:
        out.append(
            f"{cell} differs from the baseline in {len(settings)} settings ({some(sorted(settings))}), so "
            "its effect cannot be put down to one of them."
        )
    several = sorted(name for name, axes in diffs.items() if len(axes) > 1)
    if set(several) - {cell}:
        out.append(
            f"{len(several)} of {len(diffs)} compared cells differ from the baseline in two or more axes "
            f"({some(several, 3)}): their differences cannot be put down to one of them."
        )
    return out


def unequal_hardware(runs: Mapping[str, Mapping[str, Any]], facts: Sequence[str] = HARDWARE) -> list[str]:
    """For cost and speed: facts in which the runs differ. runs: run -> fact -> value."""
    out = []
    for fact in facts:
        values = Counter[str]()
        for v, count in Counter(run.get(fact, "unknown") for run in runs.values()).items():
            values[str(BEFORE.get(fact, v) if v in (None, "unknown") else v)] += count
        if len(values) > 1:
            listed = ", ".join(f"{value} ({count})" for value, count in sorted(values.items()))
            out.append(f"Cost and speed are not comparable: runs differ in {fact}: {listed}.")
    return out


def beside_other_work(waits: Mapping[str, float | None]) -> list[str]:
    """Runs whose speed other work on their machine has lowered. waits: run in words -> its `CORE_WAIT`."""
    found = {run: wait for run, wait in waits.items() if wait is not None and disturbed(wait)}
    if not found:
        return []
    wait = f"the threads of a run together waited up to {max(found.values()):.2f} seconds for a core in each"
    return [
        f"The speed of {len(found)} of {_count(len(waits), 'run')} was measured beside other work "
        f"({wait} second of training) and is too low: {some(list(found))}."
    ]


def unequal_code(versions: Mapping[str, str]) -> list[str]:
    """Runs made by different versions of the code. versions: run -> its version in words."""
    counts = Counter(versions.values())
    if len(counts) < 2:
        return []
    listed = some([f"{version} ({_count(n, 'run')})" for version, n in sorted(counts.items())])
    return [f"Runs were made by different versions of the code, which may make a difference: {listed}."]


def seeds_of_contrast(text: str, seeds: Sequence[int]) -> list[str]:
    """Seeds that some cells of a registered contrast have and others lack."""
    if not seeds:
        return []
    return [
        f"The contrast \u201c{text}\u201d leaves out seed{'' if len(seeds) == 1 else 's'} {_join(seeds)}, "
        f"which not all of its cells have."
    ]


def not_compared(cell: str, why: str) -> str:
    """A cell that is left out of the comparison with the baseline."""
    return f"{cell} is not compared: {why}."


def apart(axes: str) -> str:
    """For a study that compares within strata of these axes."""
    return f"Cells are compared only with those of the same {axes}; no other comparison is meant."


def other_plans(runs: int, smoke: int) -> list[str]:
    """The numbers of complete runs that are not in the answer, and of those that belong to smoke tests."""
    found = []
    if real := runs - smoke:
        belong = "run of this study belongs" if real == 1 else "runs of this study belong"
        found.append(f"{real} complete {belong} to other plans (budget, data or study file differ).")
    if smoke:
        are = "run of this study is" if smoke == 1 else "runs of this study are"
        found.append(f"{smoke} complete {are} of a smoke test, which answers nothing.")
    return found


def of_search(
    pruned: int, failed: Mapping[str, str], left_out: Mapping[str, str], left: int, asked: StudyRecord
) -> list[str]:
    """What limits the answer of a search. pruned, left: numbers of trials; failed, left_out: cell -> why."""
    found = [
        "The best of many trials is in part the luckiest, and one seed says nothing about others: to claim a "
        "difference, run the cells in question as an ablation with several seeds."
    ]
    if pruned:
        verb = "was" if pruned == 1 else "were"
        stopped = f"{wording.trials(pruned)} {verb} pruned, that is stopped for lagging"
        found.append(f"{stopped}; no table and no comparison has them.")
    found += [f"{cell} failed: {why}." for cell, why in failed.items()]
    found += [f"{cell} is left out of the front: {why}." for cell, why in left_out.items()]
    if left > 0:
        found.append(f"{wording.trials(left)} of {asked.trials} not done; `{asked.command}` goes on.")
    if not asked.importances:
        found.append("Importances of the axes are computed at the end, from 20 complete trials on.")
    return found


# Kinds of intervals


def cells_vary(error: Kind, seeds: Collection[int]) -> str:
    """The kind of the cells' intervals, such as "over seeds". seeds: numbers of seeds that cells have."""
    if error == "queries" or set(seeds) == {1}:
        return "over queries (one seed)" if set(seeds) == {1} else "over queries"
    kind = "over seeds" if error == "seeds" else "over seeds and queries"
    return f"{kind}, over queries where there is one seed" if 1 in seeds else kind


def differences_vary(comparisons: Mapping[str, stats.Comparison]) -> str:
    """The kind of the differences' intervals: "with 95 % intervals over seeds and queries"."""
    kinds = {c.interval.kind for c in comparisons.values() if c.interval is not None}
    if kinds:
        claims = wording.at_claims(comparisons.values())
        return f"with 95 % intervals{claims} over seeds{' and queries' if 'seeds+queries' in kinds else ''}"
    if any(c.over_queries is not None for c in comparisons.values()):
        return "with 95 % intervals over queries, which say nothing about other seeds"
    return "without intervals, since one seed has nothing to vary"


def table_legend(
    metric: str, cells: str, comparisons: Mapping[str, stats.Comparison], against: str, alone: bool
) -> str:
    """Legend of the columns and marks of the table of cells, in a few sentences.

    metric: its title; cells: see `cells_vary`; against: the baseline in words, empty if there is none; alone:
    whether some differences have an interval over queries alone.
    """
    text = (
        f"{naming.first(metric)} with its 95 % interval {cells}. Cells are selected on val and reported on "
        "test."
    )
    if not comparisons or not against:
        return text
    text += f" Differences are to {against}, {differences_vary(comparisons)}"
    if alone:
        text += (
            f" ({ALONE} over queries alone: one seed, or seeds without any spread, say nothing about others)"
        )
    family = next((c.family for c in comparisons.values()), None)
    if family is None:
        text += f", {wording.WITHOUT_CLAIMS}"
    elif any(c.interval is not None for c in comparisons.values()):
        holm = f"p after Holm over {wording.family(family)}" if family.size > 1 else "p of that interval"
        text += f"; {holm}; ↑ better and ↓ worse where that may be claimed"
    return text + "."


def _most_common(values: Collection[tuple[int, ...]]) -> tuple[int, ...]:
    """The most frequent value; the longest one of ties."""
    counts = Counter(values)
    return max(counts, key=lambda v: (counts[v], len(v), v)) if counts else ()


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _join(values: Collection[int]) -> str:
    return ", ".join(str(v) for v in values)


def some(items: Sequence[str], most: int = 5) -> str:
    """The first items and the number of others; semicolons separate items that contain commas."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ("; " if any("," in item for item in items[:most]) else ", ").join(items[:most]) + more
