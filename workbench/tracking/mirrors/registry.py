"""Which trackers `--also` knows, whether one can be used, and its forwarder."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import UserError
from workbench.tracking.forward import Forwarder, Leftovers, NoForwarder, Tracker
from workbench.tracking.mirrors.record import unsent
from workbench.tracking.run_dir import RunDir

WANDB, CALLED = "wandb", "Weights & Biases"
MODES = ("online", "offline")
"""What `WANDB_MODE` may be."""


def check(name: str) -> None:
    """Refuses an unknown name, a tracker whose package is missing, and a mode in which it sends nothing.

    An empty name is none at all, which is allowed.
    """
    if not name:
        return
    if name != WANDB:
        raise UserError(f"--also must be {WANDB!r}, for Weights & Biases beside MLflow, not {name!r}")
    if importlib.util.find_spec("wandb") is None:
        raise UserError(
            "--also wandb needs the package wandb, which is not installed: pip install 'workbench[wandb]'"
        )
    mode = os.environ.get("WANDB_MODE") or MODES[0]
    if mode not in MODES:
        raise UserError(f"--also wandb sends runs, so WANDB_MODE must be {' or '.join(MODES)}, not {mode!r}")


def reach(results: Path) -> Tracker:
    """The store of Weights & Biases, or its files in `results`; raises `UserError` where it is away."""
    from workbench.tracking.mirrors.wandb import Mirror  # takes seconds to import

    return Mirror(results)


class _Wandb(Forwarder):
    """The same for Weights & Biases."""

    called = CALLED

    def _shown(self) -> str:
        if os.environ.get("WANDB_MODE") == "offline":
            return str(Path(os.environ.get("WANDB_DIR") or self._results) / "wandb")
        return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"

    def _options(self) -> list[str]:
        return ["--mlflow", "none", "--also", WANDB]

    def _reach(self) -> Tracker:
        return reach(self._results)


def forwarder(name: str, results: Path, study: str, directories: Sequence[RunDir]) -> Forwarder | NoForwarder:
    """Mirrors beside MLflow in the tracker `name`, or nowhere where that is empty.

    directories: the runs of the study; those that have ended and were not sent are sent first.
    """
    if not name:
        return NoForwarder()
    leftovers = Leftovers(study=study, busy=tuple, directories=directories)
    return _Wandb(results, "", unsent(directories), leftovers)
