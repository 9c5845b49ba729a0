"""What is noted beside a run of its copy in a second tracker: `wandb.json`."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.errors import UserError
from workbench.tracking.run_dir import RunDir, Status

FILE = "wandb.json"
FINAL = ("complete", "failed", "pruned")
"""States of a run that does not go on by itself; one that was interrupted is sent when it has gone on."""


def sent(directory: RunDir, status: Status, place: str = "") -> bool:
    """Whether a run lies with the tracker as it ended; place: where, anywhere if empty."""
    known = directory.read_json(FILE)
    ended = status.state, str(directory.identity().get("token", ""))
    return (known.get("state"), known.get("token")) == ended and place in ("", known.get("place"))


def unsent(directories: Iterable[RunDir], place: str = "") -> list[RunDir]:
    """Those that have ended for good and were not sent, told by their own notes."""
    found = []
    for directory in directories:
        try:
            status = directory.status()
            if status is not None and status.state in FINAL and not sent(directory, status, place):
                found.append(directory)
        except UserError:  # nothing that could be sent
            continue
    return found
