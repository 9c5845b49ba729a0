"""Environment of a run: device, precision, versions, commit. It is recorded but not part of a run's key."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from pathlib import Path

import torch

from workbench.errors import UserError

PACKAGES = ("torch", "timm", "transformers", "numpy")


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes an accelerator when there is one; otherwise `cpu`, `cuda`, `cuda:1`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"device {name!r} is not usable here; allowed are auto, cpu, cuda and cuda:N"
        ) from error
    return device


def pick_precision(device: torch.device) -> torch.dtype:
    """bfloat16 if the device multiplies it fast (AMX, AVX-512 BF16, recent GPUs), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32
    return torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def describe(
    device: torch.device, precision: torch.dtype, processes: int = 1, *, compiled: bool = False
) -> dict[str, object]:
    """The environment that readers need to interpret costs and to repeat the run.

    With several processes, device and threads are those of the first.
    """
    return {
        "device": str(device),
        "device_name": _device_name(device),
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "compiled": compiled,
        "hostname": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        **_commit(),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def _commit() -> dict[str, object]:
    """Commit of the code and whether it was changed since; empty where it is not in a repository."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return {"commit": os.environ.get("WORKBENCH_COMMIT", ""), "dirty": False}
    try:
        commit = _git(here, "rev-parse", "HEAD")
        dirty = bool(_git(here, "status", "--porcelain", "--", "workbench", "studies"))
    except (OSError, subprocess.SubprocessError):
        return {"commit": "", "dirty": False}
    return {"commit": commit, "dirty": dirty}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
