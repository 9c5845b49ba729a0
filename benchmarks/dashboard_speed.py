"""How fast the dashboard is over 10,000 runs of 200 curve points: first paint of each view, a filter, memory.

    python benchmarks/dashboard_speed.py                 # ten studies of 1,000 runs (100 cells x 10 seeds)
    python benchmarks/dashboard_speed.py --studies 1     # one study of 10,000 runs (1,000 cells x 10 seeds)

The store is made once in `--store`, of run directories as studies leave them. Each view is opened in the
system's chromium twice in fresh sessions: cold, when the server first reads the study, and warm. Painted is a
view whose script has ended and whose elements are drawn. Needs chromium and the extra `dev`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from serving import browser, dashboard, settled, visit  # noqa: E402
from synthetic import grid, write_study  # noqa: E402

AXES = {
    "video_ratio": [0.0, 0.3, 0.5, 0.75, 0.9],
    "text_ratio": [0.0, 0.15, 0.25, 0.5],
    "strategy": ["random", "per-frame", "tube", "frame", "block"],
    "lr": [i * 1e-4 for i in range(1, 11)],
}
SEEDS = tuple(range(10))


def make_store(folder: Path, studies: int, runs: int, points: int) -> None:
    """Writes what is missing of the store."""
    cells = grid(**AXES)[: runs // studies // len(SEEDS)]
    for number in tqdm(range(studies), desc="making the store", unit="study"):
        if not (folder / f"runs/wide{number}/study.json").exists():
            write_study(
                folder, f"wide{number}", cells, SEEDS, baseline=cells[0], steps=points,
                quality=lambda axes: 20 + 40 * axes["video_ratio"] - 20 * axes["text_ratio"],
                cost=lambda axes: 1.0 - 0.8 * axes["video_ratio"],
            )  # fmt: skip


def memory(pid: int) -> dict[str, float]:
    """Resident memory of a process in GB: now and at its highest."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) / 1e6 for name in ("VmRSS", "VmHWM")}


def painted(person: Any, address: str, view: str) -> float:
    """Seconds until a view is painted in a fresh session."""
    page = person.new_page()
    began = time.perf_counter()
    visit(page, address, study="wide0", view=view)
    took = time.perf_counter() - began
    assert not page.query_selector('[data-testid="stException"]'), view
    page.close()
    return took


def filtered(person: Any, address: str) -> float:
    """Seconds from asking for the runs of one seed until the table shows them."""
    page = person.new_page()
    visit(page, address, study="wide0", view="runs")
    box = page.get_by_role("textbox", name="Filter")
    box.fill("-s3")
    began = time.perf_counter()
    box.press("Enter")
    page.wait_for_timeout(50)
    settled(page)
    took = time.perf_counter() - began
    page.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/dashboard-speed"))
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=200)
    options = parser.parse_args()
    store = options.store / f"{options.studies}x{options.runs}x{options.points}"
    make_store(store, options.studies, options.runs, options.points)
    views = sorted(path.stem for path in (ROOT / "app/views").glob("*.py") if path.stem != "__init__")
    with dashboard(store, options.store / "server.log") as (address, server), browser() as chromium:
        person = chromium.new_context()  # keeps the page's scripts, as a person's browser does
        print(f"{'view':12} {'cold s':>7} {'warm s':>7}")
        for view in views:
            cold, warm = painted(person, address, view), painted(person, address, view)
            print(f"{view:12} {cold:7.2f} {warm:7.2f}", flush=True)
        if "runs" in views:
            print(f"a filter {filtered(person, address):.2f} s")
        used = memory(server.pid)
        print(f"memory of the server {used['VmRSS']:.2f} GB, at its highest {used['VmHWM']:.2f} GB")


if __name__ == "__main__":
    main()
