"""Mirrors run directories in MLflow; the only home of mlflow.

The run directory is written first and is complete without MLflow. Mirroring reads it, asks the store what
it has, and sends the rest: it can be repeated at any time, also for directories that were copied
from another machine, and never makes a point twice. Training does not wait for it and
does not notice when it fails.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.addresses import masked, sqlite, sqlite_path
from workbench.errors import UserError
from workbench.tracking.files import check_name, replacing, wait_for_lock
from workbench.tracking.run_dir import RunDir, Status

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

ARTIFACTS = ("config.json", "environment.json", "mask_preview.png", "ranks.npz")
STATES = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "pruned": "KILLED",  # MLflow has no word for it; the tag `wb.state` has
}
_T = TypeVar("_T")


class Mirror:
    """One MLflow store. Opening it creates the database when missing; safe in several processes."""

    def __init__(self, results: Path, address: str = "") -> None:
        self.results = results
        self.address = address or sqlite(results / "mlflow.db")
        self._experiments: dict[str, str] = {}
        self._sent: dict[str, set[tuple[str, int]]] = {}
        _quiet()
        from mlflow import MlflowClient

        _quiet()  # importing it sets its own levels
        results.mkdir(parents=True, exist_ok=True)
        with _explained(), wait_for_lock(results / ".mlflow.lock"):  # two first starts would both migrate
            _reach(self.address)
            if (path := sqlite_path(self.address)) is not None and not path.exists():
                _create(path)
            self._client: MlflowClient = MlflowClient(tracking_uri=self.address)
            self._client.search_experiments(max_results=1)

    def sync(self, directory: RunDir) -> str:
        """Sends what the store does not have of a run and returns its MLflow run id.

        Raises `UserError` where the directory is no run's, and where the store fails or does not answer.
        """
        status = directory.status()
        if status is None or not directory.identity():
            raise UserError(f"{directory.path} is no run directory: run.json or status.json is missing")
        with _explained(), wait_for_lock(directory.file("mlflow.lock")):
            run_id, new = self._run(directory, status)
            if new:
                self._describe(run_id, directory)
            self._tags(run_id, directory, status)
            self._metrics(run_id, directory, status)
            if status.state != "running":
                self._artifacts(run_id, directory)
            self._state(run_id, status)
            self._remember(directory, run_id, state=status.state)
        return run_id

    def close_lost(self, study: str, busy: Collection[tuple[str, int]]) -> list[str]:
        """Closes the MLflow runs of a study that are RUNNING though nobody works on them.

        Args:
            busy: (key, seed) of the runs that somebody works on, perhaps on another machine.

        Returns:
            A sentence for each.
        """
        repairs = []
        with _explained():
            experiment = self._client.get_experiment_by_name(study)
            found = experiment and self._client.search_runs(
                [experiment.experiment_id], "attributes.status = 'RUNNING'", max_results=10_000
            )
            for run in found or []:
                tags = run.data.tags
                if "wb.key" not in tags or (tags["wb.key"], int(tags["wb.seed"])) in busy:
                    continue
                directory = RunDir.of(self.results, study, tags["wb.key"], int(tags["wb.seed"]))
                if directory.alive():  # a run that was started by hand
                    continue
                self._close(run.info.run_id, directory)
                repairs.append(f"MLflow: {run.info.run_name} was RUNNING though its process is gone, closed")
        return repairs

    def _close(self, run_id: str, directory: RunDir) -> None:
        status = directory.status()
        reason = "its process is gone" if status is not None else "its run directory is gone"
        if status is not None and status.state == "running":
            status = directory.set_status("interrupted", reason=reason, pid=0)
        if status is not None and self.sync(directory) == run_id:
            return
        for name, value in {"wb.state": "interrupted", "wb.reason": reason}.items():
            self._client.set_tag(run_id, name, value)
        self._client.set_terminated(run_id, "KILLED")

    # The run of a directory

    def _run(self, directory: RunDir, status: Status) -> tuple[str, bool]:
        """The MLflow run of a directory, and whether it still has to be described."""
        identity = directory.identity()
        # A run directory may come from anywhere; study and key go into paths and into a filter.
        experiment = self._experiment(check_name(str(identity["study"]), "study name"), directory)
        check_name(f"{identity['key']}-s{identity['seed']}", "run name")
        known = directory.read_json("mlflow.json")
        if known.get("address") == masked(self.address) and self._exists(known["run_id"]):
            return known["run_id"], not known.get("described", False)
        wanted = f"tags.`wb.key` = '{identity['key']}' and tags.`wb.seed` = '{identity['seed']}'"
        found = self._client.search_runs([experiment], wanted, max_results=1)
        if found:
            run_id = found[0].info.run_id
        else:
            tags = {"wb.key": identity["key"], "wb.seed": str(identity["seed"])}
            name = f"{identity['cell']} seed {identity['seed']}"
            start = int(status.started * 1000)
            run_id = self._client.create_run(experiment, start, tags, name).info.run_id
        directory.file("mlflow.json").unlink(missing_ok=True)
        self._remember(directory, run_id, described=False)
        return run_id, True

    def _remember(self, directory: RunDir, run_id: str, **facts: Any) -> None:
        """Notes beside the run where it went; changes the file only when something is new."""
        known = directory.read_json("mlflow.json")
        record = known | {"address": masked(self.address), "run_id": run_id} | facts
        if record != known:
            directory.write_json("mlflow.json", record)

    def _exists(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _experiment(self, study: str, directory: RunDir) -> str:
        if study not in self._experiments:
            with wait_for_lock(self.results / ".mlflow.lock"):
                found = self._client.get_experiment_by_name(study)
                if found is not None:
                    self._experiments[study] = found.experiment_id
                else:
                    place = self._artifact_root(study)
                    self._experiments[study] = self._client.create_experiment(study, place)
            question = _question(directory)
            if question:
                self._client.set_experiment_tag(self._experiments[study], "mlflow.note.content", question)
        return self._experiments[study]

    def _artifact_root(self, study: str) -> str | None:
        """Beside an SQLite store; a server knows itself where its artifacts go."""
        if not self.address.startswith("sqlite"):
            return None
        return (self.results.resolve() / "mlartifacts" / study).as_uri()

    # What is sent

    def _describe(self, run_id: str, directory: RunDir) -> None:
        """What never changes: parameters and data sets."""
        from mlflow.entities import Param

        config = {k: v for k, v in directory.flat_config().items() if k != "type"}
        params = [Param(name, _param(value)) for name, value in sorted(config.items())]
        for part in _batches(params, 100):
            self._client.log_batch(run_id, params=part)
        if self._inputs(run_id, directory, config):
            self._remember(directory, run_id, described=True)

    def _inputs(self, run_id: str, directory: RunDir, config: dict[str, Any]) -> bool:
        """One data set input for each split; False while the run has not told its data's digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        environment = directory.read_json("environment.json")
        digest = environment.get("data_digest") or config.get("data.digest")
        if not digest:
            return False
        name = str(environment.get("data") or config.get("data.name"))
        size = {key: config.get(f"data.{key}") for key in ("frames", "size", "clips")}
        source = json.dumps({"name": name, "digest": digest})
        inputs = [
            DatasetInput(
                Dataset(f"{name}/{split}", str(digest)[:12], "local", source, None, json.dumps(size)),
                [InputTag("mlflow.data.context", split)],
            )
            for split in ("train", "val", "test")
        ]
        self._client.log_inputs(run_id, inputs)
        return True

    def _tags(self, run_id: str, directory: RunDir, status: Status) -> None:
        from mlflow.entities import RunTag

        identity, environment = directory.identity(), directory.read_json("environment.json")
        values = {name: identity.get(name) for name in ("study", "recipe", "cell", "key", "seed")}
        values |= {"attempt": status.attempt, "state": status.state, "reason": status.reason}
        values |= {"failure": status.failure}
        facts = ("commit", "dirty", "decoder", "device", "device_name", "precision", "hostname")
        values |= {name: environment.get(name) for name in facts}
        tags = [RunTag(f"wb.{n}", masked(str(v))) for n, v in values.items() if v not in (None, "")]
        tags += [RunTag(f"wb.axis.{n}", str(v)) for n, v in identity.get("axes", {}).items()]
        if environment.get("commit"):
            tags.append(RunTag("mlflow.source.git.commit", str(environment["commit"])))
        self._client.log_batch(run_id, tags=tags)

    def _metrics(self, run_id: str, directory: RunDir, status: Status) -> None:
        """The points of all curves and of the summary that the store does not have yet."""
        from mlflow.entities import Metric

        start = self._client.get_run(run_id).info.start_time
        new = [
            Metric(name, value, start + int(1000 * seconds), step)
            for name, value, seconds, step in _points(directory, status)
            if (name, step) not in self._stored(run_id, name)
        ]
        for part in _batches(new, 1000):
            self._client.log_batch(run_id, metrics=part)
            self._sent[run_id] |= {(metric.key, metric.step) for metric in part}

    def _stored(self, run_id: str, name: str) -> set[tuple[str, int]]:
        """Points that the store has of a metric; asked once, then known."""
        sent = self._sent.setdefault(run_id, set())
        if (name, -1) not in sent:
            history: list[Metric] = self._client.get_metric_history(run_id, name)
            sent |= {(metric.key, metric.step) for metric in history}
            sent.add((name, -1))
        return sent

    def _artifacts(self, run_id: str, directory: RunDir) -> None:
        # By size, since a transfer that was killed in the middle leaves half a file.
        stored = {file.path: file.file_size for file in self._client.list_artifacts(run_id)}
        for name in ARTIFACTS:
            path = directory.file(name)
            if path.exists() and stored.get(name) != path.stat().st_size:
                self._client.log_artifact(run_id, str(path))

    def _state(self, run_id: str, status: Status) -> None:
        wanted = STATES[status.state]
        if self._client.get_run(run_id).info.status == wanted:
            return
        if wanted == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, wanted, int(status.updated * 1000))


