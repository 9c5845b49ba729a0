"""How much of the FLOPs that masking saves is saved in time? Ratios, measured in one process.

    python benchmarks/masking_speed.py [--data-root results/data] [--device auto]

Trains the default MAC configuration at each video ratio, the ratios taking turns so that a slow moment of
the machine hits all of them, and prints the median step time of each beside its FLOPs.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data import prepare
from workbench.data.store import FrameStore
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.train import environment
from workbench.train.loop import ROWS, train
from workbench.train.session import Session, open_session

RATIOS = (0.0, 0.5, 0.75, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("results/data"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4, help="steps of each ratio in a round")
    options = parser.parse_args()
    if (options.rounds + 1) * options.steps + 2 > ROWS:
        parser.error(f"(rounds + 1) * steps is at most {ROWS - 2}: a longer run does not report each step")

    store = FrameStore.open(prepare(DataConfig(), root=options.data_root))
    device = environment.pick_device(options.device)
    sessions = {ratio: open_session(_config(ratio, options), store, device=device) for ratio in RATIOS}
    runs = {ratio: train(session) for ratio, session in sessions.items()}
    times: dict[float, list[float]] = {ratio: [] for ratio in RATIOS}
    for round_ in range(options.rounds + 1):
        for ratio, session in sessions.items():
            for _ in range(options.steps):
                before = session.progress.seconds
                next(runs[ratio])
                if round_:  # the first round warms up and counts FLOPs
                    times[ratio].append(session.progress.seconds - before)
    _report(sessions, times)


def _config(ratio: float, options: argparse.Namespace) -> RunConfig:
    steps = (options.rounds + 1) * options.steps + 2
    return RunConfig(
        recipe=mac.Config(video_masking=PerFrameMasking(ratio=ratio), text_masking=None),
        stages=(Stage(budget=Budget(unit="steps", amount=steps)),),
        optim=OptimConfig(batch_size=options.batch),
        evaluations=1,
    )


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
