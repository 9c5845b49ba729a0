"""The one training loop.

`train` is a generator of (step, metrics): its caller decides where numbers go. It does not depend on studies
or trackers, and imports none of their libraries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from workbench.config import Stage
from workbench.data.loader import Batches
from workbench.metrics import full_name
from workbench.recipe.batch import Batch
from workbench.train import checkpoint, cost
from workbench.train.checkpoint import Progress
from workbench.train.cores import CoreTime, core_time
from workbench.train.cost import synchronise
from workbench.train.session import Interrupted, Session
from workbench.train.step.deferred import NORM
from workbench.train.step.deferred import NotFinite as NotFinite
from workbench.train.step.memory import Kept

FLOPS = "flops"
"""Key of the FLOPs of a whole step, among the costs of a clip."""
ROWS = 200
"""Approximate number of training rows that are recorded for each stage."""


def train(
    session: Session,
    *,
    checkpoints: Path | None = None,
    save_every: float = 120.0,
    stop: Callable[[], bool] = lambda: False,
    flush: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Trains through all stages, evaluating on val; yields (step, metrics) and saves along the way.

    Args:
        checkpoints: folder to save to and to resume from.
        save_every: seconds between checkpoints.
        stop: polled at every step, evaluated batch and while data are waited for; when true, the run
            saves and raises `Interrupted`.
        flush: called before each checkpoint, to make durable what was yielded until then: a checkpoint
            that survives a loss of power while the rows before it do not would leave a wrong record.
    """
    config, at = session.config, session.progress
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        session.findings.read()  # else weights that are not finite might be kept
        if checkpoints is not None and session.world.first:
            flush()
            checkpoint.save(checkpoints, session.recipe, session.optimizer, at, config, session.origin)
        saved = time.monotonic()

    session.recipe.train()
    batches: Generator[Batch] | None = None
    memory = Kept(session.device)
    try:
        if not at.prepared:
            _prepare(session)
        for stage in config.stages[at.stage :]:
            session.enter(stage)
            loader, start = session.loader(stage), at.step
            if len(session.loaders) > 1:
                # Each data set goes through its own epochs, whatever was trained on between.
                loader, start = loader.resumed(at.stage_step, at.steps_on)
            pinned = session.device.type == "cuda"
            batches = loader.batches(start, lambda: session.wait(stop), pinned=pinned)
            row: dict[str, float] = {}
            while True:
                done = _share(stage, at, loader)
                due = math.floor(done * config.evaluations + 1e-9)
                if due > at.evaluated:  # also where a resumed run was stopped in the middle of it
                    last = due == config.evaluations and stage is config.stages[-1]
                    _settle(session)
                    try:
                        row |= session.evaluate("val", stop, last=last) | clock(at)
                    except Interrupted:
                        if row:
                            yield at.step, row
                        raise
                    at.evaluated = due
                    saved = min(saved, time.monotonic() - save_every / 2)
                if row:
                    yield at.step, row
                session.give_way(stop)
                if time.monotonic() - saved > save_every:
                    save()
                if done >= 1:
                    break
                row = _step(session, stage, loader, batches, done)
            batches.close()
            if at.stage + 1 < len(config.stages):
                test = session.evaluate("test", stop, trained=True)
                if test:
                    yield at.step, {_after_stage(name, at.stage): value for name, value in test.items()}
            at.next_stage()
    except Interrupted:  # always between two steps, so that what is saved is what a resume goes on from
        save()
        raise
    finally:
        memory.release()
        if batches is not None:
            batches.close()


def _after_stage(name: str, stage: int) -> str:
    """`test/stage0_t2v_r1` for `test/t2v_r1`, `test/didemo:stage0_t2v_r1` for that on other data."""
    split, _, rest = name.partition("/")
    data, _, metric = rest.rpartition(":")
    return full_name(split, data, f"stage{stage}_{metric}")


