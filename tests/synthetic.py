"""Run directories as finished studies leave them, with realistic ranks, written in a moment."""

import hashlib
import json
from itertools import product

import numpy as np

from workbench.tracking.run_dir import RunDir

QUERIES = 500
READS = ["cost/train_pflops", "cost/train_gflops_per_clip", "speed/clips_per_s", "train/steps"]
ENVIRONMENT = {
    "data": "moving_shapes", "data_digest": "d" * 64, "decoder": "decord 0.6.0", "commit": "c" * 40,
    "dirty": False, "device": "cpu", "device_name": "some processor", "hostname": "one",
    "precision": "bfloat16", "threads": 2, "python": "3.12.1", "torch": "2.8.0",
    "timm": "1.0.20", "transformers": "5.0.0", "numpy": "2.1.0",
    "start": "video: random init, text: random init",
}  # fmt: skip


def key_of(axes):
    return hashlib.sha256(json.dumps(axes).encode()).hexdigest()[:12]


def label_of(axes):
    return " ".join(f"{name}={value}" for name, value in axes.items())


def grid(**axes):
    """All combinations, the last axis fastest."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


RATIOS = grid(video_ratio=[0.0, 0.5, 0.9], text_ratio=[0.0, 0.25])
BASE = RATIOS[0]


def write_study(
    results, name, cells, seeds=(0, 1, 2), *, quality=lambda axes: 40.0, cost=lambda axes: 1.0,
    baseline=None, skip=(), failed=(), spread=2.0, steps=0, metric="t2v_r1", asked_of=None, **description,
):  # fmt: skip
    """Writes `study.json` and a directory for each cell (a dict of axes) and seed.

    quality: R@1 in percent that a cell has on average; cost: share of the full FLOPs per clip.
    skip, failed: pairs (number of the cell, seed); steps: rows of training metrics; asked_of: (ids of the
    queries, their clips), by default made up.
    """
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    listed = [{"key": key_of(axes), "cell": label_of(axes), "axes": axes} for axes in cells]
    asked = {
        "study": name, "question": "How much should be hidden?", "metric": metric, "direction": "maximize",
        "axes": list(dict.fromkeys(axis for axes in cells for axis in axes)),
        "baseline": None if baseline is None else key_of(baseline),
        "seeds": list(seeds), "reads": READS, "claims": [], "smoke": False, "plan": "as the study asks",
        "cells": listed,
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(asked | description))
    for number, cell in enumerate(listed):
        for seed in seeds:
            if (number, seed) not in skip:
                state = "failed" if (number, seed) in failed else "complete"
                level, share = quality(cell["axes"]), cost(cell["axes"])
                write_run(results, name, cell, seed, level, share, spread=spread, steps=steps, state=state,
                          asked_of=asked_of)  # fmt: skip


def write_run(
    results, study, cell, seed, quality, cost, *, spread=2.0, steps=0, state="complete", asked_of=None
):
    """One run; what a query is worth depends on the query, so that runs agree on the hard ones."""
    run = RunDir.of(results, study, cell["key"], seed)
    run.create()
    stage = {"type": "config.Stage", "budget": {"type": "config.Budget", "unit": "pflops", "amount": 0.015}}
    files = {
        "config.json": {"type": "config.RunConfig", "stages": [stage], "seed": seed},
        "run.json": cell | {"study": study, "seed": seed, "attempt": 1, "token": "0" * 16,
                             "recipe": "mac"},
        "environment.json": ENVIRONMENT,
        "status.json": {"state": state, "failure": "not_finite" if state == "failed" else None,
                        "reason": "the loss vtc is not finite at step 5" if state == "failed" else "",
                        "step": 900, "steps": 900, "seconds": 80.0},
    }  # fmt: skip
    queries, clips_of = asked_of or ([f"q{i}" for i in range(QUERIES)], [f"c{i}" for i in range(QUERIES)])
    ranks = draw_ranks(cell["key"], seed, quality, spread, len(queries))
    r1 = 100 * float((ranks == 1).mean())
    if state == "complete":
        clips = 1500 / (0.4 + cost)
        files["summary.json"] = {
            "test/t2v_r1": r1, "val/t2v_r1": r1 + 0.5, "test/stage0_t2v_r1": r1 / 2,
            "cost/train_pflops": 0.015, "cost/train_gflops_per_clip": 0.6 * cost,
            "cost/video_gflops_per_clip": 0.3 * cost, "cost/video_passes": 1.0, "cost/text_passes": 1.0,
            "cost/video_tokens_in": 128.0, "cost/video_tokens_out": 128.0 * cost,
            "cost/peak_memory_gb": 0.5 + cost, "speed/clips_per_s": clips + seed,
            "speed/train_seconds": 25000 / (clips + seed) / cost, "speed/total_seconds": 90.0,
            "train/steps": round(300 / cost),
        }  # fmt: skip
        np.savez(run.file("ranks.npz"), t2v_rank=ranks, v2t_rank=ranks,
                 t2v_id=np.array(queries), t2v_group=np.array(clips_of),
                 v2t_id=np.array(clips_of))  # fmt: skip
    for name, value in files.items():
        run.file(name).write_text(json.dumps(value))
    rows = [
        {"step": step, "stage": 0, "seconds": step / 10 * cost, "pflops": 1e-4 * step * cost,
         "train/loss": 5 / step} | ({"val/t2v_r1": r1 * (1 - np.exp(-4 * step / steps))}
                                    if step % max(1, steps // 4) == 0 else {})
        for step in range(1, steps + 1)
    ]  # fmt: skip
    run.file("metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def draw_ranks(key, seed, quality, spread, queries=QUERIES):
    """int32 [Q]: a query is hit when the cell's level plus luck exceeds its difficulty."""
    hardness = np.random.default_rng(0).random(queries)
    rng = np.random.default_rng([int(key, 16), seed])
    level = np.clip(quality + spread * rng.standard_normal(), 0.5, 99.5) / 100
    chance = np.clip(level + 0.9 * (0.5 - hardness) * min(level, 1 - level) * 2, 0, 1)
    hit = rng.random(queries) < chance
    return np.where(hit, 1, rng.integers(2, queries, queries)).astype(np.int32)
