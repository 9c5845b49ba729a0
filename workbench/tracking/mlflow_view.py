"""Presentation of a study in MLflow's own pages: its experiment, a shared view, its server.

MLflow keeps a shared view as a tag of the experiment, and a link that names it opens the runs with it. It
sorts metrics by their names everywhere else, so what a reader looks for first is there once more below
`answer/`, numbered and in words: `answer/1 text-to-video R-1 in percent`, since names may hold neither `@`
nor `%`. All metrics are there under their exact names as well.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from workbench.addresses import masked
from workbench.errors import UserError
from workbench.metrics import RUN
from workbench.tracking.mlflow_store import HIDDEN, explained
from workbench.tracking.points import Point, facts, study_of
from workbench.tracking.run_dir import RunDir, Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

VIEW = "workbench"
KIND, NOTE, SHARED = "mlflow.experimentKind", "mlflow.note.content", f"mlflow.sharedViewState.{VIEW}"
MODELS = "custom_model_development"
"""The kind of an experiment that opens on its runs and not on traces of a language model."""
COSTS = {
    metric.name: metric.title
    for name in ("cost/train_gflops_per_clip", "speed/clips_per_s")
    for metric in RUN
    if metric.name == name
}
"""Costs that follow the metric in columns and charts: name -> title."""
WIDE = 240
"""Width of a column in pixels, so that its title is readable."""
HOST, PORT = "127.0.0.1", 5000
PATIENCE = 60.0
"""Seconds that a server may take to answer before nothing is opened."""
ENDING = 10.0
"""Seconds that a server may take to end before it is killed."""


def describe(client: MlflowClient, experiment: str, study: Mapping[str, Any]) -> None:
    """Tags of an experiment; study: the content of its `study.json`. A kind that a user chose stays."""
    tags = client.get_experiment(experiment).tags
    wanted = {NOTE: str(study.get("question", "")), SHARED: state(study)}
    if KIND not in tags:
        wanted[KIND] = MODELS
    for name, value in wanted.items():
        if value and tags.get(name) != value:
            client.set_experiment_tag(experiment, name, value)


def state(study: Mapping[str, Any]) -> str:
    """The shared view of a study as MLflow stores one; empty where its `study.json` names no metric.

    Columns and bars of the metric on test, GFLOPs of a clip and clips a second; the best run first.
    """
    if not study.get("metric"):
        return ""
    first = headlines(study)
    axes = [f"wb.axis.{axis}" for axis in study.get("axes", ())]
    columns = [_column("metrics", name) for name in first.values()]
    columns += [_column("tags", name) for name in axes]
    section = f"{VIEW}-answer"
    charts = [
        {
            "uuid": f"{VIEW}-{own}", "type": "BAR", "metricKey": name,
            "metricSectionId": section, "runsCountToCompare": 20, "deleted": False, "isGenerated": False,
        }
        for own, name in first.items()
    ]  # fmt: skip
    shown = {
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, WIDE),
        "orderByKey": columns[0],
        "orderByAsc": study.get("direction") == "minimize",
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": section, "name": "answer", "display": True, "isReordered": False, "deleted": False}
        ],
        "isAccordionReordered": True,  # else MLflow sorts the sections by their names
    }
    return json.dumps(shown)


def headlines(study: Mapping[str, Any]) -> dict[str, str]:
    """Exact name -> name below `answer/` of what is looked for first; empty where no metric is known."""
    if not study.get("metric"):
        return {}
    titles = {f"test/{study['metric']}": str(study.get("title") or study["metric"]), **COSTS}
    return {name: f"answer/{i} {_words(title)}" for i, (name, title) in enumerate(titles.items(), 1)}


def with_headlines(found: Sequence[Point], study: Mapping[str, Any]) -> list[Point]:
    """Points of a run and once more those that are looked for first."""
    names = headlines(study)
    first = [(names[n], value, when, step) for n, value, when, step in found if n in names and step == 0]
    return [*found, *first]


def _words(title: str) -> str:
    """A title in the letters that MLflow takes for names."""
    said = title.replace("(%)", "in percent").replace("@", "-")
    return " ".join(re.sub(r"[^\w.\- ]", " ", said).split())


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def link(experiment: str, *, server: str = f"http://{HOST}:{PORT}") -> str:
    """The address that opens the runs of an experiment with the view of its study."""
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&workflowType=machine_learning"


def links(client: MlflowClient) -> dict[str, str]:
    """Study -> its address, the one that changed last first."""
    found = client.search_experiments(order_by=["last_update_time DESC"], max_results=100)
    return {one.name: link(one.experiment_id) for one in found if SHARED in one.tags}


def serve(client: MlflowClient, address: str) -> int:
    """Runs MLflow's server over a store until SIGINT or SIGTERM, and then ends all of it; says where the
    studies are, and opens the last one where there is a screen. Returns the server's exit code."""
    with explained():
        found = links(client)
    if not found:
        raise UserError(f"no study is in MLflow at {address} yet; `make study` makes one")
    for study, where in found.items():
        print(f"{study}: {where}")
    sys.stdout.flush()
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(PORT)]
    if sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        threading.Thread(target=_open, args=[next(iter(found.values()))], daemon=True).start()
    # MLflow starts workers and passes no signal on to them: as a group of their own all of them can be ended.
    server = subprocess.Popen([*command, "--backend-store-uri", address], start_new_session=True)
    # Both, since a shell that starts a process in the background has it ignore SIGINT.
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends a process and all of its group: asks them, and after `ENDING` seconds does not ask."""
    deadline = time.monotonic() + ENDING
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            while time.monotonic() < deadline:
                server.poll()  # one that has ended is there until somebody has asked
                os.killpg(server.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def _open(where: str) -> None:
    """Opens an address as soon as its server answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://{HOST}:{PORT}/health", timeout=2).close()
        except (URLError, OSError):
            time.sleep(0.5)
        else:
            webbrowser.open(where)
            return


def run_tags(directory: RunDir, status: Status) -> dict[str, str]:
    """Tags of a run: what it is, where it was made, and the description and source that MLflow shows."""
    identity, environment = directory.identity(), directory.read_json("environment.json")
    study = study_of(directory)
    arguments: Sequence[str] = study.get("arguments") or [str(identity.get("study"))]
    words = f"{identity['cell']}; seed {identity['seed']}."
    own = {
        f"{HIDDEN}token": identity.get("token"),
        f"{HIDDEN}started": status.started,
        NOTE: f"{words} {study.get('question', '')}".strip(),
        "mlflow.source.name": " ".join(["workbench.study", *map(str, arguments)]),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": environment.get("commit"),
    }
    every = {f"wb.{name}": value for name, value in facts(directory, status).items()} | own
    return {name: masked(str(value)) for name, value in every.items() if value not in (None, "")}
