"""An hour with an open dashboard, made short: memory while a study grows, and what an open page costs.

    python benchmarks/dashboard_hour.py                 # 200 page loads, then a minute a view
    python benchmarks/dashboard_hour.py --seconds 20    # a shorter look at the processor time

Pages of all views are opened one after another in the system's chromium, while a run ends at every fourth of
them: the server's memory must not grow by more than a tenth over the second half. Then one page stands open
over a study whose run reports every two seconds, and the processor time that the server takes meanwhile is
counted: it is taken from a training beside it, so it may be 5 % of one core. Exit code 1 where a limit is
missed. Needs chromium and the extra `dev`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from dashboard_speed import alive, verdict  # noqa: E402
from serving import browser, dashboard, visit  # noqa: E402
from synthetic import grid, key_of, label_of, write_run, write_study  # noqa: E402

from workbench.tracking.run_dir import RunDir  # noqa: E402

CELLS = grid(video_ratio=[0.0, 0.3, 0.5, 0.75, 0.9], text_ratio=[0.0, 0.25])
SEEDS = range(8)
BEFORE = 3
"""Seeds that are there when the first page is opened."""
LIVE = ("study", "runs", "curves", "effects")
"""Views that stand open while the processor time is counted: those that follow, and one that does not."""
GROWTH, COST = 0.10, 3.0
"""Limits: growth of memory over the second half, seconds of processor time a minute."""


def ended(folder: Path, number: int) -> None:
    """One more run of the study has ended."""
    axes, seed = CELLS[number % len(CELLS)], BEFORE + number // len(CELLS)
    cell = {"key": key_of(axes), "cell": label_of(axes), "axes": axes}
    write_run(folder, "grows", cell, seed, 20 + 40 * axes["video_ratio"], 1.0, steps=200)


def resident(pid: int) -> float:
    """Memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def spent(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/dashboard-hour"))
    parser.add_argument("--loads", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0, help="that each page stands open")
    options = parser.parse_args()
    store = options.store.resolve() / "results"
    shutil.rmtree(store, ignore_errors=True)
    new = {(cell, seed) for cell in range(len(CELLS)) for seed in SEEDS[BEFORE:]}
    write_study(store, "grows", CELLS, SEEDS, baseline=CELLS[0], steps=200, skip=new)
    views = sorted(path.stem for path in (ROOT / "app/views").glob("*.py") if path.stem != "__init__")
    sizes: list[float] = []
    kept: list[bool] = []
    with dashboard(store, options.store / "server.log") as (address, server), browser() as chromium:
        person = chromium.new_context()
        for load in range(options.loads):
            if load % 4 == 0 and load // 4 < len(new) - 1:  # the last one reports later
                ended(store, load // 4)
            page = person.new_page()
            visit(page, address, study="grows", view=views[load % len(views)])
            page.close()
            sizes.append(resident(server.pid))
            if load % 20 == 19:
                print(f"after {load + 1} pages: {sizes[-1]:.0f} MB", flush=True)
        part = max(1, len(sizes) // 10)
        half = median(sizes[len(sizes) // 2 :][:part])
        grown = median(sizes[-part:]) / half - 1
        kept.append(verdict("memory grows over the second half by", 100 * grown, 100 * GROWTH, "%"))
        axes, seed = CELLS[-1], SEEDS[-1]  # the run that goes on meanwhile
        cell = {"key": key_of(axes), "cell": label_of(axes), "axes": axes}
        write_run(store, "grows", cell, seed, 50, 1.0, steps=200, state="running")
        with alive(RunDir.of(store, "grows", key_of(axes), seed)):
            for view in LIVE:
                page = person.new_page()
                visit(page, address, study="grows", view=view)
                time.sleep(5.0)  # what opening it costs is over
                before, began = spent(server.pid), time.monotonic()
                time.sleep(options.seconds)
                minute = 60 * (spent(server.pid) - before) / (time.monotonic() - began)
                page.close()
                kept.append(verdict(f"processor time a minute with {view} open", minute, COST, "s"))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
