"""`study.json`: what was asked, for readers that do not run the study file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.study.plan import Plan
from workbench.tracking.files import write_atomic


def describe(plan: Plan, results: Path, importances: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Writes it and returns its content. A smoke test does not replace the description of the real plan.

    importances: of a search that has ended, see `workbench.study.importance`.
    """
    description = plan.description()
    if importances is not None:
        description["importances"] = importances
    path = results / "runs" / plan.study.name / "study.json"
    if not (plan.options.smoke and path.exists() and not json.loads(path.read_text())["smoke"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(description, indent=2) + "\n")
    return description
