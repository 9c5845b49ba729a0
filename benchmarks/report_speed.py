"""How long the report takes over 1,000 runs, and its statistics by themselves; to stay under ten seconds.

    python benchmarks/report_speed.py

Run directories are written as studies leave them, 100 cells x 10 seeds and 1,000 cells x 1 seed; 500 queries.
Every figure is the best of three, since other processes share the machine.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from synthetic import grid, write_study  # noqa: E402

from workbench import stats  # noqa: E402
from workbench.report.__main__ import main as report  # noqa: E402
from workbench.tracking.runs import load_runs  # noqa: E402


def best(what: str, act: Callable[[], object], times: int = 3) -> None:
    """Prints the shortest of so many tries."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            act()
        took.append(time.perf_counter() - began)
    print(f"{what:58} {min(took):6.2f} s", flush=True)


def main() -> None:
    rng = np.random.default_rng(0)
    cells = {f"c{i}": {seed: 100.0 * (rng.random(1000) < 0.4) for seed in range(10)} for i in range(100)}
    best(
        "a comparison of two cells, 10 seeds x 1,000 queries", lambda: stats.compare(cells["c0"], cells["c1"])
    )
    best("a family of 100 cells", lambda: stats.compare_family(cells, "c0"))
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        many = grid(strategy=["a", "b", "c", "d"], ratio=[i / 25 for i in range(25)])
        write_study(results, "seeds", many, range(10), steps=40, baseline=many[0])
        most = grid(strategy=["a", "b", "c", "d"], ratio=[i / 250 for i in range(250)])
        write_study(results, "cells", most, (0,), baseline=most[0])
        best("the run table of 2,000 runs, cached", lambda: load_runs(results))
        best("report of 100 cells x 10 seeds", lambda: report(["seeds", "--results", folder]))
        best("report of 1,000 cells x 1 seed", lambda: report(["cells", "--results", folder]))


if __name__ == "__main__":
    main()
