"""Keeps the checkpoints of a study within a quota, without ever taking what a resume needs.

Kept whatever the quota: the checkpoints of runs that may go on (their last, and the one before it), and the
weights of the best run of the study. The weights of other complete runs go when space is needed: first those
that are not the best of their cell, the worst by the study's metric before all others.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from workbench.errors import UserError
from workbench.study.outcome import Entry, Lease, Outcome
from workbench.study.spec import Study
from workbench.tracking.files import wait_for_lock
from workbench.tracking.points import is_finite
from workbench.tracking.run_dir import RunDir

DEFAULT = "20GB"
WEIGHTS = "model.safetensors"
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(text: str) -> float:
    """Bytes of a size such as `5GB`; infinite for `none`."""
    if text == "none":
        return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]B)", text.strip(), re.IGNORECASE)
    if found is None:
        raise UserError(f"--checkpoint-quota must be a size such as 500MB or 5GB, or none, not {text!r}")
    return float(found[1]) * _UNITS[found[2].upper()]


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """The weights of a complete run, which may be removed."""

    path: Path
    size: int
    key: str
    score: float
    """The study's metric on the validation split, turned so that more is better."""


class Collector:
    """Removes what the quota has no room for: at the start of a study and after every run."""

    def __init__(self, study: Study, results: Path, size: str = DEFAULT) -> None:
        self._folder = results / "runs" / study.name
        self._metric = f"val/{study.metric}"
        self._sign = 1 if study.direction == "maximize" else -1
        self._size, self._quota = size, parse_size(size)
        self._warned = False
        self.collect()

    def started(self, lease: Lease) -> None: ...
    def progressed(self, lease: Lease, share: float) -> None: ...
    def waiting(self, entries: Sequence[Entry]) -> None: ...
    def ended(self, lease: Lease, outcome: Outcome, over: bool) -> None:
        self.collect()

    def collect(self) -> list[Path]:
        """Removes weights until the quota is kept; returns those that went."""
        with wait_for_lock(self._folder / ".checkpoints.lock"):  # several processes may work on a study
            used, weights = self._survey()
            gone: list[Path] = []
            for candidate in _in_order(weights):
                if used <= self._quota:
                    break
                candidate.path.unlink(missing_ok=True)
                gone.append(candidate.path)
                used -= candidate.size
        self._tell(len(gone), used)
        return gone

    def _survey(self) -> tuple[int, list[_Weights]]:
        """Bytes of all checkpoints of the study, and the weights among them."""
        used, weights = 0, []
        for marker in sorted(self._folder.glob("*/run.json")):
            run = RunDir(marker.parent)
            over, score = _over(run), self._score(run)
            for path in run.file("checkpoints").glob("*"):
                if over and path.name != WEIGHTS:
                    path.unlink(missing_ok=True)  # of a pruned run, or left by a kill after completion
                    continue
                size = _size(path)
                used += size
                # Of a run that nobody can judge now the weights are kept: it may be the best.
                if over and score is not None:
                    # The folder is named by key and seed, also where the record is damaged.
                    key = run.path.name.rpartition("-s")[0]
                    weights.append(_Weights(path=path, size=size, key=key, score=score))
        return used, weights

    def _score(self, run: RunDir) -> float | None:
        """The more the better; None where the record of a complete run does not tell."""
        try:
            status, value = run.status(), run.summary().get(self._metric)
        except UserError:
            return None
        if status is not None and status.state == "pruned":
            return -math.inf
        return self._sign * float(value) if is_finite(value) else None

    def _tell(self, gone: int, used: float) -> None:
        if gone:
            runs = "a run" if gone == 1 else f"{gone} runs"
            tqdm.write(f"removed the weights of {runs} to stay within --checkpoint-quota {self._size}")
        if used > self._quota and not self._warned:
            self._warned = True
            tqdm.write(
                f"warning: what a resume needs and the weights of the best run take {used / 1e9:.3g} GB, "
                f"more than --checkpoint-quota {self._size}",
                file=sys.stderr,
            )


def _over(run: RunDir) -> bool:
    """Whether nothing will ever resume this run; one that failed goes on from its checkpoint (`--retry`)."""
    try:
        status = run.status()
        return status is not None and status.state in ("complete", "pruned")
    except UserError:  # a damaged record: whoever mends it may want to resume
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # replaced just now by the run that it belongs to
        return 0


def _in_order(weights: Sequence[_Weights]) -> list[_Weights]:
    """What may be removed, in the order in which it is; the best of all may not."""
    ranked = sorted(weights, key=lambda w: w.score)
    best = {w.key: w.path for w in ranked}  # of each cell, since the later ones are better
    return sorted(ranked[:-1], key=lambda w: w.path == best[w.key])
