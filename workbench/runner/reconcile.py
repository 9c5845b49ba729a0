"""`--reconcile`: settles what killed processes left behind, and sends trackers what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import UserError
from workbench.study.ledger import Ledger
from workbench.study.plan import Plan
from workbench.study.search import open_ledger
from workbench.study.storage import explained
from workbench.tracking.forward import unsent
from workbench.tracking.run_dir import RunDir

if TYPE_CHECKING:
    from workbench.tracking.mlflow import Mirror


def reconcile(plan: Plan, results: Path, storage: str, mlflow: str, second: str = "") -> None:
    """Brings ledger, run directories and trackers into agreement, also when no worker is left to do so.

    Prints what it repairs. Raises `UserError` where there is nothing, or a store that cannot be used.

    Args:
        storage: address of the Optuna storage, empty for that of `results`.
        mlflow: address of the MLflow store, empty for that of `results`, or `none`.
        second: name of a tracker beside it, empty for none.
    """
    if not results.exists():
        raise UserError(f"there is nothing to repair in {results}: it does not exist")
    ledger = open_ledger(plan, results, storage)
    with explained(ledger.address):
        repairs = ledger.reconcile()
    # At once: what follows may fail, and these are made.
    for repair in repairs:
        print(repair)
    if mlflow != "none" and (mlflow or (results / "mlflow.db").exists()):
        from workbench.tracking.mlflow import Mirror  # slow to import, and not needed by everybody

        mirror = Mirror(results, mlflow)
        closed, damaged, sent = [], [], 0
        with explained(ledger.address):
            for directory in _missing(mirror, ledger, results, mlflow):
                try:
                    mirror.sync(directory)
                    sent += 1
                except UserError as error:
                    mirror = Mirror(results, mlflow)  # tells a damaged run from a store that left
                    damaged.append(f"warning: {directory.path} was not sent to MLflow: {error}")
            closed = mirror.close_lost(plan.study.name, ledger.busy)
        if sent:
            closed.insert(0, f"MLflow: {sent} run{' was' if sent == 1 else 's were'} missing, sent")
        repairs += closed
        print("\n".join(closed + damaged), end="\n" if closed or damaged else "")
    if second:
        repairs += _second(ledger, results)
    if not repairs:
        print("nothing to repair")


def _second(ledger: Ledger, results: Path) -> list[str]:
    """Sends the second tracker what it lacks; a sentence on each run, printed."""
    from workbench.tracking.mirrors.registry import CALLED, reach

    said, sent = list[str](), 0
    tracker = reach(results)
    for directory in tracker.absent(ledger.plan.study.name, map(ledger.directory, ledger.plan.runs)):
        try:
            sent += bool(tracker.sync(directory))
        except UserError as error:
            said.append(f"warning: {directory.path} was not sent to {CALLED}: {error}")
    if sent:
        said.insert(0, f"{CALLED}: {sent} run{' was' if sent == 1 else 's were'} missing, sent")
    print("\n".join(said), end="\n" if said else "")
    return said


def _missing(mirror: Mirror, ledger: Ledger, results: Path, address: str) -> list[RunDir]:
    """Runs that MLflow lacks, by their notes or by what it has."""
    directories = [ledger.directory(run) for run in ledger.plan.runs]
    lacking = [*unsent(directories, results, address), *mirror.absent(ledger.plan.study.name, directories)]
    return list({directory.path: directory for directory in lacking}.values())
