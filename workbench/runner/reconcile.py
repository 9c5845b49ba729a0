"""`--reconcile`: settles what killed processes left behind, and sends MLflow what it lacks."""

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


def reconcile(plan: Plan, results: Path, storage: str, mlflow: str) -> None:
    """Brings ledger, run directories and MLflow into agreement, also when no worker is left to do so.

    Prints what it repairs. Raises `UserError` where there is nothing, or a store that cannot be used.

    Args:
        storage: address of the Optuna storage, empty for that of `results`.
        mlflow: address of the MLflow store, empty for that of `results`, or `none`.
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
    if not repairs:
        print("nothing to repair")


def _missing(mirror: Mirror, ledger: Ledger, results: Path, address: str) -> list[RunDir]:
    """Runs that MLflow lacks, by their notes or by what it has."""
    directories = [ledger.directory(run) for run in ledger.plan.runs]
    lacking = [*unsent(directories, results, address), *mirror.absent(ledger.plan.study.name, directories)]
    return list({directory.path: directory for directory in lacking}.values())
