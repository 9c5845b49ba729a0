"""Reaching an MLflow store: quietly, in bounded time, failing in a sentence; the other home of mlflow."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.addresses import masked, sqlite
from workbench.errors import UserError
from workbench.tracking.files import replacing


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
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
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
