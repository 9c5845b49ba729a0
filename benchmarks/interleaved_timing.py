"""Step times of several configurations in one process, taking turns: a slow moment hits all of them."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data import prepare
from workbench.data.store import FrameStore
from workbench.train import environment
from workbench.train.loop import ROWS, train
from workbench.train.session import Session, open_session

K = TypeVar("K", bound=Hashable)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every such benchmark has."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--data-root", type=Path, default=Path("results/data"))
    found.add_argument("--device", default="auto")
    found.add_argument("--batch", type=int, default=128)
    found.add_argument("--rounds", type=int, default=6)
    found.add_argument("--steps", type=int, default=4, help="steps of each in a round")
    return found


def _total_steps(options: argparse.Namespace) -> int:
    """Steps with which no run ends within the benchmark; exits where a run would not report each of them."""
    if (options.rounds + 1) * options.steps + 2 > ROWS:
        raise SystemExit(
            f"(rounds + 1) * steps is at most {ROWS - 2}: a longer run does not report each step"
        )
    return (options.rounds + 1) * options.steps + 2


def step_times(
    recipes: Mapping[K, Any], options: argparse.Namespace
) -> tuple[dict[K, Session], dict[K, list[float]]]:
    """Sessions after the last round, with their FLOPs, and the seconds of each step but those of the first
    round, which warms up and counts FLOPs.

    recipes: configurations, each trained under its own losses.
    """
    stage = Stage(budget=Budget(unit="steps", amount=_total_steps(options)))
    optim = OptimConfig(batch_size=options.batch)
    configs = {
        name: RunConfig(recipe=recipe, stages=(stage,), optim=optim, evaluations=1)
        for name, recipe in recipes.items()
    }
    store = FrameStore.open(prepare(DataConfig(), root=options.data_root))
    device = environment.pick_device(options.device)
    sessions = {name: open_session(config, store, device=device) for name, config in configs.items()}
    runs = {name: train(session) for name, session in sessions.items()}
    times: dict[K, list[float]] = {name: [] for name in sessions}
    for round_ in range(options.rounds + 1):
        for name, session in sessions.items():
            for _ in range(options.steps):
                before = session.progress.seconds
                next(runs[name])
                if round_:
                    times[name].append(session.progress.seconds - before)
    return sessions, times