def _prepare(session: Session) -> None:
    """What the recipe fits before the first step, and what that costs."""
    at = session.progress
    # Of three numbers: with one alone this were the stream of step 0, since zeros behind it change nothing.
    seed = np.random.SeedSequence([session.config.seed, 0, 1]).generate_state(1, np.uint64)
    store = session.stores[session.config.training_data[0]]
    start = time.perf_counter()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        outside = session.recipe.prepare(store, torch.Generator().manual_seed(int(seed[0])))
    session.world.broadcast_(list(session.recipe.state_dict().values()))
    at.prepare_flops = outside + counter.get_total_flops()
    at.flops += at.prepare_flops
    at.prepare_seconds = time.perf_counter() - start
    at.seconds += at.prepare_seconds if at.prepare_flops else 0.0
    at.prepared = True


def planned_steps(stage: Stage, at: Progress, per_epoch: int) -> float:
    """Steps of the stage that `at` is in; infinite where the clock decides, or before one is measured.

    What the recipe was prepared with is paid from the budget of the first stage.
    """
    unit, amount = stage.budget.unit, stage.budget.amount
    if unit == "seconds":
        return math.inf
    if unit == "pflops":
        paid = at.prepare_flops if at.stage == 0 else 0.0
        return max(1, math.floor((amount * 1e15 - paid) / at.stage_flops)) if at.stage_flops else math.inf
    return max(1, math.ceil(amount * (per_epoch if unit == "epochs" else 1)))


def expected_steps(session: Session) -> int:
    """Steps of the whole run as far as known; a stage not yet measured is taken to cost as this one."""
    at, stages = session.progress, session.config.stages
    pace = at.step / at.seconds if at.seconds else 0.0
    total = float(at.step - at.stage_step)  # of the stages that are over
    for stage in stages[at.stage :]:
        seconds = stage.budget.amount if stage.budget.unit == "seconds" else 0.0
        steps = planned_steps(stage, at, session.loader(stage).per_epoch)
        total += seconds * pace if seconds else steps
    return int(total) if math.isfinite(total) else 0


def _share(stage: Stage, at: Progress, loader: Batches) -> float:
    """Share of the stage that is done, 1 at its end."""
    if stage.budget.unit == "seconds":
        return at.stage_seconds / stage.budget.amount
    return at.stage_step / planned_steps(stage, at, loader.per_epoch)


