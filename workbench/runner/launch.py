"""Starts runs as separate processes without repeating imports.

Importing torch, timm and transformers takes longer than a tenth of a short run. So one helper process (the
*fork server*, `workbench.runner.fork_server`) imports them once and forks for every run. It also outlives
the study process for a moment: when that is killed, the fork server tells the runs to save and stop.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from workbench.errors import UserError
from workbench.tracking.files import Lock

START_TIMEOUT = 600.0
"""Seconds in which a run has to begin: at first the imports come before it, perhaps from a slow network."""
CLOSE_TIMEOUT = 75.0
"""Seconds for the fork server to end: it gives the runs a minute to save."""
POLL = 0.1


class Child:
    """A started run: a process group of its own."""

    def __init__(self, launcher: Launcher, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._launcher = launcher

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, None while it runs."""
        self._launcher.receive()
        return self.returncode

    def wait(self, timeout: float) -> int | None:
        """`poll` until it has ended or `timeout` seconds have passed."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None and (left := end - time.monotonic()) > 0:
            self._launcher.receive(timeout=left)
        return code

    def signal(self, number: int) -> None:
        """Sends a signal to the run and everything it has started."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it may have ended just now
                os.killpg(self.pid, number)

    def stop(self, grace: float) -> int | None:
        """Asks it to save and end; kills it when it has not done so after `grace` seconds."""
        self.signal(signal.SIGTERM)
        if (code := self.wait(grace)) is None:
            self.signal(signal.SIGKILL)
            code = self.wait(grace)
        return code


class Launcher:
    """Owns the fork server.

    Args:
        module: has a `main(arguments) -> exit code`, as `workbench.train`.
        preload: further modules to import once.
        stop: whether to wait no longer for a run to begin.
        urgent: whether to wait no longer for runs to save.

    Raises:
        UserError: the system starts no process.
    """

    def __init__(
        self,
        module: str = "workbench.train",
        preload: Sequence[str] = (),
        stop: Callable[[], bool] = lambda: False,
        urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stop, self._urgent = stop, urgent
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "workbench.runner.fork_server", str(theirs.fileno()), module]
        # A session of its own: Ctrl-C in the terminal is for the study process, which passes it on.
        try:
            self._fork_server = subprocess.Popen(
                [*command, *preload],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise UserError(
                f"cannot start a process that runs {sys.executable} ({error.strerror}), perhaps for want of "
                "memory; what is done stays, start the same command again"
            ) from error
        finally:
            theirs.close()
        self._socket = ours
        self._children: dict[int, Child] = {}
        self._started: list[Child] = []
        self._buffer = b""

    def start(
        self, arguments: Sequence[str], log: Path, lock: Lock, waiting: Callable[[], None] = lambda: None
    ) -> Child | None:
        """Starts a run that shares `lock`; its output is added to the file `log`.

        None when `stop` says so first: should it still begin, it is told to stop at once. `waiting` is called
        again and again until the run begins.
        """
        request = json.dumps({"arguments": list(arguments), "log": str(log)}) + "\n"
        try:
            socket.send_fds(self._socket, [request.encode()], [lock.fd])
        except (BrokenPipeError, ConnectionResetError):
            self._died()
        end = time.monotonic() + START_TIMEOUT
        while not self._started:
            self.receive(timeout=POLL)
            waiting()
            if self._stop() and not self._started:
                return None
            if time.monotonic() > end:
                raise UserError(
                    f"no run has begun within {START_TIMEOUT:.0f} seconds: the process that starts runs "
                    f"({self._fork_server.pid}) hangs, perhaps in its imports"
                )
        return self._started.pop()  # it may have ended already

    def receive(self, timeout: float = 0.0) -> None:
        """Takes in what the fork server reports: starts and ends."""
        self._socket.settimeout(timeout or 1e-3)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._died()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            report = json.loads(line)
            if report["event"] == "started":
                child = self._children[report["pid"]] = Child(self, report["pid"])
                self._started.append(child)
            else:
                self._children.pop(report["pid"]).returncode = report["code"]

    def _died(self) -> NoReturn:
        with suppress(subprocess.TimeoutExpired):
            self._fork_server.wait(POLL * 50)
        code = self._fork_server.returncode
        raise UserError(
            f"the process that starts runs has died (exit code {code}); start the same command again"
        )

    def close(self) -> None:
        """Ends the fork server; runs that still go are told to save and stop, and killed if they do not."""
        self._socket.close()
        end = time.monotonic() + CLOSE_TIMEOUT
        while self._fork_server.poll() is None:
            if self._urgent() or time.monotonic() > end:
                self._kill()
            time.sleep(POLL / 4)

    def _kill(self) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._fork_server.kill()
        self._fork_server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
