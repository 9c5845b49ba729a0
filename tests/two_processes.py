"""Trains tiny runs in two processes and writes what they give: `python two_processes.py STORE OUT JOBS`.

A job is a recipe, a type of numbers and a number of steps, as `mac float64 50`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from small import run_config

from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.train.loop import train
from workbench.train.session import _optimizer, open_session
from workbench.train.world import World, launch

KEPT = ("momentum.", "teacher.")
"""Beginnings of the names of what no gradient changes."""


def traces(store, jobs, world=None):
    """Job -> the numbers of every step, without the clock."""
    found = {}
    for job in jobs:
        recipe, kind, steps = job.split()
        config = run_config(recipe, steps=int(steps), evaluations=1)
        session = open_session(
            config, store, device=torch.device("cpu"), precision=torch.float32, world=world
        )
        session.recipe.to(getattr(torch, kind))
        if hasattr(session.recipe, "codebook"):
            session.recipe.codebook.float()  # it tells patches apart in float32, whatever else is computed
        session.optimizer = _optimizer(config, session.recipe)
        rows = [row for _, row in train(session) if "train/loss" in row]
        found[job] = [{k: v for k, v in r.items() if k.startswith("train/") or k == "pflops"} for r in rows]
        found[job][-1] |= kept(session.recipe)
    return found


def kept(recipe):
    """What averages and queues hold in the end, a number each, in which the order of the values counts."""
    own = {n: v.double().flatten() for n, v in recipe.state_dict().items() if n.startswith(KEPT)}
    return {name: float(value @ torch.linspace(1, 2, len(value)).double()) for name, value in own.items()}


def agreement(world):
    """What two processes say of which the second wants to stop, and has other data."""
    said = {"stop": world.any_process(world.rank == 1), "go on": world.any_process(False)}
    said["sum"] = world.all_gather([1.0 + world.rank]).sum()
    try:
        world.check_alike({"the data": "same", "the checkpoint": str(world.rank)})
    except UserError as error:
        said["refused"] = str(error)
    if world.first:
        said["asked"] = [world.any_process(False) for _ in range(2)]
        world.done()
    else:
        world.follow(lambda: False)
    return said


def main(path, out, jobs):
    torch.set_num_threads(1)
    world = World.join()
    found = {"agreement": agreement(world)} | traces(FrameStore.open(path), jobs, world)
    if world.first:
        out.write_text(json.dumps(found))
    world.leave()
    return 0


if __name__ == "__main__":
    store, out, *jobs = sys.argv[1:]
    sys.exit(launch(2, lambda: main(Path(store), Path(out), jobs)))
