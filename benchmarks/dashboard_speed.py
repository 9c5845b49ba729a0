"""How fast the dashboard is over 10,000 runs of 200 curve points: first paint of each view, a filter, memory.

    python benchmarks/dashboard_speed.py                  # one study of 10,000 runs (1,000 cells x 10 seeds)
    python benchmarks/dashboard_speed.py --studies 10     # ten studies of 1,000 runs
    python benchmarks/dashboard_speed.py --views compare cost   # these alone

The store is made once in `--store`, of run directories as studies leave them, with their data and embeddings,
and with the cache of runs that have ended (`workbench.tracking.cache`). While it is measured one run is alive
and reports every two seconds; its studies have been looked at since it began. Each view is opened in
the system's chromium in fresh sessions: cold, as the first page of a server that has just been started, and
three times warm, of which the median counts. First paint is when the first picture, table or video of the
view is drawn; complete is a view whose script has ended and whose elements are all drawn. Processor time is
that of the server from its start until the first paint, which says more than seconds where other work runs
beside it. A page of Streamlit that shows three points and nothing else is timed too: no view that begins
with a picture can be quicker on this machine. Exit code 1 where a limit is missed. Needs chromium and
the extra `dev`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from serving import browser, dashboard, settled, visit  # noqa: E402
from synthetic import grid, key_of, write_study  # noqa: E402

from workbench.answer.results import answer  # noqa: E402
from workbench.answer.study_record import load  # noqa: E402
from workbench.tasks import queries_of  # noqa: E402
from workbench.tracking.cache.prepare import Keeper  # noqa: E402
from workbench.tracking.run_dir import RunDir  # noqa: E402

AXES = {
    "video_ratio": [0.0, 0.3, 0.5, 0.75, 0.9],
    "text_ratio": [0.0, 0.15, 0.25, 0.5],
    "strategy": ["random", "per-frame", "tube", "frame", "block"],
    "lr": [i * 1e-4 for i in range(1, 11)],
}
SEEDS = tuple(range(10))
WIDTH = 256
"""Width of an embedding."""
LEAST = ROOT / "benchmarks/least_page.py"
"""A page with one chart of three points."""
COLD, WARM, FILTER, MEMORY = 5.0, 2.0, 0.5, 1.5
"""Limits: seconds until a view is first painted, by a server that has read nothing yet and by one that has;
seconds until a filter shows its rows; GB of the server."""


FIRST = ", ".join(
    (
        '[data-testid="stPlotlyChart"] .main-svg',
        '[data-testid="stDataFrame"] canvas',
        '[data-testid="stImage"] img',
        "video",
    )
)
"""What counts as the first picture or table of a view."""
DRAWN = "found => [...document.querySelectorAll(found)].some(one => one.getBoundingClientRect().width > 20)"


def make_store(folder: Path, studies: int, runs: int, points: int, clips: int) -> None:
    """Writes what is missing of the store."""
    cells = grid(**AXES)[: runs // studies // len(SEEDS)]
    made = [folder / f"runs/wide{number}" for number in range(studies)]
    if not all((study / "made").exists() for study in made):
        common, asked_of = _common(folder, clips)
    for study in tqdm(made, desc="making the store", unit="study"):
        if not (study / "made").exists():
            write_study(
                folder, study.name, cells, SEEDS, baseline=cells[0], steps=points, asked_of=asked_of,
                quality=lambda axes: 20 + 40 * axes["video_ratio"] - 20 * axes["text_ratio"],
                cost=lambda axes: 1.0 - 0.8 * axes["video_ratio"],
            )  # fmt: skip
            for run in study.glob("*-s*"):
                for file in common.iterdir():
                    (run / file.name).unlink(missing_ok=True)
                    os.link(file, run / file.name)
            (study / "made").touch()
        if not (study / "kept").exists():
            keep_runs(study)
            (study / "kept").touch()


def keep_runs(study: Path) -> None:
    """What a study keeps as its runs end."""
    began = time.process_time()
    keeper = Keeper(queries_of("t2v_r1"))
    for run in tqdm(sorted(study.glob("*-s*")), desc="keeping what its runs say", unit="run"):
        keeper.ended(SimpleNamespace(directory=RunDir(run)), None, True)
    each = 1000 * (time.process_time() - began) / len(list(study.glob("*-s*")))
    print(f"processor time: {each:.1f} ms for each run that ends")


def keep_answer(folder: Path, study: str) -> None:
    """What whoever has looked at a study, or made its report, leaves of the answer; another version of the
    code leaves another thing, so this is done each time."""
    from workbench.report.pictures import cost, usual_costs

    began = time.process_time()
    found = answer(load(folder, study), folder)
    cost(found, usual_costs(found))
    print(f"processor time: {time.process_time() - began:.1f} s for the answer of {study}")


def _common(folder: Path, clips: int) -> tuple[Path, tuple[list[str], list[str]]]:
    """Files that all runs share, with the data behind them; and the queries of the test split."""
    from small import recipe_module

    from workbench import data as datasets
    from workbench.config import Budget, DataConfig, RunConfig, Stage
    from workbench.data.store import FrameStore
    from workbench.models.text import TextConfig, vocabulary

    data = datasets.describe(DataConfig(clips=clips)).data
    store = FrameStore.open(datasets.prepare(data, root=folder / "data"))
    words = vocabulary(store.splits["train"].captions, TextConfig())
    run = RunDir(folder / "common")
    run.create()
    stage = Stage(budget=Budget(unit="steps", amount=900))
    run.write_config(RunConfig(recipe=recipe_module("mac").Config(), data=data, stages=(stage,)))
    run.write_json("environment.json", {"tokens_per_caption": words.length, "device": "cpu"})
    words.tokenizer.save(str(run.file("tokenizer.json")))
    test = store.splits["test"]
    owners = [query.rpartition("#")[0] for query in test.ids]
    names = list(dict.fromkeys(owners))
    rng = np.random.default_rng(0)
    vectors = {"video": rng.standard_normal((len(names), WIDTH))}
    vectors["text"] = vectors["video"][[names.index(owner) for owner in owners]] + rng.standard_normal(
        (len(owners), WIDTH)
    )
    units = {k: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16) for k, v in vectors.items()}
    np.savez(
        run.file("embeddings.npz"), **units, video_id=np.array(names), text_id=np.array(test.ids),
        text_group=np.array(owners), caption=np.array(test.captions),
    )  # fmt: skip
    return run.path, (list(test.ids), owners)


@contextmanager
def alive(run: RunDir) -> Iterator[None]:
    """A run that reports every two seconds meanwhile."""
    path = run.file("status.json")
    before, stop = path.read_bytes(), threading.Event()

    def report() -> None:
        for step in itertools.count(1):
            status = {"state": "running", "step": step, "steps": 9000, "seconds": 2.0 * step}
            new = path.with_name("status.new")
            new.write_text(json.dumps(status | {"updated": time.time()}))
            new.replace(path)
            if stop.wait(2.0):
                return

    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        yield
    finally:
        stop.set()
        reporter.join()
        path.write_bytes(before)


def memory(pid: int) -> dict[str, float]:
    """Resident memory of a process in GB: now and at its highest."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) / 1e6 for name in ("VmRSS", "VmHWM")}


