"""Mirrors run directories in MLflow; only this module and its neighbours import mlflow.

The run directory is written first and is complete without MLflow. Mirroring reads it, asks the store what
it has, and sends the rest: it can be repeated at any time, also for directories that were copied
from another machine, and never makes a point twice. Training does not wait for it and
does not notice when it fails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.addresses import masked, sqlite, sqlite_path
from workbench.errors import UserError
from workbench.tracking import notes
from workbench.tracking.files import check_name, wait_for_lock
from workbench.tracking.mlflow_store import (
    HIDDEN,
    create,
    ends,
    explained,
    hidden_tag,
    identity_of,
    lacks,
    quiet,
    reach,
)
from workbench.tracking.mlflow_view import describe, run_tags, serve, with_headlines
from workbench.tracking.points import OUTCOME, Point, batches, param, points, run_name, study_of
from workbench.tracking.run_dir import RunDir, Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = ("config.json", "environment.json", "mask_preview.png", "ranks.npz")
STATES = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "pruned": "KILLED",  # MLflow has no word for it; the tag `wb.state` has
}


class Mirror:
    """One MLflow store. Opening it creates the database when missing; safe in several processes."""

    def __init__(self, results: Path, address: str = "") -> None:
        self.results = results
        self.address = address or sqlite(results / "mlflow.db")
        self._experiments: dict[str, str] = {}
        self._sent: dict[str, dict[tuple[str, int], float]] = {}
        """Run id -> (metric, step) -> value: what the store has, asked once, then known."""
        quiet()
        from mlflow import MlflowClient

        quiet()  # importing it sets its own levels
        results.mkdir(parents=True, exist_ok=True)
        with explained(), wait_for_lock(results / ".mlflow.lock"):  # two first starts would both migrate
            reach(self.address)
            if (path := sqlite_path(self.address)) is not None and not path.exists():
                create(path)
            self._client: MlflowClient = MlflowClient(tracking_uri=self.address)
            self._client.search_experiments(max_results=1)

    def sync(self, directory: RunDir) -> str:
        """Sends what the store does not have of a run and returns its MLflow run id.

        An MLflow run that holds an attempt of somebody else that counts for more stays as it is, see `_ours`.
        Raises `UserError` where the directory is no run's, and where the store fails or does not answer.
        """
        return self._sync(directory)[0]

    def _sync(self, directory: RunDir) -> tuple[str, bool]:
        """The run id, and whether the MLflow run is now what the directory says."""
        status = directory.status()
        if status is None or not directory.identity():
            raise UserError(f"{directory.path} is not a run directory: run.json or status.json is missing")
        directory.identity("study", "key", "cell")
        sent = with_headlines(points(directory, status), study_of(directory))
        with explained(), wait_for_lock(directory.file("mlflow.lock")):
            run_id, new = self._run(directory, status)
            ours = self._ours(run_id, directory, status)
            if ours and self._contradicts(run_id, sent, status):
                run_id, new = self._replace(run_id, directory, status), True
            if ours:
                self._send(run_id, directory, status, sent, new)
            # Also where another attempt counts: then nothing of this one is left to be sent.
            token = str(directory.identity().get("token", ""))
            self._remember(directory, run_id, state=status.state, token=token)
        return run_id, ours

    def _send(
        self, run_id: str, directory: RunDir, status: Status, sent: Collection[Point], new: bool
    ) -> None:
        if new:
            self._describe(run_id, directory)
        self._tags(run_id, directory, status)
        self._metrics(run_id, sent)
        if status.state != "running":
            self._artifacts(run_id, directory)
        self._state(run_id, status)

    def serve(self) -> int:
        """Shows the store in MLflow's own pages until it is interrupted, see `mlflow_view.serve`."""
        return serve(self._client, self.address)

    def close_lost(self, study: str, busy: Callable[[], Collection[tuple[str, int]]]) -> list[str]:
        """Closes the MLflow runs of a study that are RUNNING though nobody works on them.

        Args:
            busy: tells the (key, seed) of the runs that somebody works on, perhaps on another machine. Asked
                after the store: a run that began in between must not be taken for lost.

        Returns:
            A sentence for each.
        """
        repairs = []
        with explained():
            experiment = self._client.get_experiment_by_name(study)
            found = experiment and self._client.search_runs(
                [experiment.experiment_id], "attributes.status = 'RUNNING'", max_results=10_000
            )
            at_work = busy() if found else ()
            for run in found or []:
                if (identity := identity_of(run.data.tags)) is None or identity in at_work:
                    continue
                directory = RunDir.of(self.results, study, *identity)
                if directory.alive():  # a run that was started by hand
                    continue
                if self._client.get_run(run.info.run_id).info.status != "RUNNING":  # ended just now
                    continue
                self._close(run.info.run_id, directory)
                repairs.append(f"MLflow: {run.info.run_name} was RUNNING though its process is gone, closed")
        return repairs

    def absent(self, study: str, directories: Iterable[RunDir]) -> list[RunDir]:
        """Runs that have ended and are not in the store, or not as they ended: after its loss, say."""
        with explained():
            there = ends(self._client, study)
        return [directory for directory in directories if lacks(there, directory)]

    def _close(self, run_id: str, directory: RunDir) -> None:
        reason = "its run directory is gone"
        try:
            if (status := directory.status()) is not None:
                reason = "its process is gone"
                if status.state == "running":
                    directory.set_status("interrupted", reason=reason, pid=0)
                if self._sync(directory) == (run_id, True):
                    return
        except UserError:  # one damaged record must not keep the others from being closed
            reason = "its record is damaged"
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
        if known.get("address") == masked(self.address) and self._holds(known.get("run_id"), identity):
            return known["run_id"], not known.get("described", False)
        wanted = f"tags.`wb.key` = '{identity['key']}' and tags.`wb.seed` = '{identity['seed']}'"
        found = self._client.search_runs([experiment], wanted, max_results=1)
        run_id = found[0].info.run_id if found else self._create_run(experiment, identity, status)
        directory.file("mlflow.json").unlink(missing_ok=True)
        self._remember(directory, run_id, described=False)
        return run_id, True

    def _create_run(self, experiment: str, identity: Mapping[str, Any], status: Status) -> str:
        tags = {"wb.key": identity["key"], "wb.seed": str(identity["seed"])}
        start = int(status.started * 1000)
        return str(self._client.create_run(experiment, start, tags, run_name(identity)).info.run_id)

    def _ours(self, run_id: str, directory: RunDir, status: Status) -> bool:
        """Whether the store has no attempt of somebody else that counts for more than this one.

        Two machines may each have a directory of one cell and seed. A complete attempt counts before all
        others, whatever the clocks of the machines say; of two the one begun last does.
        """
        tags = self._client.get_run(run_id).data.tags
        if hidden_tag(tags, "token") in ("", str(directory.identity().get("token", ""))):
            return True
        theirs, ours = tags.get("wb.state") == "complete", status.state == "complete"
        if theirs != ours:
            return ours
        return status.started >= float(hidden_tag(tags, "started") or 0.0)

    def _contradicts(self, run_id: str, sent: Collection[Point], status: Status) -> bool:
        """Whether the store has other values than the record, or more values than a complete record."""
        record = {(name, step): value for name, value, _, step in sent}
        stored = dict(self._stored(run_id))
        if status.state == "complete" and stored.keys() - record.keys():
            return True
        return any(point in stored and stored[point] != value for point, value in record.items())

    def _replace(self, run_id: str, directory: RunDir, status: Status) -> str:
        """A new MLflow run instead of one that holds other values, since MLflow overwrites none.

        The old one goes to MLflow's bin, from which it can be restored.
        """
        experiment = self._client.get_run(run_id).info.experiment_id
        self._client.delete_run(run_id)
        self._sent.pop(run_id, None)
        replacement = self._create_run(experiment, directory.identity(), status)
        directory.file("mlflow.json").unlink(missing_ok=True)
        self._remember(directory, replacement, described=False)
        return replacement

    def _remember(self, directory: RunDir, run_id: str, **facts: Any) -> None:
        """Notes beside the run where it went; changes the file only when something is new."""
        known = directory.read_json("mlflow.json")
        record = known | {"address": masked(self.address), "run_id": run_id} | facts
        if record != known:
            directory.write_json("mlflow.json", record)

    def _holds(self, run_id: object, identity: Mapping[str, Any]) -> bool:
        """Whether there is such an MLflow run, and it is this run's: the note may come from elsewhere."""
        from mlflow.exceptions import MlflowException

        if not isinstance(run_id, str):
            return False
        try:
            found = self._client.get_run(run_id)
            mine = identity_of(found.data.tags) == (identity["key"], identity["seed"])
            return mine and found.info.lifecycle_stage == "active"
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
                    root = self._artifact_root(study)
                    self._experiments[study] = self._client.create_experiment(study, root)
            describe(self._client, self._experiments[study], study_of(directory))
        return self._experiments[study]

    def _artifact_root(self, study: str) -> str | None:
        """The artifact folder beside an SQLite store; None for a server, which has its own."""
        if not self.address.startswith("sqlite"):
            return None
        return (self.results.resolve() / "mlartifacts" / study).as_uri()

    # What is sent

    def _describe(self, run_id: str, directory: RunDir) -> None:
        """Sends what never changes: parameters and data sets."""
        from mlflow.entities import Param

        config = {k: v for k, v in directory.flat_config().items() if k != "type"}
        params = [Param(name, param(value)) for name, value in sorted(config.items())]
        for part in batches(params, 100):
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

        tags = run_tags(directory, status) | notes.tags(directory)
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        # What an earlier attempt failed of is not what became of the run, nor a note that was taken back.
        ours = (*(f"wb.{name}" for name in OUTCOME), "wb.note", "wb.pinned")
        for name in self._client.get_run(run_id).data.tags:
            if name.startswith(ours) and name not in tags:
                self._client.delete_tag(run_id, name)

    def _metrics(self, run_id: str, sent: Collection[Point]) -> None:
        """The points of all curves and of the summary that the store does not have yet."""
        from mlflow.entities import Metric

        start, stored = self._client.get_run(run_id).info.start_time, self._stored(run_id)
        new = [
            Metric(name, value, start + int(1000 * seconds), step)
            for name, value, seconds, step in sent
            if (name, step) not in stored
        ]
        for part in batches(new, 1000):
            self._client.log_batch(run_id, metrics=part)
            stored |= {(metric.key, metric.step): metric.value for metric in part}

    def _stored(self, run_id: str) -> dict[tuple[str, int], float]:
        if run_id not in self._sent:
            names = self._client.get_run(run_id).data.metrics
            self._sent[run_id] = {
                (point.key, point.step): point.value
                for name in names
                for point in self._client.get_metric_history(run_id, name)
            }
        return self._sent[run_id]

    def _artifacts(self, run_id: str, directory: RunDir) -> None:
        # By size as well: a transfer that was killed in the middle leaves half a file.
        stored = {file.path: file.file_size for file in self._client.list_artifacts(run_id)}
        tags = self._client.get_run(run_id).data.tags
        for name in ARTIFACTS:
            path = directory.file(name)
            if not path.exists():
                continue
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            if (stored.get(name), tags.get(f"{HIDDEN}sha256.{name}")) != (path.stat().st_size, content):
                self._client.log_artifact(run_id, str(path))
                self._client.set_tag(run_id, f"{HIDDEN}sha256.{name}", content)

    def _state(self, run_id: str, status: Status) -> None:
        wanted = STATES[status.state]
        if self._client.get_run(run_id).info.status == wanted:
            return
        if wanted == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, wanted, int(status.updated * 1000))
