"""Is any recipe's step slower than its FLOPs say? Every recipe beside `mac`, measured in one process.

    python benchmarks/recipes_speed.py [--data-root results/data] [--device auto] [--recipes mac vlc ...]

Trains every recipe with its published defaults, the recipes taking turns so that a slow moment of the machine
hits all of them, and prints for each the median step time, the FLOPs of a step, and the time that a FLOP
takes relative to `mac`: 1.00 is as fast as `mac`, 1.15 is 15 % slower than its FLOPs say. Small products are
slower than large ones, so a recipe with many short sequences can be above 1 without any waste.
"""

from __future__ import annotations

import statistics

from interleaved_timing import parser, step_times

from workbench import recipes
from workbench.train.session import Session

BASE = "mac"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--recipes", nargs="+", choices=recipes.names(), default=recipes.names())
    chosen = options.parse_args()
    configs = {name: recipes.load(name).Config() for name in dict.fromkeys((BASE, *chosen.recipes))}
    _report(*step_times(configs, chosen))


def _report(sessions: dict[str, Session], times: dict[str, list[float]]) -> None:
    def pace(name: str) -> float:
        return statistics.median(times[name]) / sessions[name].progress.stage_flops

    print(f"{'recipe':>10} {'ms/step':>9} {'GFLOPs/step':>12} {'time a FLOP, mac = 1':>21}")
    for name, session in sessions.items():
        time, flops = statistics.median(times[name]), session.progress.stage_flops
        print(f"{name:>10} {1000 * time:9.1f} {flops / 1e9:12.1f} {pace(name) / pace(BASE):21.2f}")


if __name__ == "__main__":
    main()
