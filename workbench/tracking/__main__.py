"""Commands for run directories, `python -m workbench.tracking`; every command may be repeated.

`import RUN_DIR...` puts them into MLflow, and with `--also` into a second tracker; `gather FROM... --into
RESULTS` brings those of several machines together; `archive STUDY... --into FILE.zip` keeps what reports read
of them in one small file; `show` opens MLflow's own pages over them and says where each study is there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from workbench.addresses import check_addresses, check_local, masked
from workbench.errors import UserError
from workbench.tracking.archive import archive, opened
from workbench.tracking.files import check_folder
from workbench.tracking.forward import Tracker
from workbench.tracking.gather import find_runs, gather
from workbench.tracking.mirrors import registry as mirrors
from workbench.tracking.run_dir import RunDir


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 everything is done, 2 something is not; for `show` that of the server."""
    parser = argparse.ArgumentParser(prog="python -m workbench.tracking", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    into = commands.add_parser("import", help="send run directories to MLflow; repeating it is safe")
    into.add_argument("paths", nargs="+", type=Path, help="run directories, or folders that hold some")
    into.add_argument("--also", default="", metavar="NAME", help="second tracker beside MLflow: wandb")
    show = commands.add_parser("show", help="open MLflow's pages over the runs; ends with Ctrl-C")
    results = os.environ.get("WORKBENCH_RESULTS", "results")
    address = os.environ.get("WORKBENCH_MLFLOW", "")
    for command in (into, show):
        command.add_argument("--results", type=Path, default=Path(results), help="folder of all results")
        command.add_argument("--mlflow", default=address, help="MLflow store (RESULTS/mlflow.db)")
    collect = commands.add_parser("gather", help="bring runs of several machines together")
    collect.add_argument(
        "paths", nargs="+", type=Path, help="run directories, folders that hold some, or archives"
    )
    collect.add_argument("--into", type=Path, default=Path(results), help="folder of all results")
    keep = commands.add_parser("archive", help="keep what reports read of some studies in one small file")
    keep.add_argument("studies", nargs="+", metavar="STUDY", help="studies whose runs have ended")
    keep.add_argument("--results", type=Path, default=Path(results), help="folder of all results")
    keep.add_argument("--into", type=Path, required=True, metavar="FILE.zip", help="made, or added to")
    options = parser.parse_args(arguments)
    without_store = {"gather": _gather, "archive": _archive}
    try:
        return without_store.get(options.command, _with_store)(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _with_store(options: argparse.Namespace) -> int:
    """Commands about the stores of trackers."""
    second = options.also if options.command == "import" else ""
    mirrors.check(second)
    if options.mlflow == "none" and not second:
        raise UserError("--mlflow must name a store, not be none")
    check_folder(options.results, "--results")
    storage = os.environ.get("WORKBENCH_STORAGE", "")
    check_addresses(options.results, storage, options.mlflow)
    check_local(options.results, storage or "none", options.mlflow)
    if options.command == "show":
        return _show(options.results, options.mlflow)
    code = 0
    if options.mlflow != "none":
        code = _told("MLflow", *import_runs(options.paths, options.results, options.mlflow))
    if second:
        code = max(code, _told(mirrors.CALLED, *_into_second(options.paths, options.results)))
    return code


def _told(tracker: str, count: int, refused: Sequence[str]) -> int:
    """Prints the result of an import, and returns its exit code."""
    for sentence in refused:
        print(f"error: {sentence}", file=sys.stderr)
    print(f"{count} run{' is' if count == 1 else 's are'} in {tracker}")
    return 2 if refused else 0


def _gather(options: argparse.Namespace) -> int:
    check_folder(options.into, "--into")
    with contextlib.ExitStack() as stack:
        found = gather([stack.enter_context(opened(path)) for path in options.paths], options.into)
    for one in found:
        if one.outcome in ("busy", "refused"):
            print(f"error: {one.said}", file=sys.stderr)
        elif one.said:
            print(one.said)
    counts = Counter(one.outcome for one in found)
    said = {
        "copied": "copied",
        "replaced": "replaced by a further record",
        "same": "there already",
        "kept": "left as they were",
        "busy": "still at work",
        "refused": "refused",
    }
    print(f"{len(found)} runs: " + ", ".join(f"{counts[k]} {word}" for k, word in said.items() if counts[k]))
    return 2 if counts["busy"] or counts["refused"] else 0


def _archive(options: argparse.Namespace) -> int:
    if options.into.suffix != ".zip":
        raise UserError(f"--into must name a file that ends in .zip, not {options.into}")
    count, size = archive(options.results, options.studies, options.into)
    print(f"{count} run{'' if count == 1 else 's'} in {options.into} ({size / 1e6:.2f} MB)")
    return 0


def _show(results: Path, address: str) -> int:
    from workbench.tracking.mlflow import Mirror

    if not address and not (results / "mlflow.db").exists():
        raise UserError(
            f"there is no {results / 'mlflow.db'}; `make study` makes one, --results names another"
        )
    return Mirror(results, address).serve()


def import_runs(paths: Sequence[Path], results: Path, address: str = "") -> tuple[int, list[str]]:
    """Mirrors every run directory at or below `paths`; one that is damaged does not stop the others.

    Returns how many are in MLflow, and a sentence for each that is not. Raises `UserError` where there
    is nothing to send or nowhere to send it.
    """
    directories = find_runs(paths)

    def reach() -> Tracker:
        from workbench.tracking.mlflow import Mirror  # takes seconds, which a mistyped path need not

        return Mirror(results, address)

    return _send(directories, reach, f"MLflow at {masked(address)}" if address else f"MLflow in {results}")


def _into_second(paths: Sequence[Path], results: Path) -> tuple[int, list[str]]:
    """The same for the second tracker."""
    return _send(find_runs(paths), lambda: mirrors.reach(results), mirrors.CALLED)


def _send(directories: Sequence[RunDir], reach: Callable[[], Tracker], where: str) -> tuple[int, list[str]]:
    refused: list[str] = []
    sent = 0
    tracker: Tracker | None = None
    with tqdm(directories, unit="run", disable=not sys.stderr.isatty()) as bar:
        for done, directory in enumerate(bar):
            try:
                tracker = tracker or reach()
            except UserError as error:
                rest = f"; {done - len(refused)} of {len(directories)} runs were sent, " if done else ", "
                raise UserError(
                    f"{where} is away ({error}){rest}repeat the same command when it is back"
                ) from error
            try:
                sent += bool(tracker.sync(directory))  # one that has not ended may have no place there yet
            except (UserError, OSError) as error:
                tracker = None  # opened anew, which tells a damaged run from a store that went away
                refused.append(f"{directory.path} was not sent: {error}")
    return sent, refused


if __name__ == "__main__":
    raise SystemExit(main())
