"""`study.json`: the description of a plan, for readers that do not run the study file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from workbench.study.plan import Plan
from workbench.study.spec import find
from workbench.tracking.files import kept_file, write_atomic


def describe(plan: Plan, results: Path, importances: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Writes it and returns its content. A smoke test does not replace the description of the real plan.

    Each plan has a description of its own beside that of the last, so that one may ask for its answer again,
    and with it the study file that made it.
    importances: of a search that has ended, see `workbench.study.importance`.
    """
    description = plan.description() | {"arguments": arguments(plan)}
    if plan.space is not None:
        description["optuna"] = metadata.version("optuna")
    if importances is not None:
        description["importances"] = importances
    folder = results / "runs" / plan.study.name
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "study.json", json.dumps(description, indent=2) + "\n"
    if (last := _described(path)) and not (first := kept_file(folder, str(last["plan"]))).exists():
        write_atomic(first, path.read_bytes())  # an earlier version described it
    kept = kept_file(folder, str(description["plan"]))
    write_atomic(kept, text)
    if (source := find().get(plan.study.name.partition("-")[0])) is not None:
        write_atomic(kept.with_suffix(".py"), source.read_bytes())
    if not (plan.options.smoke and last.get("smoke") is False):
        write_atomic(path, text)
    return description


def _described(path: Path) -> dict[str, Any]:
    """A description that is there; empty where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and "plan" in found else {}


def arguments(plan: Plan) -> list[str]:
    """The arguments of `python -m workbench.study` that make this plan, without facts of the machine."""
    options = plan.options
    comma = "," if len(options.seeds) == 1 else ""
    given = {
        "--recipe": options.recipe,
        "--trials": str(options.trials or ""),
        "--confirm": str(options.confirm or ""),
        # "3" would stand for the seeds 0, 1 and 2; a comma makes it the seed 3 alone.
        "--seeds": "1" if options.seeds == (0,) else ",".join(map(str, options.seeds)) + comma,
        "--budget": options.budget,
        "--data": options.data,
        "--pretrain-data": options.pretrain_data,
    }
    flags = {"--smoke": options.smoke, "--single": options.single, "--quick": options.quick}
    name = plan.study.name.partition("-")[0]  # what follows stands for a recipe or `single`
    found = [name, *(flag for flag, on in flags.items() if on)]
    found += [word for option, value in given.items() if value for word in (option, value)]
    found += [word for place in options.more_data for word in ("--data", place)]
    found += [word for data, share in options.mix for word in ("--mix", data, repr(share))]
    return found + (["--set", *options.settings] if options.settings else [])
