"""Whether anything was learned in a study, by how many of its runs, and the bias of its selection.

These questions come before any comparison; each finding has its sentence. Statistics are in `stats.chance`,
`stats.collapse` and `stats.selection`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.answer import sentences, wording
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError
from workbench.stats import chance, collapse, selection
from workbench.tasks import queries_of


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Findings by the label of a cell; what cannot be judged is None or empty, and has no sentence."""

    best: chance.FromChance | None
    """Comparison of the best cell on test with random ranks; only for text-to-video ranks."""
    training: Mapping[str, collapse.Training]
    """Label -> which of the cell's runs train."""
    threshold: float | None
    """Threshold on val; runs that are not better have collapsed."""
    selected: Mapping[str, selection.Selected]
    """Stratum -> the score of selecting by val; the stratum is empty if cells are not separated."""
    nothing: str
    """The first sentence if nothing distinguishable from chance was learned; else empty."""
    caveats: tuple[str, ...]
    """Sentences on runs that collapsed or may do so, and on the score of the selected cell."""


def learned(asked: StudyRecord, evidence: Evidence) -> Learned:
    """Findings from the complete runs of a plan.

    The threshold of collapse is the study's own, or else chance level on val, which leaves no run out of the
    tests; if neither is known, no run counts as collapsed.
    """
    best = _from_chance(asked, evidence)
    null = None if evidence.val_captions is None else _null(asked, evidence.val_captions)
    threshold = null.threshold() if asked.collapse is None and null is not None else asked.collapse
    training = {} if threshold is None else _training(asked, evidence, threshold)
    selected = {} if asked.search else _selected(asked, evidence)
    said = []
    if threshold is not None and training and not asked.search:
        said.append(_say_training(asked, training, threshold))
    said += [_say_selected(asked, stratum, found) for stratum, found in selected.items()]
    nothing = "" if best is None or best.significant else _say_chance(asked, best)
    return Learned(
        best=best,
        training=training,
        threshold=threshold,
        selected=selected,
        nothing=nothing,
        caveats=tuple(said),
    )


def of_those_that_train(
    asked: StudyRecord, training: Mapping[str, collapse.Training], evidence: Evidence
) -> Evidence:
    """The evidence for the tests: without collapsed runs, if the study has defined a threshold in advance."""
    if asked.collapse is None:
        return evidence
    lost = {
        (key, seed)
        for key, label in asked.labels.items()
        if label in training
        for seed in training[label].collapsed
    }
    kept = evidence.without(lost)
    gone = [key for key in evidence.values if key not in kept.values]
    return replace(kept, refused={**dict.fromkeys(gone, "all its runs collapsed"), **evidence.refused})


def _null(asked: StudyRecord, captions: Sequence[int]) -> chance.Null | None:
    """Random ranks of a text-to-video metric; None for any other metric.

    Video-to-text would take the captions of each clip, which the evidence does not have.
    """
    queries = queries_of(asked.metric)
    if queries is None or not queries.values.endswith("t2v_rank") or not len(captions):
        return None
    null = (
        chance.recall(captions, queries.at_most, "t2v")
        if queries.at_most
        else chance.mean_rank(captions, "t2v")
    )
    return null if null.higher_is_better == asked.maximize else None


def _from_chance(asked: StudyRecord, evidence: Evidence) -> chance.FromChance | None:
    null = None if evidence.groups is None else _null(asked, list(Counter(evidence.groups).values()))
    scores = {
        asked.labels[key]: float(np.stack(list(runs.values())).mean(1).mean())
        for key, runs in evidence.values.items()
        if key not in evidence.refused
    }
    return None if null is None or not scores else chance.best_from_chance(scores, null)


def _training(asked: StudyRecord, evidence: Evidence, threshold: float) -> dict[str, collapse.Training]:
    found = {}
    for key in evidence.values:
        try:
            val = evidence.per_seed(key, f"val/{asked.metric}")
        except UserError:  # a run of a version that did not record it
            continue
        found[asked.labels[key]] = collapse.training(val, threshold, higher_is_better=asked.maximize)
    return found


