"""Reaching an MLflow store: quietly, in bounded time, failing in a sentence; the other home of mlflow."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.addresses import masked, sqlite
from workbench.errors import UserError
from workbench.tracking.files import replacing
from workbench.tracking.run_dir import RunDir

if TYPE_CHECKING:
    from mlflow import MlflowClient


HIDDEN = "mlflow.wb."
"""Beginning of the tags that only this module reads: MLflow's pages leave out those of its own."""


def hidden_tag(tags: Mapping[str, str], name: str) -> str:
    """A hidden tag of a run, which an earlier version showed; empty without it."""
    return tags.get(f"{HIDDEN}{name}") or tags.get(f"wb.{name}", "")


def create(path: Path) -> None:
    """A new database, whole or not at all: MLflow cannot go on from tables that a kill left half made."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()
    with replacing(path) as temporary:
        MlflowClient(tracking_uri=sqlite(temporary)).search_experiments(max_results=1)


def reach(address: str) -> None:
    """Connects to a database server once, because MLflow itself would try for minutes."""
    if re.match("postgresql|mysql", address):
        from sqlalchemy import create_engine

        create_engine(address, connect_args={"connect_timeout": 20}).connect().close()


@contextmanager
def explained() -> Iterator[None]:
    """Turns whatever a store that is away or refuses may raise into one sentence without passwords."""
    from alembic.util import CommandError  # of tables that are not MLflow's
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, OSError, ImportError) as error:
        text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        if "Caused by " in text:  # of all the words about a connection that failed the last ones
            text = text.partition("Caused by ")[2].rpartition(": ")[2].strip("\"')")
        raise UserError(re.sub(r"^\[Errno -?\d+\] ", "", masked(text))[:300]) from error


def quiet() -> None:
    """No usage reports, no chatter, no endless retries, unless the user has set otherwise."""
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it prints addresses with their password
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false")  # it may say an hour
    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised as well


def identity_of(tags: Mapping[str, str]) -> tuple[str, int] | None:
    """(key, seed) of an MLflow run, None where it is none of ours."""
    key, seed = tags.get("wb.key"), tags.get("wb.seed", "")
    return (key, int(seed)) if key and seed.isdigit() else None


def ends(client: MlflowClient, study: str) -> dict[tuple[str, int], tuple[str, str]]:
    """(key, seed) -> (token, state) of all runs of a study that the store has."""
    found: dict[tuple[str, int], tuple[str, str]] = {}
    experiment, page = client.get_experiment_by_name(study), ""
    while experiment is not None:
        runs = client.search_runs([experiment.experiment_id], max_results=1000, page_token=page or None)
        for run in runs:
            tags = run.data.tags
            if (identity := identity_of(tags)) is not None:
                found[identity] = hidden_tag(tags, "token"), tags.get("wb.state", "")
        if not (page := runs.token):
            break
    return found


def lacks(there: Mapping[tuple[str, int], tuple[str, str]], directory: RunDir) -> bool:
    """Whether a run has ended and the store does not have it, or not that this attempt ended so.

    What became of another machine's attempt is not for this one to say, unless only this one is complete.
    """
    try:
        status, identity = directory.status(), directory.identity("key")
    except UserError:  # nothing that could be sent
        return False
    if status is None or status.state == "running":
        return False
    token, state = there.get((identity["key"], identity["seed"]), (None, ""))
    if token is None or token == str(identity.get("token", "")):
        return state != status.state
    return status.state == "complete" and state != "complete"