def _step(
    session: Session, stage: Stage, loader: Batches, batches: Generator[Batch], done: float
) -> dict[str, float]:
    """One optimiser step; returns what is to be recorded, nothing on most steps of a long stage.

    Args:
        loader: of the stage, which made the batches.
        done: share of the stage that is over before the step.
    """
    at, optim, recipe, world = session.progress, session.config.optim, session.recipe, session.world
    cores, start = core_time(), time.perf_counter()
    batch = next(batches)
    waited = time.perf_counter() - start
    batch = session.transfer(batch)
    rng = world.rng(session.device, session.config.seed, at.step)
    source = str(loader.read_by(at.stage_step).source)
    # Where data are mixed, a step costs what its kind costs: images less than clips.
    new = source not in at.mixed_costs if stage.mix else not at.stage_flops
    counter = cost.StepCounter(recipe, len(batch.video)) if new else None

    session.optimizer.zero_grad(set_to_none=True)
    with counter or nullcontext():
        with session.autocast:
            draw = recipe.draw(batch, rng, objective=stage.objective, masked=stage.masked)
        terms = session.gradients(stage)(batch, draw)
    found = world.mean({name: term.detach() for name, term in terms.items()})
    world.all_reduce_mean_([p.grad for p in recipe.parameters() if p.grad is not None])
    found[NORM] = torch.nn.utils.clip_grad_norm_(recipe.parameters(), optim.clip_norm)
    session.findings.note(at.step + 1, found)
    if counter is not None:
        # So far without `after_step`: how long the stage is, and with it the learning rate and how much of
        # the run is over, which `after_step` is told, follows from what a step costs.
        _measured(at, loader, source, counter.cost)
    steps = planned_steps(stage, at, loader.per_epoch)
    progress = (at.stage_step + 1) / (steps + 1) if math.isfinite(steps) else done
    lr = optim.lr * schedule(progress, optim.warmup)
    for group in session.optimizer.param_groups:
        group["lr"] = lr * group["rate"]
    session.optimizer.step()
    # All do the same: it is one process's cost.
    with (counter if world.first else None) or nullcontext(), session.autocast, torch.no_grad():
        recipe.after_step(_done(session, stage, steps))
    every = max(1, math.ceil((steps if math.isfinite(steps) else 10 * ROWS) / ROWS))
    recorded = at.stage_step == 0 or (at.stage_step + 1) % every == 0
    if recorded:
        session.findings.read()
        synchronise(session.device)
    elapsed = time.perf_counter() - start
    elapsed, waited, core = _clocks(session, elapsed, waited, core_time().since(cores))

    if counter is not None:
        # Now with what `after_step` has cost: this is what the stage's steps count from here on.
        _measured(at, loader, source, counter.cost)
    session.moves += 1
    at.step += 1
    at.stage_step += 1
    at.steps_on[source] = at.steps_on.get(source, 0) + 1
    at.seconds += elapsed
    at.stage_seconds += elapsed
    at.wait_seconds += waited
    at.core_seconds += core.used
    at.core_wait_seconds += core.waited
    own = at.mixed_costs.get(source) or {FLOPS: at.stage_flops, **at.stage_costs}
    at.flops += own[FLOPS]
    for name, value in own.items():
        if name != FLOPS:
            at.costs[name] = at.costs.get(name, 0.0) + value
    if not recorded:
        return {}
    values = {f"train/{name}": value for name, value in session.findings.last.items()}
    return values | {"train/lr": lr} | clock(at)


def _measured(at: Progress, loader: Batches, source: str, found: cost.StepCost) -> None:
    """Notes what a step costs; where data are mixed, the mean over those of which one was measured."""
    at.stage_flops, at.stage_costs = found.flops, found.metrics()
    if len(loader.parts) == 1:
        return
    at.mixed_costs[source] = {FLOPS: found.flops, **at.stage_costs}
    known = [
        (share, at.mixed_costs[str(part.source)][FLOPS])
        for share, part in zip(loader.shares, loader.parts, strict=True)
        if str(part.source) in at.mixed_costs
    ]
    at.stage_flops = sum(share * flops for share, flops in known) / sum(share for share, _ in known)


def _settle(session: Session) -> None:
    """Waits until the device has done all steps, on the training clock; all of them were finite."""
    if session.device.type == "cuda":
        start = time.perf_counter()
        synchronise(session.device)
        rest = float(session.world.all_gather([time.perf_counter() - start]).max())
        session.progress.seconds += rest
        session.progress.stage_seconds += rest
    session.findings.read()


def _done(session: Session, stage: Stage, steps: float) -> float:
    """Share of the whole run that is over after the step being taken; stages count alike."""
    at = session.progress
    share = (at.stage_step + 1) / steps if math.isfinite(steps) else at.stage_seconds / stage.budget.amount
    return (at.stage + min(1.0, share)) / len(session.config.stages)


def schedule(done: float, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero; `done` is the share of the stage in [0, 1]."""
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup))))


def clock(at: Progress) -> dict[str, float]:
    return {"stage": at.stage, "seconds": round(at.seconds, 4), "pflops": at.flops / 1e15}


def _clocks(
    session: Session, elapsed: float, waited: float, cores: CoreTime
) -> tuple[float, float, CoreTime]:
    """Seconds of a step and of its wait for data, the longest of all processes; core time, their sum."""
    every = session.world.all_gather([elapsed, waited, *cores])
    return float(every[:, 0].max()), float(every[:, 1].max()), CoreTime(*every[:, 2:].sum(0).tolist())
