"""Saving and resuming: tensors as safetensors, everything else as JSON; nothing is unpickled.

`last.json` and the `last-STEP.safetensors` that it names hold what a resume needs; `previous.json` does the
same for the checkpoint before, which is resumed where the last one turns out damaged. `model.safetensors`
holds the weights of a finished run. A JSON file is written after its tensors and holds their SHA-256, so a
crash between the two leaves the older pair in force.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.serial import diff, from_dict, to_dict
from workbench.tracking.files import check_name, replacing, write_atomic

LAST, PREVIOUS, MODEL = "last.json", "previous.json", "model.safetensors"


@dataclass
class Progress:
    """State of a run except its tensors."""

    step: int = 0
    """Optimiser steps taken in the whole run."""
    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    stage_flops: float = 0.0
    """FLOPs of one step of the present stage; 0 before the measurement."""
    seconds: float = 0.0
    """Seconds on the training clock, without evaluation, saving and start-up."""
    flops: float = 0.0
    wait_seconds: float = 0.0
    core_seconds: float = 0.0
    """CPU time of the steps in seconds, over all threads."""
    core_wait_seconds: float = 0.0
    """Seconds of the steps in which a thread was ready and had no core, over all threads; NaN if unknown."""
    evaluated: int = 0
    """Number of validations in the present stage."""
    steps_on: dict[str, int] = field(default_factory=dict)
    """Steps by the number of the data set that they were trained on."""
    prepared: bool = False
    """Whether the recipe's `prepare` has run."""
    prepare_flops: float = 0.0
    prepare_seconds: float = 0.0
    stage_costs: dict[str, float] = field(default_factory=dict)
    """`cost/*` per clip of one step of the present stage."""
    mixed_costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """If the present stage mixes data: number of a data set -> `flops` of a step and `cost/*` per clip."""
    costs: dict[str, float] = field(default_factory=dict)
    """The sum of these over all steps."""
    eval_seconds: float = 0.0
    """Time spent on embedding whole splits."""
    startup_seconds: float = 0.0
    """Seconds from the start of each attempt to its training."""
    peak_memory_gb: float = 0.0

    def next_stage(self) -> None:
        """Resets the fields that belong to the finished stage."""
        self.stage += 1
        self.stage_step = self.evaluated = 0
        self.stage_seconds = self.stage_flops = 0.0
        self.stage_costs, self.mixed_costs = {}, {}


def save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: RunConfig,
    origin: Mapping[str, str] | None = None,
) -> None:
    """Writes a checkpoint in `folder` and keeps the one before, which stays valid all the while.

    origin: device, precision, code and vocabulary of the training, for a later resume.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, state in _named_states(model, optimizer):
        tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
    before = _read(folder / LAST)
    name = f"last-{progress.step}.safetensors"
    _write(folder / name, tensors)
    record = {
        "tensors": name,
        "sha256": sha256(folder / name),
        "progress": asdict(progress),
        "config": to_dict(config),
        "place": dict(origin or {}),
    }
    if before is not None and before.tensors != name:
        write_atomic(folder / PREVIOUS, (folder / LAST).read_bytes())
    write_atomic(folder / LAST, json.dumps(record) + "\n")
    needed = {name} | {kept.tensors for kept in [_read(folder / PREVIOUS)] if kept is not None}
    # Also halves that a kill in the middle of writing has left.
    for path in [*folder.glob("last-*.safetensors"), *folder.glob(".*")]:
        if path.name not in needed:
            path.unlink()


def resume(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    vocabulary: str = "",
) -> Progress | None:
    """Restores the last checkpoint of `folder` in place; None when there is none.

    A damaged one is set aside with a warning if the previous one is intact. Raises `UserError` if there is no
    intact one, or if the checkpoint belongs to another configuration or vocabulary.
    """
    try:
        return _resume(folder, folder / LAST, model, optimizer, config, vocabulary)
    except Damaged as error:
        if not (folder / PREVIOUS).exists():
            raise
        progress = _resume(folder, folder / PREVIOUS, model, optimizer, config, vocabulary)
        if progress is None:
            raise
        os.replace(folder / PREVIOUS, folder / LAST)
        print(f"warning: {error}; going on from step {progress.step}, the one before", file=sys.stderr)
        return progress


def origin(folder: Path) -> dict[str, str]:
    """Origin of the checkpoint that a resume would use; empty if it is unknown."""
    for name in (LAST, PREVIOUS):
        try:
            record = _read(folder / name)
        except Damaged:  # a resume says so
            continue
        return record.origin if record is not None else {}
    return {}


def finish(folder: Path, model: nn.Module) -> None:
    """Writes the weights of a finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / MODEL, model.state_dict())


def drop(folder: Path) -> None:
    """Removes files that only a resume needs, once the record marks the run as complete."""
    for path in [folder / LAST, folder / PREVIOUS, *folder.glob("last-*.safetensors")]:
        path.unlink(missing_ok=True)


def load_model(folder: Path, model: nn.Module) -> None:
    """Loads the weights of a finished run into `model`. Raises `UserError` if they are damaged or missing."""
    if not (folder / MODEL).exists():
        raise UserError(f"the weights {folder / MODEL} are gone, perhaps to stay within --checkpoint-quota")
    model.load_state_dict(load_tensors(folder / MODEL))


class Damaged(UserError):
    """A checkpoint that cannot be read as it was written."""


def _resume(
    folder: Path,
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    vocabulary: str,
) -> Progress | None:
    record = _read(path)
    if record is None:
        return None
    if record.config != config:
        changed = ", ".join(f"{k}: {a!r} -> {b!r}" for k, (a, b) in diff(record.config, config).items())
        raise UserError(f"the checkpoint in {folder} belongs to another configuration ({changed})")
    if vocabulary and record.origin.get("vocabulary", vocabulary) != vocabulary:
        # As many words, but others: the weights would fit and mean nothing.
        raise UserError(f"the checkpoint in {folder} knows other words; delete it to start the run anew")
    tensors = load_tensors(folder / record.tensors)
    if sha256(folder / record.tensors) != record.sha256:
        raise Damaged(f"the weights {folder / record.tensors} cannot be read: they are not what was saved")
    try:
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    except RuntimeError as error:  # the same configuration over other data has other words
        raise UserError(f"the checkpoint in {folder} holds another model; delete it to start anew") from error
    for name, parameter in model.named_parameters():
        prefix = f"optimizer.{name}."
        state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        if state:  # the fused optimiser wants its step counts on the device too
            optimizer.state[parameter] = {k: v.to(parameter.device) for k, v in state.items()}
    return record.progress


class _Record(NamedTuple):
    """What `last.json` and `previous.json` hold."""

    tensors: str
    sha256: str
    progress: Progress
    config: RunConfig
    origin: dict[str, str]


def _read(path: Path) -> _Record | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        name = check_name(fields["tensors"], "file name")
        progress, config = Progress(**fields["progress"]), from_dict(fields["config"])
        return _Record(name, fields["sha256"], progress, config, dict(fields.get("place", {})))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{path} is damaged or of another version; delete {path.parent} to start the run anew"
        ) from error


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(path) as temporary:
        try:
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)
        except SafetensorError as error:  # it tells the system's error in words only
            found = re.search(r"os error (\d+)", str(error))
            code = int(found[1]) if found else errno.EIO
            raise OSError(code, os.strerror(code), str(path)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; `Damaged` where it cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise Damaged(f"the weights {path} cannot be read: {error}") from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, which is read in parts."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named_states(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[str, dict]]:
    return [(n, optimizer.state[p]) for n, p in model.named_parameters() if p in optimizer.state]
