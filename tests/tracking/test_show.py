"""MLflow's own pages over the runs: a server that ends with the command that started it."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.tracking.mlflow import Mirror

SHOW = """
import sys
from workbench.tracking import __main__, mlflow_view
mlflow_view.PORT = int(sys.argv[1])
sys.exit(__main__.main(["show", "--results", sys.argv[2]]))
"""


def in_session(leader):
    """Processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


def until(condition, timeout=120):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_alone_ends_all_of_the_server(tmp_path, empty_store, make_run, number):
    run = make_run()
    description = {"question": "How much?", "metric": "t2v_r1"}
    (run.path.parent / "study.json").write_text(json.dumps(description))
    results = tmp_path / "results"
    (results / "mlflow.db").write_bytes(empty_store.read_bytes())
    Mirror(results).sync(run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = subprocess.Popen([sys.executable, "-c", SHOW, str(port), str(results)])
    try:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        until(lambda: children.read_text())
        (server,) = map(int, children.read_text().split())
        until(lambda: len(in_session(server)) > 1)
        command.send_signal(number)
        assert command.wait(60) == 0
        until(lambda: not in_session(server), timeout=5)
    finally:
        command.kill()
