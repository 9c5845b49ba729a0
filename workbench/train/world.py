"""The processes that train one run together, and their synchronisation. A single process is a special case.

They are started by `torchrun`, or by `launch` for the processes of one machine; either way each finds its
rank, their number and where to meet in the environment, as `torch.distributed` defines it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from workbench import distributed
from workbench.errors import UserError
from workbench.recipe.batch import BatchRng
from workbench.train import environment

GO_ON, STOP, DONE = 0, 1, 2
"""Votes that the processes exchange; the largest wins."""
AGENT = {"TORCHELASTIC_USE_AGENT_STORE": "True"}
"""Says to `torch.distributed`, as torchrun does, that whoever started the processes has opened the store."""
TIMEOUT = timedelta(minutes=30)
"""Time for which a process waits for the others, which may be evaluating, before it gives up."""
GRACE = 60.0
"""Seconds that the other processes have to end after one has failed."""
WORD = timedelta(seconds=5)
"""Time for which a process waits for the reason of another one's failure."""
FAILURE = "failure"
"""Key of the store under which a failing process writes its reason."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The rank of this process, and collective operations."""

    rank: int = 0
    size: int = 1
    store: dist.Store | None = None
    """Shared by the processes, and outlives each of them; None with one process."""

    @staticmethod
    def join() -> World:
        """Meets the other processes that the environment tells of; blocks until all have come.

        Raises `UserError` where it tells of them in part only, or where they do not come.
        """
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return World()
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            store, rank, size = next(iter(dist.rendezvous("env://", timeout=TIMEOUT)))
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        except (ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(
                f"the processes of this run have not met ({why}); start them by torchrun"
            ) from error
        return World(rank=rank, size=size, store=store)

    def leave(self) -> None:
        """Nothing is done together from here on; no process waits for another."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this process evaluates and writes the record: one of them does."""
        return self.rank == 0

    def rng(self, device: torch.device, seed: int, step: int) -> BatchRng:
        """Where the masks and negatives of one step come from, alike for any number of processes.

        Seed and step are mixed by a hash: on processors torch keeps only the low 32 bits of a seed, so that
        placing them side by side would give runs of all seeds the same masks.
        """
        mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
        generator = torch.Generator(device).manual_seed(int(mixed[0]))
        return BatchRng(generator, rank=self.rank, size=self.size)

    def any_process(self, flag: bool) -> bool:
        """Whether any process says so; all of them ask at the same point of the work."""
        return self._say(STOP if flag else GO_ON) == STOP

    def follow(self, stop: Callable[[], bool]) -> bool:
        """Takes part in all that the first process asks until it is `done`; whether they agreed to stop."""
        while (said := self._say(STOP if stop() else GO_ON)) == GO_ON:
            pass
        return said == STOP

    def done(self) -> None:
        """Tells those who `follow` that they may go on."""
        self._say(DONE)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process does what follows before the others, who find what it has left."""
        if not self.first:
            self.any_process(False)
        yield
        if self.first:
            self.any_process(False)

    def all_gather(self, values: Sequence[float]) -> np.ndarray:
        """The numbers of all processes, float64 [size, len(values)]."""
        return distributed.gather(torch.tensor([list(values)], dtype=torch.float64)).numpy()

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scalars by name, each the mean over all processes."""
        if self.size == 1:
            return dict(values)
        whole = torch.stack([value.detach() for value in values.values()])
        self.all_reduce_mean_([whole])
        return dict(zip(values, whole.unbind(), strict=True))

    def all_reduce_mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each of these by its mean over all processes, who have them in the same shapes."""
        if self.size == 1 or not tensors:
            return
        whole = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.run(dist.all_reduce, whole)
        whole /= self.size
        parts = whole.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each of these by that of the first process."""
        for tensor in tensors if self.size > 1 else ():
            distributed.run(dist.broadcast, tensor, src=0)

    def check_alike(self, facts: Mapping[str, str]) -> None:
        """Refuses processes that disagree about one of these facts, by its name."""
        if self.size == 1:
            return
        digests = [hashlib.sha256(fact.encode()).digest() for fact in facts.values()]
        found = self.all_gather([int.from_bytes(digest[:6]) for digest in digests])
        for name, column in zip(facts, found.T, strict=True):
            if len(set(column)) > 1:
                raise UserError(f"the processes of this run disagree about {name}: it must be the same")

    def report_failure(self, failure: str, reason: str) -> None:
        """Leaves word of why this process ends, for the one that writes the record."""
        if self.store is not None:
            _report(self.store, failure, f"process {self.rank} of {self.size}: {reason}")

    def read_failure(self) -> tuple[str, str]:
        """Failure class and reason that a process has left, or that one was lost without a word."""
        try:
            assert self.store is not None, "one process loses no other"
            self.store.wait([FAILURE], WORD)
            failure, reason = json.loads(self.store.get(FAILURE))
        except RuntimeError:  # nobody said anything in time, or the store has gone too
            return "killed", "another process of the run has gone without a word"
        return failure, reason

    def _say(self, word: int) -> int:
        return int(self.all_gather([word]).max()) if self.size > 1 else word


def check_shared(batch: int, size: int) -> None:
    """Refuses a batch that the processes do not divide."""
    if size > 1 and (batch % size or batch < 2 * size):
        raise UserError(
            f"a batch must have the same number of rows for each of {size} processes, at least 2, not "
            f"{batch} in all"
        )


def check_place(name: str, local_size: int) -> None:
    """Refuses more processes on this machine than GPUs, and a device that all of them would take.

    Touches no GPU, so that one may fork afterwards.
    """
    if local_size > 1 and ":" in name:
        raise UserError(
            f"{local_size} processes take a GPU each: --device must be auto, cpu or cuda, not {name!r}"
        )
    there = torch.cuda.device_count()
    if local_size > there and (name == "cuda" or (name == "auto" and there)):
        raise UserError(f"{local_size} processes need a GPU each; there are {there}")


def place(name: str) -> torch.device:
    """The device of this process: of several on a machine each has a GPU, or its share of the cores."""
    local_rank, local_size = (
        int(os.environ.get(f"LOCAL_{n}", d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1"))
    )
    check_place(name, local_size)
    device = environment.pick_device(name)
    if local_size == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // local_size))
    return device


def launch(size: int, work: Callable[[], int], harmless: Sequence[int] = (0,)) -> int:
    """Runs `work` in so many processes of this machine, which end with what it returns; waits for all.

    They are forked, so that nothing is imported again. When one fails the others are asked to end, and killed
    if they do not; `harmless` are exit codes that are no failure.

    Returns: the exit code of the first process, or of the first that failed; negative for a signal.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("--processes needs Linux; elsewhere torchrun starts the processes of a run")
    # The threads of the store come after the forks, of which they know nothing.
    door = socket.create_server(("127.0.0.1", 0))
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(door.getsockname()[1]), **AGENT}
    context = multiprocessing.get_context("fork")
    members = []
    for rank in range(size):
        number = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        found = meet | {name: str(value) for name, value in number.items()}
        members.append(context.Process(target=_member, args=(found, work, door)))
    for member in members:
        member.start()
    store = dist.TCPStore(
        "127.0.0.1",
        door.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=door.detach(),
    )

    def pass_on(number: int, frame: object) -> None:
        for member in members:
            if member.is_alive() and member.pid is not None:
                os.kill(member.pid, number)

    asked = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.signal(number, pass_on) for number in asked]
    try:
        return _watch(members, store, harmless)
    finally:
        for one, handler in zip(asked, before, strict=True):
            signal.signal(one, handler)


def _member(found: Mapping[str, str], work: Callable[[], int], door: socket.socket) -> None:
    door.close()
    os.environ.update(found)
    sys.exit(work())


def _watch(members: Sequence[Any], store: dist.Store, harmless: Sequence[int]) -> int:
    failed, deadline = 0, float("inf")
    while left := [member for member in members if member.exitcode is None]:
        wait([member.sentinel for member in left], timeout=min(1.0, max(0.0, deadline - time.monotonic())))
        for rank, member in enumerate(members):
            if member.exitcode not in (None, *harmless) and not failed:
                failed, deadline = member.exitcode, time.monotonic() + GRACE
                if failed < 0:
                    name = signal.Signals(-failed).name
                    _report(store, "killed", f"process {rank} of {len(members)} ended by {name}")
                for other in left:
                    if other.exitcode is None:
                        other.terminate()
        if time.monotonic() > deadline:
            for member in members:
                member.kill()
            deadline = float("inf")
    return members[0].exitcode or failed


def _report(store: dist.Store, failure: str, reason: str) -> None:
    if not store.check([FAILURE]):  # the first is the cause, what follows from it is none
        store.set(FAILURE, json.dumps([failure, reason]))
