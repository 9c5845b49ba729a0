"""How much longer does a study take beside a process that is always busy? Smoke tests alone and beside one.

    python benchmarks/busy_neighbour.py [--study mask_ratio] [--rounds 2]

Runs the smoke test of a study as `make study` does, in fresh folders, over data that are prepared once
beforehand, alone and beside one busy process, in turns, and prints the ratio of the medians. Two workers and
a neighbour that share two cores fairly take 1.5 times as long; 2.5 is the bar.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default="mask_ratio")
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    times: dict[str, list[float]] = {"alone": [], "beside a busy process": []}
    with tempfile.TemporaryDirectory() as folder:
        _smoke(chosen.study, Path(folder), "warm")  # makes the data, which the others share
        for round_ in range(chosen.rounds):
            times["alone"].append(_smoke(chosen.study, Path(folder), f"alone{round_}"))
            with _busy():
                times["beside a busy process"].append(_smoke(chosen.study, Path(folder), f"beside{round_}"))
    for name, found in times.items():
        print(f"{name:>22}: {', '.join(f'{seconds:.1f}' for seconds in found)} s")
    alone, beside = (statistics.median(found) for found in times.values())
    print(f"{'ratio':>22}: {beside / alone:.2f}")


def _smoke(study: str, folder: Path, name: str) -> float:
    """Seconds of a smoke test with a results folder of its own."""
    command = [sys.executable, "-m", "workbench.study", study, "--smoke", "--workers", "auto"]
    command += ["--results", str(folder / name), "--data-root", str(folder / "data")]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


@contextmanager
def _busy() -> Iterator[None]:
    """A process that wants a whole core, for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
