"""Tasks in killable processes, each with a deadline.

Video decoders hang while they hold the interpreter lock (decord#373) and crash whole processes, so
neither a thread nor a plain process pool is enough. A worker here is a fresh interpreter that reads
tasks from a pipe; one that overruns its deadline is killed, and only its own task is lost. Nothing is
pickled, and the caller's main module is not imported again.

A task function takes a JSON object and returns a JSON object and bytes: ``(dict) -> (dict, bytes)``.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from workbench.errors import UserError

START_SECONDS = 60.0
"""Added to the deadline of a worker's first task: imports can be slow on a busy machine."""
IDLE = 900.0
"""Seconds without a task after which a worker ends, so that a forgotten one holds no memory."""

MEMORY = 4 << 30
"""Bytes of address space of a worker in `run_tasks`: a file that makes a decoder ask for more costs itself
only. A `Helper` has no bound: what it answers is asked by a reader, and torch alone maps as much."""

PIPE = 1 << 20
"""Bytes of an answer that may lie ready before the first of them is read; more than an ordinary clip has."""

_LENGTHS = struct.Struct("<QQ")


@dataclass(frozen=True)
class Done:
    """One finished task. `failure` is empty, or says why there is no answer."""

    number: int
    answer: dict[str, Any]
    payload: bytes
    failure: str = ""


def usable_cores() -> int:
    """Cores this process may run on (a container's share, not the whole machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(
    function: str,
    tasks: Iterable[tuple[int, dict[str, Any]]],
    *,
    workers: int,
    deadline: float,
) -> Iterator[Done]:
    """Run `function` ("module:name") over numbered tasks and yield answers as they come.

    A task that raises, crashes its process or overruns `deadline` seconds is yielded with a
    `failure`; the others go on. Order is that of completion. Closing the generator kills the workers.
    """
    crew = Crew(function, workers, deadline)
    try:
        yield from crew.run(tasks)
    finally:
        crew.close()


class Crew:
    """Workers that stay for further tasks; they start with the first ones.

    One that ended, by a crash or for having been idle, is replaced. Not safe to share between threads.
    """

    def __init__(self, function: str, workers: int, deadline: float) -> None:
        self._function, self._workers, self._deadline = function, workers, deadline
        self._idle: list[_Worker] = []

    def run(self, tasks: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Done]:
        """As `run_tasks`. Closing the generator kills the workers that have a task."""
        pending = deque(tasks)
        selector = selectors.DefaultSelector()
        busy: list[_Worker] = []

        def begin() -> None:
            worker = self._free()
            worker.give(*pending.popleft())
            selector.register(worker.output, selectors.EVENT_READ, worker)
            busy.append(worker)

        try:
            for _ in range(min(self._workers, len(pending))):
                begin()
            while busy:
                now = time.monotonic()
                wait = max(0.0, min(worker.due for worker in busy) - now)
                ready = {key.data for key, _ in selector.select(wait)}
                now = time.monotonic()
                for worker in list(busy):
                    if worker not in ready and worker.due > now:
                        continue
                    selector.unregister(worker.output)
                    done = worker.take() if worker in ready else worker.overdue(self._deadline)
                    busy.remove(worker)
                    if worker.alive:
                        self._idle.append(worker)
                    else:
                        worker.stop()
                    if pending:
                        begin()
                    yield done
        finally:
            for worker in busy:
                worker.stop()
            selector.close()

    def close(self) -> None:
        """Ends the workers; further tasks start others."""
        while self._idle:
            self._idle.pop().stop()

    def _free(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.stop()
        return _Worker(self._function, self._deadline, MEMORY)


class Helper:
    """One worker that stays, for somebody who asks now and then and cannot load what the answer takes.

    Safe to share between threads; tasks wait for each other. The process starts with the first task, again
    after it died or overran its deadline, and ends by itself when idle for `IDLE` seconds.
    """

    def __init__(self, function: str, deadline: float) -> None:
        self._function, self._deadline = function, deadline
        self._worker: _Worker | None = None
        self._lock = threading.Lock()

    def ask(self, task: dict[str, Any]) -> Done:
        """The answer to one task; `failure` as in `run_tasks`."""
        with self._lock:
            worker = self._worker
            if worker is None or not worker.alive or worker.process.poll() is not None:
                self._stop()
                worker = self._worker = _Worker(self._function, self._deadline, 0)
            worker.give(0, task)
            # A worker that begins its answer and never ends it is killed too, which ends the reading.
            late = threading.Timer(max(0.0, worker.due - time.monotonic()), worker.process.kill)
            late.daemon = True
            late.start()
            try:
                done = worker.take()
            finally:
                late.cancel()
            overran = not worker.alive and time.monotonic() >= worker.due
            return worker.overdue(self._deadline) if overran else done

    def close(self) -> None:
        """Ends the process; a later task starts another."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


