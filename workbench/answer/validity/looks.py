"""Interim looks at the claims of a study: earlier ones, and the alpha of the present one.

Adding seeds until a claim appears makes false claims too frequent. So a study's folder records the seeds of
its answers (`looks.json`): a study with planned looks may claim only at those, each with its share of the 5
%, and any other reports the number of its looks. If the tests were changed after an answer was seen, nothing
is claimed. Statistics: `stats.looks`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from workbench.answer.evidence import Evidence, looks_file, read_looks
from workbench.answer.study_record import StudyRecord
from workbench.stats.families import ALPHA
from workbench.stats.looks import Look, Looks, changed, error_bound, merge, standings
from workbench.tracking.files import LOOKS_LOCK, wait_for_lock, write_atomic

CHANGED = (
    "What is tested was changed after the answer had been seen: when an answer was first given from these "
    "cells and seeds, the study had other contrasts, claims or rules. So nothing is claimed, since tests "
    "that are chosen by what was seen are too often significant by luck; what was asked then may still be "
    "claimed, and what is asked now with new seeds alone."
)


def note(asked: StudyRecord, evidence: Evidence, results: Path) -> None:
    """Adds the present answer to the study's record if it is a look and not recorded yet."""
    here = _here(asked, evidence)
    if here is None or any(look == here and look.cells for look in evidence.looks):
        return
    file = looks_file(results, asked.name)
    # Read again: another command may have recorded its look since this answer was begun.
    with wait_for_lock(file.with_name(LOOKS_LOCK)):
        known = read_looks(file)
        looks = merge([[here if look == here and not look.cells else look for look in known], [here]])
        write_atomic(file, json.dumps([_written(look) for look in looks]) + "\n")


def alpha(asked: StudyRecord, evidence: Evidence) -> float | None:
    """The alpha of the claims of this answer; None if it may have none, because it is not a planned look or
    the tests were changed."""
    here = _here(asked, evidence)
    if _changed(asked, evidence, here):
        return None
    if not asked.looks:
        return ALPHA
    if here is None:
        return None
    plan, record = Looks(asked.looks), merge([evidence.looks, [here]])
    standing = standings(record, plan, here.plan)[record.index(here)]
    return plan.alpha(len(here.seeds)) if standing == "planned" else None


def tested(asked: StudyRecord, evidence: Evidence, spent: float | None) -> Evidence:
    """The evidence for the claims of this answer: in a planned look only the seeds that every cell has, which
    identify the look in the record; spent: its `alpha`."""
    here = _here(asked, evidence)
    if here is None or spent is None or not asked.looks:
        return evidence
    return evidence.without(_beyond(here, evidence))


def caveats(asked: StudyRecord, evidence: Evidence, spent: float | None) -> list[str]:
    """Caveats on the looks at the claims of this answer; spent: its `alpha`."""
    here = _here(asked, evidence)
    if _changed(asked, evidence, here):
        return [CHANGED]
    planned = ", ".join(map(str, asked.looks))
    if asked.looks:
        if spent is not None and here is not None:
            rest = "; seeds that not every cell has are left out" if _beyond(here, evidence) else ""
            many = f"{len(here.seeds)} seeds"
            return [f"This look with {many} may err by {_percent(spent)} (planned: {planned}){rest}."]
        return [
            f"Nothing is claimed: claims are looked for with {planned} seeds that every cell has, once each."
        ]
    if here is None:
        return []
    record = merge([evidence.looks, [here]])
    taken = [
        look for n, look in enumerate(record) if look.plan == here.plan and not changed(look, record[:n])
    ]
    if len(taken) < 2:
        return []
    counts = ", ".join(str(len(look.seeds)) for look in taken)
    together = _percent(error_bound(len(taken)))
    return [
        f"Claims were looked for {len(taken)} times, with {counts} seeds, without a plan of looks: at "
        f"{_percent(ALPHA)} each, something false is claimed in up to {together} of such studies."
    ]


def _changed(asked: StudyRecord, evidence: Evidence, here: Look | None) -> bool:
    """See `stats.looks.changed`; what claims nothing, as another metric in the dashboard, changes nothing."""
    return here is not None and not asked.exploring and changed(here, evidence.looks)


def _beyond(here: Look, evidence: Evidence) -> set[tuple[str, int]]:
    """Runs (key, seed) with seeds that not every cell has."""
    return {(key, seed) for key, runs in evidence.values.items() for seed in runs if seed not in here.seeds}


def _here(asked: StudyRecord, evidence: Evidence) -> Look | None:
    """The present answer as a look; None if it cannot have claims."""
    if asked.search or asked.smoke:
        return None
    compared = _compared(asked, evidence)
    seeds = tuple(sorted(set().union(*compared.values())))
    if not seeds:
        return None
    alike = len(set(compared.values())) == 1
    return Look(
        seeds=seeds,
        plan=_digest(_registered(asked)),
        runs="" if alike else _digest(sorted(compared.items())),
        cells=_digest(sorted(asked.cells)),
        tests=_digest(_tests(asked)),
    )


def _compared(asked: StudyRecord, evidence: Evidence) -> dict[str, tuple[int, ...]]:
    """Cells that are compared with each other -> the seeds that all of them have, where these are two or
    more; of a study with planned looks all its cells.

    Without planned looks a cell without runs does not count: adding it later is not a further look.
    """
    sides = [list(asked.cells)] if asked.cells else []
    if not asked.looks:
        bases = {key: asked.base_of(key) for key in asked.cells}
        sides += [[key, base] for key, base in bases.items() if base is not None and base != key]
    if asked.contrasts and not asked.looks:
        sides = [[*one["of"]["cells"], *one["against"]["cells"]] for one in asked.contrasts]
    found = {}
    for keys in sides:
        shared = set.intersection(*(set(evidence.values.get(key, ())) for key in keys))
        if len(shared) > 1:
            found[" ".join(sorted(keys))] = tuple(sorted(shared))
    return found


def _registered(asked: StudyRecord) -> dict[str, Any]:
    """Everything that is registered, independent of the seeds."""
    return {
        "cells": sorted(asked.cells),
        "metric": asked.metric,
        "baseline": asked.baseline,
        "within": asked.within,
        "contrasts": [dict(contrast) for contrast in asked.contrasts],
        "claims": [dict(claim) for claim in asked.claims],
        "collapse": asked.collapse,
        "looks": {str(n): spent for n, spent in asked.looks.items()},
    }


def _tests(asked: StudyRecord) -> dict[str, Any]:
    """The tests and their rules, without wording; another metric or baseline of a study without registered
    contrasts is another question."""
    of_one_metric = bool(asked.contrasts or asked.looks) or asked.collapse is not None
    return {
        "metric": asked.metric if of_one_metric else None,
        "contrasts": [
            [sorted(contrast[side]["cells"]) for side in ("of", "against")] for contrast in asked.contrasts
        ],
        "claims": [
            [
                [
                    [key, asked.base_of(key)]
                    for key, axes in asked.cells.items()
                    if dict(axes) == dict(claim["arm"])
                ],
                *(claim[part] for part in ("metric", "figure", "at_least")),
            ]
            for claim in asked.claims
        ],
        "collapse": asked.collapse,
        "looks": {str(n): spent for n, spent in asked.looks.items()},
    }


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _written(look: Look) -> dict[str, Any]:
    """The look as written to the record, without empty fields."""
    return {name: value for name, value in vars(look).items() if value}


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
