"""How much of the FLOPs that masking saves is saved in time? Ratios, measured in one process.

    python benchmarks/masking_speed.py [--data-root results/data] [--device auto]

Trains the default MAC configuration at each video ratio, the ratios taking turns so that a slow moment of
the machine hits all of them, and prints the median step time of each beside its FLOPs.
"""

from __future__ import annotations

import statistics

from interleaved_timing import parser, step_times

from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.train.session import Session

RATIOS = (0.0, 0.5, 0.75, 0.9)


def main() -> None:
    options = parser(__doc__).parse_args()
    recipes = {
        ratio: mac.Config(video_masking=PerFrameMasking(ratio=ratio), text_masking=None) for ratio in RATIOS
    }
    _report(*step_times(recipes, options))


def _report(sessions: dict[float, Session], times: dict[float, list[float]]) -> None:
    base_time = statistics.median(times[0.0])
    base_flops = sessions[0.0].progress.stage_flops
    print(f"{'ratio':>6} {'ms/step':>9} {'faster':>7} {'FLOPs':>7} {'time saved / FLOPs saved':>25}")
    for ratio, session in sessions.items():
        time, flops = statistics.median(times[ratio]), session.progress.stage_flops
        share = (1 - time / base_time) / (1 - flops / base_flops) if ratio else float("nan")
        faster, less = base_time / time, flops / base_flops
        print(f"{ratio:6.2f} {1000 * time:9.1f} {faster:6.2f}x {less:7.3f} {share:25.2f}")


if __name__ == "__main__":
    main()
