"""Trackers to lose: a real MLflow server, one that never answers, one that answers with errors."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter

from mlflow import MlflowClient
from real import OF_THE_MACHINE, environment, until

from workbench.tracking.mlflow_view import headlines

PASSWORD = "Correct-Horse-42"


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


class Server:
    """`mlflow server` over an SQLite file, which can be killed and started again at the same address."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.address = f"http://me:{PASSWORD}@127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "a") as log:
            self.process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=environment(MLFLOW_DISABLE_TELEMETRY="true"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self.answers, every=0.2)
        return self

    def answers(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self):
        """SIGKILL to the server and its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
            self.process = None


class Refusing:
    """Answers every request with 500, as a server does that has run out of database connections."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b'{"error_code": "INTERNAL_ERROR", "message": "QueuePool limit of size 5 reached"}'
                self.send_response(500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *words):
                """Its requests are of no interest."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://me:{PASSWORD}@127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Silent:
    """Accepts connections and never answers."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"http://me:{PASSWORD}@127.0.0.1:{self.socket.getsockname()[1]}"

    def close(self):
        self.socket.close()


def holdings(address, experiment):
    """(key, seed) -> all that MLflow holds of a run; asserts that there is one of each."""
    client = MlflowClient(address)
    found = {}
    for run in client.search_runs([client.get_experiment_by_name(experiment).experiment_id]):
        identity = run.data.tags["wb.key"], int(run.data.tags["wb.seed"])
        assert identity not in found, "two MLflow runs of one cell and seed"
        curves = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        found[identity] = {
            "status": run.info.status,
            "params": run.data.params,
            "curves": {name: [(p.step, p.value) for p in points] for name, points in curves.items()},
            "artifacts": {f.path: f.file_size for f in client.list_artifacts(run.info.run_id)},
            "inputs": Counter(i.dataset.name for i in run.inputs.dataset_inputs),
        }
    return found


def six(value):
    """The number with six digits, as MLflow gets it."""
    return value if float(value).is_integer() else float(f"{value:.6g}")


def recorded(directories):
    """(key, seed) -> what MLflow should hold of a complete run, told by its directory alone."""
    found = {}
    for run in directories:
        identity, summary = run.identity(), run.summary()
        curves = {}
        for row in run.read_metrics().rows:
            for name in (n for n in row if "/" in n or n == "pflops"):
                curves.setdefault(name, {})[row["step"]] = six(row[name])
        first = headlines(json.loads((run.path.parent / "study.json").read_text()))
        for name, value in summary.items():
            if isinstance(value, int | float) and name in curves:
                curves[name].setdefault(run.status().step, six(value))
            elif isinstance(value, int | float):  # a bar, some of them twice
                curves |= {one: {0: six(value)} for one in (name, first.get(name, name))}
        sent = ("config.json", "environment.json", "mask_preview.png", "ranks.npz")
        files = [run.file(name) for name in sent]
        found[identity["key"], identity["seed"]] = {
            "status": "FINISHED",
            "curves": {name: sorted(points.items()) for name, points in curves.items()},
            "artifacts": {f.name: f.stat().st_size for f in files if f.exists()},
        }
    return found


def check(address, study):
    """MLflow holds every run of the study once: the points of its directory, each file whole."""
    held, wanted = holdings(address, study.name), recorded(study.directories())
    assert held.keys() == wanted.keys()
    for identity, run in wanted.items():
        assert run.items() <= held[identity].items()
        assert set(held[identity]["inputs"].values()) == {1}
        assert len(held[identity]["inputs"]) == 3
    return held


def of_all_machines(held):
    """The holdings without what differs between two runs of one configuration."""
    return {
        identity: run
        | {"curves": {n: p for n, p in run["curves"].items() if not n.startswith(OF_THE_MACHINE)}}
        for identity, run in held.items()
    }


def pasted(log):
    """The command that the study says will send later what is missing."""
    [line] = [line for line in log.splitlines() if "not in MLflow" in line]
    return re.search(r"with: python (.*)$", line)[1]