def _selected(asked: StudyRecord, evidence: Evidence) -> dict[str, selection.Selected]:
    strata: dict[str, list[str]] = {}
    for key in asked.cells:
        if key in evidence.values and key not in evidence.refused:
            strata.setdefault(asked.stratum(key), []).append(key)
    found = {}
    for stratum, keys in strata.items():
        if len(keys) < 2:  # nothing was selected
            continue
        try:
            val = {asked.labels[key]: evidence.per_seed(key, f"val/{asked.metric}") for key in keys}
            test = {asked.labels[key]: evidence.values[key] for key in keys}
            found[stratum] = selection.selected(
                val, test, evidence.groups, higher_is_better=asked.maximize,
                lowest=asked.measure.low, highest=asked.measure.high,
            )  # fmt: skip
        except UserError:  # no common seed, or a run without val
            continue
    return found


def _say_chance(asked: StudyRecord, found: chance.FromChance) -> str:
    cells = f"the best of {found.cells} cells" if found.cells > 1 else "the only cell"
    reached = f"{cells} reaches {_score(asked, found.value)}, random ranks {_number(asked, found.expected)}"
    corrected = f" after Bonferroni over {found.cells} cells" if found.cells > 1 else ""
    p = "p below 0.001" if found.p_adjusted < 0.001 else f"p {found.p_adjusted:.2g}"
    at = "no value would do" if found.needed is None else f"it would take {_number(asked, found.needed)}"
    return f"Nothing was learned that is distinguishable from chance: {reached} ({p}{corrected}; {at})."


def _say_training(asked: StudyRecord, training: Mapping[str, collapse.Training], threshold: float) -> str:
    runs = sum(one.runs for one in training.values())
    lost = {label: one for label, one in training.items() if one.collapsed}
    fewest = min(one.runs for one in training.values())
    if not lost:
        many = f"{fewest} run{'s' if fewest > 1 else ''} of a cell without a collapse"
        share = f"{100 * collapse.unseen(fewest):.0f} % of its runs"
        return f"No run collapsed; {many} cannot rule out that {share} do."
    better = "above" if asked.maximize else "below"
    chance_level = "" if asked.collapse is not None else ", as 999 of 1,000 by chance"
    rule = f"val {asked.measure.label} not {better} {_number(asked, threshold)}{chance_level}"
    rest = (
        "They are left out of what is tested, which is about the runs that train."
        if asked.collapse is not None
        else "A comparison of means says little of such cells."
    )
    listed = "; ".join(
        f"{label}: {len(one.trained)} of {one.runs} train, {100 * one.low:.0f} to {100 * one.high:.0f} %"
        for label, one in list(lost.items())[: sentences.MOST_LISTED]
    )
    more = len(lost) - sentences.MOST_LISTED
    listed += f"; and {more} more cell{'s' if more > 1 else ''}" if more > 0 else ""
    number = sum(len(one.collapsed) for one in lost.values())
    return f"{number} of {runs} runs collapsed ({rule}): {listed}. {rest}"


def _say_selected(asked: StudyRecord, stratum: str, found: selection.Selected) -> str:
    where = f"{stratum}: " if stratum else ""
    own = f"{found.cell}, with {_number(asked, found.apparent)} on test,"
    if found.mean is None or found.interval is None:
        return (
            f"{where}{own} was selected by the same seed that it is tested with, so its score is in part "
            "that seed's luck; one seed cannot tell how large a part."
        )
    limits = wording.interval(found.interval)
    n = len(found.seeds) - 1
    seeds = f"{n} seed{'s' if n > 1 else ''}"
    return (
        f"{where}On a seed that had no say, selecting by {asked.measure.label} on val with {seeds} "
        f"reaches {_number(asked, found.mean)} on test ({limits}); {own} is selected by all {n + 1} and owes "
        "a part of its score to their luck."
    )


def _score(asked: StudyRecord, value: float) -> str:
    return f"{asked.measure.label} {_number(asked, value)}"


def _number(asked: StudyRecord, value: float) -> str:
    return f"{value:.1f}{f' {asked.measure.unit}' if asked.measure.unit else ''}"
