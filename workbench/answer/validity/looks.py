"""Looks at the claims of a study: those that were taken before, and what the present one may spend.

Whoever adds seeds until a claim appears makes false claims too often. So a study's folder notes with which
seeds its answer was given (`looks.json`): a study that plans its looks may claim at those alone, each with
its share of the 5 %, and any other says how often its claims were looked for. Statistics: `stats.looks`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from workbench.answer.evidence import Evidence, looks_file
from workbench.answer.study_record import StudyRecord
from workbench.stats.families import ALPHA
from workbench.stats.looks import Look, Looks, error_bound, merge, standings
from workbench.tracking.files import write_atomic


def note(asked: StudyRecord, evidence: Evidence, results: Path) -> None:
    """Adds the present answer to the study's record, where it is a look and not there yet."""
    here = _here(asked, evidence)
    if here is None or here in evidence.looks:
        return
    looks = merge([evidence.looks, [here]])
    file = looks_file(results, asked.name)
    write_atomic(file, json.dumps([{"seeds": look.seeds, "plan": look.plan} for look in looks]) + "\n")


def alpha(asked: StudyRecord, evidence: Evidence) -> float | None:
    """What the claims of this answer may err by; None where it is not a planned look, so that it has none."""
    if not asked.looks:
        return ALPHA
    plan, here = Looks(asked.looks), _here(asked, evidence)
    if here is None:
        return None
    record = merge([evidence.looks, [here]])
    standing = standings(record, plan, here.plan)[record.index(here)]
    return plan.alpha(len(here.seeds)) if standing == "planned" else None


def caveats(asked: StudyRecord, evidence: Evidence, spent: float | None) -> list[str]:
    """What the looks mean for the claims of this answer; spent: its `alpha`."""
    here = _here(asked, evidence)
    planned = ", ".join(map(str, asked.looks))
    if asked.looks:
        if spent is not None and here is not None:
            return [
                f"This look with {len(here.seeds)} seeds may err by {_percent(spent)} (planned: {planned})."
            ]
        return [
            f"Nothing is claimed: claims are looked for with {planned} seeds that every cell has, once each."
        ]
    if here is None:
        return []
    taken = [look for look in merge([evidence.looks, [here]]) if look.plan == here.plan]
    if len(taken) < 2:
        return []
    counts = ", ".join(str(len(look.seeds)) for look in taken)
    together = _percent(error_bound(len(taken)))
    return [
        f"Claims were looked for {len(taken)} times, with {counts} seeds, without a plan of looks: at "
        f"{_percent(ALPHA)} each, something false is claimed in up to {together} of such studies."
    ]


def _here(asked: StudyRecord, evidence: Evidence) -> Look | None:
    """The answer that the evidence gives, as a look; None where it has no claims to look for."""
    every = [set(evidence.values.get(key, ())) for key in asked.cells]
    seeds = tuple(sorted(set.intersection(*every))) if every else ()
    if len(seeds) < 2 or asked.search or asked.smoke:
        return None
    return Look(seeds=seeds, plan=_fingerprint(asked))


def _fingerprint(asked: StudyRecord) -> str:
    """Of what is registered, whatever the seeds."""
    told: dict[str, Any] = {
        "cells": sorted(asked.cells),
        "metric": asked.metric,
        "baseline": asked.baseline,
        "within": asked.within,
        "contrasts": [dict(contrast) for contrast in asked.contrasts],
        "claims": [dict(claim) for claim in asked.claims],
        "collapse": asked.collapse,
        "looks": {str(n): spent for n, spent in asked.looks.items()},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
