"""Several workers on one study at once: processes of one command, each with a device or a share of the cores.

They share the ledger as any commands that run at the same time do: each takes what is missing, and the run of
one that dies is taken over by the others.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.runner.work import Stop

POLL = 0.2
MOST = 8
"""Workers of `auto` on a processor; more cores than that are divided among them."""


def check(workers: str, processes: int, device: str) -> None:
    """Refuses options that contradict each other, before anything is loaded."""
    if processes < 1:
        raise UserError(
            f"--processes must be the number of processes that share each batch of a run, 1 or more, not "
            f"{processes}"
        )
    if workers and workers != "auto" and not (workers.isdecimal() and int(workers)):
        raise UserError(
            f"--workers must be auto (one for each GPU or core) or a number of at least 1, not {workers!r}"
        )
    if workers and processes > 1:
        raise UserError("--workers and --processes both divide this machine: give only one of them")
    if ":" in device and (workers or processes > 1):
        raise UserError(
            f"several workers or processes take a GPU each: --device must be cpu or cuda, not {device}"
        )


def places(workers: str, device: str, cores: int) -> list[str]:
    """The device of each worker: one GPU each, by its name, or the processor.

    Raises `UserError` where there are more workers than GPUs.

    Args:
        workers: `auto` or a number. On a processor `auto` is one for each core, at most `MOST`: a step of a
            small model leaves a second core idle for part of its time, a second run does not.
        device: kind of device that the study runs on, `cuda`, `cpu`, or empty where it does not matter.
        cores: of the processor that may be used.
    """
    if device != "cuda":
        return [device] * (min(cores, MOST) if workers == "auto" else int(workers))
    import torch

    there = torch.cuda.device_count()
    wanted = there if workers == "auto" else int(workers)
    if wanted > there:
        raise UserError(f"{wanted} workers need a GPU each; there are {there}")
    return [f"cuda:{number}" for number in range(wanted)]


def share(workers: str, device: str, cores: int, work: Callable[[int, str], int], stop: Stop) -> list[int]:
    """Calls `work(number, device)` in processes of their own, numbers from 1 on, and waits for all.

    Signals are passed on to them; should this process be killed, they stop. `workers` and `device` are those
    of `places`; on a processor they divide so many `cores`.

    Returns: their exit codes, negative for a signal.
    """
    devices = places(workers, device, cores)
    places_said = ", ".join(f"{number} on {name or 'cpu'}" for number, name in enumerate(devices, start=1))
    # Flushed, else each of them would print it again.
    print(f"{len(devices)} worker{'s' if len(devices) > 1 else ''}: {places_said}", flush=True)
    # Forked, so that what is imported and checked is so once; their torch is that of the fork servers.
    context = multiprocessing.get_context("fork")
    members: list[BaseProcess] = []
    threads = max(1, cores // len(devices))
    for number, device in enumerate(devices, start=1):
        members.append(context.Process(target=_member, args=(number, device, threads, work)))
        members[-1].start()
    passed = 0
    while left := [member for member in members if member.exitcode is None]:
        while passed < stop.signals:
            passed += 1
            for member in left:
                if member.pid is not None and member.exitcode is None:
                    os.kill(member.pid, signal.SIGTERM)
        wait([member.sentinel for member in left], timeout=POLL)
    return [member.exitcode or 0 for member in members]


def _member(number: int, device: str, threads: int, work: Callable[[int, str], int]) -> None:
    os.setsid()  # Ctrl-C in the terminal is for the first process, which passes it on
    if not device.startswith("cuda"):
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    threading.Thread(target=_stop_without, args=(multiprocessing.parent_process(),), daemon=True).start()
    raise SystemExit(work(number, device))


def _stop_without(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