def _create(path: Path) -> None:
    """A new database, whole or not at all: MLflow cannot go on from tables that a kill left half made."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()
    with replacing(path) as temporary:
        MlflowClient(tracking_uri=sqlite(temporary)).search_experiments(max_results=1)


def _points(directory: RunDir, status: Status) -> Iterator[tuple[str, float, float, int]]:
    """(metric, value, seconds, step); of a step that was recorded twice only the last."""
    points: dict[tuple[str, int], tuple[float, float]] = {}
    for row in directory.read_metrics().rows:
        step, seconds = int(row.get("step", 0)), float(row.get("seconds", 0.0))
        for name, value in row.items():
            if _is_metric(name, value):
                points[name, step] = (float(value), seconds)
    for name, value in directory.summary().items():
        if _is_metric(name, value):
            points.setdefault((name, status.step), (float(value), status.seconds))
    for (name, step), (value, seconds) in points.items():
        yield name, value, seconds, step


def _is_metric(name: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and ("/" in name or name == "pflops")


def _question(directory: RunDir) -> str:
    path = directory.path.parent / "study.json"
    return str(json.loads(path.read_text()).get("question", "")) if path.exists() else ""


def _param(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return masked(text)[:500]


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _reach(address: str) -> None:
    """Connects to a database server once, because MLflow itself would try for minutes."""
    if re.match("postgresql|mysql", address):
        from sqlalchemy import create_engine

        create_engine(address, connect_args={"connect_timeout": 20}).connect().close()


@contextmanager
def _explained() -> Iterator[None]:
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


def _quiet() -> None:
    """No usage reports, no chatter, no endless retries, unless the user has set otherwise."""
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it prints addresses with their password
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false")  # it may say an hour
    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised as well
