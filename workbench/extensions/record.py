"""Record of the user's files in a run, so that they are found again and changes are noticed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import UserError
from workbench.extensions import HOMES, KINDS, files, folders, of, use


def record(config: Any) -> list[dict[str, str]]:
    """The user's files that a run needs, as in `run.json`: module, path and SHA-256 of each file.

    Files whose names begin with `_` are included with files of their kind, since these may import them.
    """
    used = of(sorted(set(_modules(config))))
    kinds = {kind for kind, _ in used}
    helpers = [
        (kind, file)
        for kind in KINDS
        if kind in kinds
        for folder in folders(kind)
        for file in sorted(folder.glob("_*.py"))
    ]
    return [
        {
            "module": f"{KINDS[kind].package}.{file.stem}",
            "path": str(file.resolve()),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for kind, file in [*used, *helpers]
    ]


def facts(config: Any) -> dict[str, str]:
    """`own`: names and first digits of the files in `record`, for the environment of a run; empty if none."""
    found = [
        f"{Path(one['path']).parent.name}/{Path(one['path']).name} {one['sha256'][:12]}"
        for one in record(config)
    ]
    return {"own": ", ".join(found)} if found else {}


def find_again(recorded: Any, run: Path) -> None:
    """Finds the recorded user's files of a run in a process that was started in another folder.

    Raises `UserError` if they are gone, and for a path inside the results of the run directory `run`: results
    are data, perhaps from somebody else, and are never executed.
    """
    run = run.resolve()
    results = run.parents[2] if len(run.parents) > 2 and run.parents[1].name == "runs" else run
    homes = []  # used after all checks, because one home has files of several kinds
    for one in recorded if isinstance(recorded, list) else []:
        package, _, name = str(one.get("module", "")).rpartition(".")
        kind = next((kind for kind, known in KINDS.items() if known.package == package), "")
        if not kind or name.startswith("_") or name in files(kind):
            continue
        path = Path(str(one.get("path", "")))
        if path.parent.name != kind or path.name != f"{name}.py" or not path.is_absolute():
            raise UserError(f"the run records {path} as {package}.{name}, which is not in a folder {kind}/")
        if path.resolve().is_relative_to(results):
            raise UserError(f"the run records {path}, which lies among results; code is not taken from there")
        if not path.is_file():
            raise UserError(
                f"the run needs {kind}/{name}.py, which is neither here nor at {path}; start it in the "
                f"folder that holds {kind}/, or name that folder in {HOMES}"
            )
        homes.append(path.parent.parent)
    for home in dict.fromkeys(homes):
        use(home)


def _modules(config: Any) -> Iterator[str]:
    """Modules that a configuration names: of its classes, its data and its tasks."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        yield type(config).__module__
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        if "digest" in values and "name" in values:
            yield f"{KINDS['datasets'].package}.{str(values['name']).partition('-')[0]}"
        yield from (f"{KINDS['tasks'].package}.{task}" for task in values.get("tasks", ()))
        for value in values.values():
            yield from _modules(value)
    elif isinstance(config, tuple | list):
        for value in config:
            yield from _modules(value)
    elif isinstance(config, Mapping):
        for value in config.values():
            yield from _modules(value)