def processor(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def painted(person: Any, address: str, view: str, server: int) -> tuple[float, float, float]:
    """Seconds in a fresh session until the first picture or table of a view is drawn, and until all are; and
    the processor time that the server had taken at the first."""
    page = person.new_page()
    began = time.perf_counter()
    page.goto(f"{address}/?{urlencode({'study': 'wide0', 'view': view})}")
    page.wait_for_function(DRAWN, arg=FIRST, timeout=60_000)
    first, spent = time.perf_counter() - began, processor(server)
    settled(page)
    took = time.perf_counter() - began
    assert not page.query_selector('[data-testid="stException"]'), view
    if view == "masks":
        assert page.query_selector("img[alt^='Frame 1'][alt*='as the encoder sees it']"), "no mask"
    if view == "retrieval":
        assert page.locator("video").count() >= 10, "no gallery is shown"
    page.close()
    return first, took, spent


def filtered(person: Any, address: str, runs: int) -> float:
    """Seconds from asking for the runs of one seed until the table shows them."""
    page = person.new_page()
    visit(page, address, study="wide0", view="runs")
    box = page.get_by_role("textbox", name="Filter")
    box.fill("-s3")
    began = time.perf_counter()
    box.press("Enter")
    page.get_by_text(f"{runs // len(SEEDS)} of {runs} runs.").wait_for(timeout=60_000)
    settled(page)
    took = time.perf_counter() - began
    page.close()
    return took


def verdict(what: str, value: float, limit: float, unit: str) -> bool:
    """Prints a line and says whether the limit is kept."""
    kept = value <= limit
    print(f"{what:66} {value:7.2f} {unit:2} (limit {limit:g}): {'pass' if kept else 'FAIL'}", flush=True)
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/dashboard-speed"))
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--clips", type=int, default=0, help="training clips of the data; 0: its full size")
    there = sorted(path.stem for path in (ROOT / "app/views").glob("*.py") if path.stem != "__init__")
    parser.add_argument("--views", nargs="+", choices=there, default=there, help="all of them by default")
    options = parser.parse_args()
    size = "x".join(str(n) for n in (options.studies, options.runs, options.points, options.clips))
    store = options.store.resolve() / size
    make_store(store, options.studies, options.runs, options.points, options.clips)
    opened = options.runs // options.studies
    kept = []
    log = options.store.resolve() / "server.log"
    last = RunDir.of(store, "wide0", key_of(grid(**AXES)[opened // len(SEEDS) - 1]), SEEDS[-1])
    with alive(last), browser() as chromium:
        for number in range(options.studies):
            keep_answer(store, f"wide{number}")
        person = chromium.new_context()  # keeps the page's scripts, as a person's browser does
        for view in options.views:
            with dashboard(store, log) as (address, server):
                first, complete, spent = painted(person, address, view, server.pid)
            what = f"{view}, cold (complete {complete:.1f} s, processor {spent:.1f} s)"
            kept.append(verdict(what, first, COLD, "s"))
        with dashboard(store, log) as (address, server):
            for view in options.views:
                painted(person, address, view, server.pid)
                times = [painted(person, address, view, server.pid) for _ in range(3)]
                first, complete, _ = map(median, zip(*times, strict=True))
                kept.append(verdict(f"{view}, warm (complete {complete:.1f} s)", first, WARM, "s"))
            kept.append(verdict("a filter over runs", filtered(person, address, opened), FILTER, "s"))
            highest = memory(server.pid)["VmHWM"]
            kept.append(verdict("memory of the server at its highest", highest, MEMORY, "GB"))
        with dashboard(store, log, LEAST) as (address, server):
            times = [painted(person, address, "", server.pid)[0] for _ in range(6)]
            print(f"{'three points and nothing else, warm':66} {median(times[1:]):7.2f} s", flush=True)
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
