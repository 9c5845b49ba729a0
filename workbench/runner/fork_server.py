"""The process that starts runs: `python -m workbench.runner.fork_server FD MODULE [PRELOAD ...]`.

Imports MODULE and PRELOAD once, then waits on the socket FD for requests (a line of JSON with a lock's
descriptor) and forks for each: the child calls `MODULE.main(arguments)`. Where forking after these
imports is not safe (anything but Linux) it starts a new interpreter instead. When the other end of
the socket closes, it stops what still runs and ends.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from workbench.tracking.files import LOCK_FD

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Sent to all processes of a job by a terminal or a scheduler; the study process decides what follows."""
FORK = sys.platform.startswith("linux")
POLL = 0.05
SAVE_TIMEOUT = 60.0
"""Seconds for runs to save and stop after the study process has gone."""


def main(fd: int, module: str, preload: list[str]) -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if FORK:
        for name in [_entry(module), *preload]:
            _import(name)
    connection = socket.socket(fileno=fd)
    running: set[int] = set()
    while True:
        _report_ended(connection, running)
        if not select.select([connection], [], [], POLL)[0]:
            continue
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
        except ConnectionResetError:  # the study process was killed before it had read all reports
            break
        if not message:
            break
        request = json.loads(message)
        pid = _start(module, request, descriptors[0], connection)
        os.close(descriptors[0])
        running.add(pid)
        _send(connection, event="started", pid=pid)
    _stop(running)


def _entry(module: str) -> str:
    """What `python -m MODULE` runs: of a package its `__main__`."""
    spec = importlib.util.find_spec(module)
    package = spec is not None and spec.submodule_search_locations is not None
    return f"{module}.__main__" if package else module


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    # The run that needs the module will fail with this error in its own log.
    except Exception:  # noqa: BLE001
        traceback.print_exc()


def _start(module: str, request: dict[str, Any], lock: int, connection: socket.socket) -> int:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        if FORK:
            return _fork(module, request["arguments"], lock, log, connection)
        process = subprocess.Popen(
            [sys.executable, "-m", module, *request["arguments"]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            env=os.environ | {LOCK_FD: str(lock)},
            start_new_session=True,
        )
        return process.pid
    finally:
        os.close(log)


def _fork(module: str, arguments: list[str], lock: int, log: int, connection: socket.socket) -> int:
    if (pid := os.fork()) != 0:
        return pid
    try:
        os.setsid()
        for number in IGNORED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        connection.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ[LOCK_FD] = str(lock)
        sys.argv = [module, *arguments]
        _run(module, arguments)
    finally:
        os._exit(1)


def _run(module: str, arguments: list[str]) -> NoReturn:
    """Calls `main` and ends the process with its code, as the interpreter would."""
    code: int | str | None = 1
    try:
        code = importlib.import_module(_entry(module)).main(arguments)
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001 - what the interpreter itself would do with it
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _report_ended(connection: socket.socket, running: set[int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            _send(connection, event="ended", pid=pid, code=os.waitstatus_to_exitcode(status))


def _send(connection: socket.socket, **report: Any) -> None:
    # If the study process is gone, the main loop finds out by itself.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall((json.dumps(report) + "\n").encode())


def _stop(running: set[int]) -> None:
    end = time.monotonic() + SAVE_TIMEOUT
    _signal(running, signal.SIGTERM)
    while running and time.monotonic() < end:
        for pid in list(running):
            if os.waitpid(pid, os.WNOHANG)[0]:
                running.discard(pid)
        time.sleep(POLL)
    _signal(running, signal.SIGKILL)


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        # It may have ended, or not have called setsid yet: then SIGKILL follows.
        with suppress(ProcessLookupError):
            os.killpg(pid, number)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
