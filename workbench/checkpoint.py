"""Saving and resuming: tensors as safetensors, everything else as JSON; nothing is unpickled.

`last.safetensors` and `last.json` hold what a resume needs; `model.safetensors` holds the weights of a
finished run. The JSON file is written last and names the tensors' file by its step, so a crash between the
two leaves the older pair in force.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workbench.config import RunConfig, diff, from_dict, to_dict
from workbench.errors import UserError
from workbench.tracking.files import check_name, replacing, write_atomic


@dataclass
class Progress:
    """How far a run has come; everything but the tensors."""

    step: int = 0
    """Optimiser steps taken in the whole run."""
    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    stage_flops: float = 0.0
    """FLOPs of one step of the present stage; 0 before it was measured."""
    seconds: float = 0.0
    """Training clock: without evaluation, saving and start-up."""
    flops: float = 0.0
    wait_seconds: float = 0.0
    evaluated: int = 0
    """Validations done in the present stage."""

    def next_stage(self) -> None:
        """Clears what belongs to the stage that is over."""
        self.stage += 1
        self.stage_step = self.evaluated = 0
        self.stage_seconds = self.stage_flops = 0.0


def save(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, config: RunConfig
) -> None:
    """Writes a checkpoint in `folder`; the one before stays valid until this one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, state in _named_states(model, optimizer):
        tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
    old = _read(folder)
    name = f"last-{progress.step}.safetensors"
    with replacing(folder / name) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)
    record = {"tensors": name, "progress": asdict(progress), "config": to_dict(config)}
    write_atomic(folder / "last.json", json.dumps(record) + "\n")
    if old is not None and old.tensors != name:
        (folder / old.tensors).unlink(missing_ok=True)


def resume(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig
) -> Progress | None:
    """Restores the last checkpoint of `folder` in place; None when there is none.

    Raises `UserError` where the checkpoint belongs to another configuration or cannot be read.
    """
    record = _read(folder)
    if record is None:
        return None
    if record.config != config:
        changed = ", ".join(f"{k}: {a!r} -> {b!r}" for k, (a, b) in diff(record.config, config).items())
        raise UserError(f"the checkpoint in {folder} belongs to another configuration ({changed})")
    tensors = _load(folder / record.tensors)
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


def finish(folder: Path, model: nn.Module) -> None:
    """Keeps the weights of a finished run and drops what only a resume would need."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary)
    for path in [folder / "last.json", *folder.glob("last-*.safetensors")]:
        path.unlink(missing_ok=True)


def load_model(folder: Path, model: nn.Module) -> None:
    """Weights of a finished run into `model`."""
    model.load_state_dict(_load(folder / "model.safetensors"))


class _Record(NamedTuple):
    """What `last.json` holds."""

    tensors: str
    progress: Progress
    config: RunConfig


def _read(folder: Path) -> _Record | None:
    path = folder / "last.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        name = check_name(fields["tensors"], "file name")
        return _Record(name, Progress(**fields["progress"]), from_dict(fields["config"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged or of another version; delete {folder} to start the run anew"
        ) from error


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"the weights {path} cannot be read: {error}") from error


def _named_states(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[str, dict]]:
    return [(n, optimizer.state[p]) for n, p in model.named_parameters() if p in optimizer.state]
