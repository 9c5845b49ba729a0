"""Sends run directories to Weights & Biases; the only home of wandb.

A run is sent whole, once it has ended for good: its configuration, curves, final metrics and tags, read from
the run directory and from nothing else; what wandb collects by itself is switched off. Where a run went
stands in its `wandb.json`, so that repeating it sends nothing twice. With `WANDB_MODE=offline` runs become
files in `RESULTS/wandb`, which `wandb sync` sends later.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.addresses import masked
from workbench.errors import UserError
from workbench.tracking.files import check_name, wait_for_lock
from workbench.tracking.mirrors.record import FILE, FINAL, sent, unsent
from workbench.tracking.points import facts, final, recorded, run_name, study_of
from workbench.tracking.run_dir import RunDir, Status

TIMEOUT = 10.0
"""Seconds that a server may take to answer at all."""
LONGEST_TAG, LONGEST_NAME = 64, 128
"""Letters that Weights & Biases takes."""
QUIET: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""Settings under which nothing is collected but what is sent here."""


class Mirror:
    """The store that wandb's own settings name: a server, or files in the results folder."""

    def __init__(self, results: Path) -> None:
        """Raises `UserError` where a server does not answer or knows no key of ours."""
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which would tell of a failure elsewhere
        with _explained():
            import wandb

            self._wandb = wandb
            settings = wandb.setup().settings
            self.offline = settings.mode == "offline"
            self.place = "offline" if self.offline else masked(str(settings.base_url))
            if not self.offline:
                _answers(str(settings.base_url))
                if not wandb.login(prompt=False):
                    raise UserError("there is no API key: `wandb login` asks for one, and WANDB_MODE=offline "
                                    "needs none")  # fmt: skip
        self._folder = os.environ.get("WANDB_DIR") or str(results)
        Path(self._folder).mkdir(parents=True, exist_ok=True)

    def sync(self, directory: RunDir) -> str:
        """Sends a run that has ended for good and was not sent; returns its id, empty for any other run.

        Raises `UserError` where the directory is no run's, and where the store refuses it.
        """
        status = directory.status()
        if status is None or not directory.identity():
            raise UserError(f"{directory.path} is not a run directory: run.json or status.json is missing")
        if status.state not in FINAL:
            return ""
        identity = directory.identity("study", "key", "cell")
        with wait_for_lock(directory.file("wandb.lock")):
            if sent(directory, status, self.place):
                return str(directory.read_json(FILE).get("id", ""))
            token = str(identity.get("token", ""))
            words = f"{identity['study']}/{identity['key']}/{identity['seed']}/{token}"
            found = hashlib.sha256(words.encode()).hexdigest()[:16]
            with _explained():
                self._send(found, directory, status)
            known = {"place": self.place, "id": found, "state": status.state, "token": token}
            directory.write_json(FILE, known)
        return found

    def close_lost(self, study: str, busy: Callable[[], Collection[tuple[str, int]]]) -> list[str]:
        """Nothing: what is sent has ended."""
        return []

    def absent(self, study: str, directories: Iterable[RunDir]) -> list[RunDir]:
        """Runs that have ended for good and were not sent to this store, by their own notes."""
        return unsent(directories, self.place)

    def _send(self, number: str, directory: RunDir, status: Status) -> None:
        identity = directory.identity()
        curves = _rows(directory)  # before anything is begun: a damaged record begins nothing
        told = {name: value for name, value in facts(directory, status).items() if value not in (None, "")}
        run = self._wandb.init(
            project=check_name(str(identity["study"]), "study name"),
            id=number,
            name=run_name(identity)[:LONGEST_NAME],
            group=str(identity["cell"])[:LONGEST_NAME],
            job_type=str(identity.get("recipe") or "run")[:LONGEST_TAG],
            notes=str(study_of(directory).get("question", "")),
            tags=[tag[:LONGEST_TAG] for tag in (status.state, f"seed {identity['seed']}")],
            config=_settings(directory) | {"run": _harmless(told)},
            dir=self._folder,
            resume=None
            if self.offline
            else "allow",  # what an earlier attempt to send it left is gone on with
            reinit="create_new",
            settings=self._wandb.Settings(**QUIET),
        )
        failed = status.state == "failed"
        try:
            for step, row in sorted(curves.items()):
                run.log(row, step=step)
            run.summary.update(final(directory))
        finally:
            run.finish(exit_code=int(failed))


def _rows(directory: RunDir) -> dict[int, dict[str, float]]:
    """Step -> metrics of that step, with the seconds of the training clock."""
    found: dict[int, dict[str, float]] = {}
    for (name, step), (value, seconds) in recorded(directory).items():
        row = found.setdefault(step, {})
        row[name] = value
        row["seconds"] = seconds
    return found


def _settings(directory: RunDir) -> dict[str, Any]:
    """The configuration as objects in objects, which Weights & Biases shows under dotted names."""
    found: dict[str, Any] = _harmless(directory.read_json("config.json"))
    found.pop("type", None)
    return found


def _harmless(value: Any) -> Any:
    """The same without passwords in its words."""
    if isinstance(value, dict):
        return {name: _harmless(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_harmless(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value


def _answers(address: str) -> None:
    """Refuses a server that does not answer; wandb itself would try for minutes."""
    try:
        urllib.request.urlopen(address, timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return  # it answers
    except (OSError, ValueError) as error:
        raise UserError(f"{masked(address)} does not answer: {error}") from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turns whatever wandb may raise into one sentence without passwords."""
    try:
        yield
    except UserError:
        raise
    # It has errors of its own, of pydantic, of its service process and of the network, with no common base.
    except Exception as error:
        lines = [line.strip() for line in masked(str(error)).splitlines() if line.strip()]
        raise UserError(" ".join(lines)[:300] or type(error).__name__) from error