class _Worker:
    """One child process and the task it holds."""

    def __init__(self, function: str, deadline: float, memory: int) -> None:
        package_home = str(Path(__file__).resolve().parents[2])
        search = [package_home, os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, search)),
            "OMP_NUM_THREADS": "1",  # one worker a core already
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.data.workers", function, str(deadline), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders write to it at length; failures travel as answers
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input: BinaryIO = self.process.stdin  # type: ignore[assignment]
        self.output: BinaryIO = self.process.stdout  # type: ignore[assignment]
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # A clip in one go, where else both would wait for each other; a system may allow less.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, PIPE)
        self.number = -1
        self.deadline = deadline
        self.due = 0.0
        self.fresh = True
        self.alive = True

    def give(self, number: int, task: dict[str, Any]) -> None:
        self.number = number
        self.due = time.monotonic() + self.deadline + (START_SECONDS if self.fresh else 0.0)
        try:
            self.input.write(json.dumps(task).encode() + b"\n")
            self.input.flush()
        except BrokenPipeError:
            pass  # it died between two tasks; reading its answer says so

    def take(self) -> Done:
        self.fresh = False
        head = _read(self.output, _LENGTHS.size)
        if head is not None:
            answer_size, payload_size = _LENGTHS.unpack(head)
            text = _read(self.output, answer_size)
            payload = _read(self.output, payload_size)
            if text is not None and payload is not None:
                answer = json.loads(text)
                return Done(self.number, answer, payload, answer.pop("failure", ""))
        self.alive = False
        code = self.process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Done(self.number, {}, b"", f"the process ended with {how}")

    def overdue(self, deadline: float) -> Done:
        self.alive = False
        self.process.kill()
        return Done(self.number, {}, b"", f"no answer within {deadline:g} seconds")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.output.close()
        with contextlib.suppress(BrokenPipeError):  # an unsent task of a dead worker
            self.input.close()


def _read(stream: BinaryIO, size: int) -> bytes | None:
    data = stream.read(size)
    return data if len(data) == size else None


def _serve(function: str, deadline: float, memory: int) -> None:
    """The child: answer tasks from stdin until it closes. memory: bytes of address space, 0 for no bound."""
    module, name = function.split(":")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a C library prints must not end up between two answers
    if memory:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (min(memory, hard) if hard > 0 else memory, hard))
    task_function = getattr(importlib.import_module(module), name)
    for line in sys.stdin.buffer:
        # A worker whose parent was killed in the middle of a hang has nobody left to kill it.
        signal.setitimer(signal.ITIMER_REAL, deadline + START_SECONDS + 5)
        try:
            answer, payload = task_function(json.loads(line))
        except UserError as error:
            answer, payload = {"failure": str(error)}, b""
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this task only
            answer, payload = {"failure": f"{type(error).__name__}: {error}"}, b""
        text = json.dumps(answer).encode()
        answers.write(_LENGTHS.pack(len(text), len(payload)) + text + payload)
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, IDLE)


if __name__ == "__main__":
    _serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
