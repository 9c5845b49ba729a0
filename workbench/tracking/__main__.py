"""`python -m workbench.tracking import RUN_DIR...`: put run directories into MLflow, once or again."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from workbench.errors import UserError
from workbench.tracking.run_dir import RunDir


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workbench.tracking", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    into = commands.add_parser("import", help="send run directories to MLflow; repeating it is safe")
    into.add_argument("paths", nargs="+", type=Path, help="run directories, or folders that hold some")
    results = os.environ.get("WORKBENCH_RESULTS", "results")
    into.add_argument("--results", type=Path, default=Path(results), help="folder of all results")
    address = os.environ.get("WORKBENCH_MLFLOW", "")
    into.add_argument("--mlflow", default=address, help="MLflow store (RESULTS/mlflow.db)")
    options = parser.parse_args(arguments)
    try:
        count = import_runs(options.paths, options.results, options.mlflow)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} run{' is' if count == 1 else 's are'} in MLflow")
    return 0


def import_runs(paths: Sequence[Path], results: Path, address: str = "") -> int:
    """Mirrors every run directory at or below `paths`; returns how many there were."""
    directories = [directory for path in paths for directory in find_runs(path)]
    from workbench.tracking.mlflow import Mirror

    mirror = Mirror(results, address)
    for directory in tqdm(directories, unit="run", disable=not sys.stderr.isatty()):
        mirror.sync(directory)
    return len(directories)


def find_runs(path: Path) -> Iterator[RunDir]:
    """The run directories at or below a folder; `UserError` when there is none."""
    found = [file.parent for file in sorted(path.rglob("run.json"))] if path.is_dir() else []
    if not found:
        raise UserError(f"there is no run directory at or below {path}")
    yield from (RunDir(folder) for folder in found)


if __name__ == "__main__":
    raise SystemExit(main())
