"""`workbench study | report | data | dash | train | evaluate`: each as `python -m workbench.NAME`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from workbench.project_paths import ours

MODULES = {
    "study": ("workbench.study.__main__", "run a study, go on with it, or look at it"),
    "report": ("workbench.report.__main__", "write a study's answer, or check a saved table"),
    "data": ("workbench.data.__main__", "look at a folder of videos"),
    "train": ("workbench.train.run", "train one run by hand"),
    "evaluate": ("workbench.evaluate.__main__", "measure a finished run on other data"),
}
"""Command -> the module whose `main` does it, and what that is."""
DASH = "open the dashboard"
BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command; 2 for one that does not exist."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in MODULES:
        code: int = importlib.import_module(MODULES[name][0]).main(rest)
        return code
    if name == "dash":
        return _dash(rest)
    told = {command: said for command, (_, said) in MODULES.items()} | {"dash": DASH}
    if name in ("-h", "--help"):
        print("usage: workbench COMMAND ...\n")
        print("\n".join(f"  {command:8} {said}" for command, said in told.items()))
        print("\n`workbench COMMAND --help` says more.")
        return 0
    print(f"error: there is no command {name!r}; there are {', '.join(told)}", file=sys.stderr)
    return BAD_INPUT


def _dash(arguments: Sequence[str]) -> int:
    """Becomes the server of the dashboard, so that signals reach that one."""
    parser = argparse.ArgumentParser(prog="workbench dash", description=DASH.capitalize() + ".")
    parser.add_argument("results", nargs="?", type=Path, help="folder of all results")
    parser.add_argument("--port", type=int, help="port of the server (default: the first free one from 8501)")
    options = parser.parse_args(arguments)
    results = options.results or Path(os.environ.get("WORKBENCH_RESULTS", "results"))
    if results.exists() and not results.is_dir():
        print(f"error: the results path is not a folder: {results}", file=sys.stderr)
        return BAD_INPUT
    if options.port is not None and not 1 <= options.port <= 65535:
        print(f"error: --port must be a number from 1 to 65535, not {options.port}", file=sys.stderr)
        return BAD_INPUT
    command = [sys.executable, "-m", "streamlit", "run", str(ours("app") / "dashboard.py")]
    command += [] if options.port is None else [f"--server.port={options.port}"]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "--", str(results)])
    raise AssertionError("os.execv does not return")


if __name__ == "__main__":
    raise SystemExit(main())
