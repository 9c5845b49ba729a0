"""Stands in for `workbench.train`: writes the same record in a fraction of a second, without torch.

How a run behaves follows from its learning rate, see `BEHAVIOUR`; R@1 follows from its weight decay, the
FLOPs that it reports from its warm-up. It evaluates as often as its configuration asks.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from workbench.serial import from_dict
from workbench.tracking.files import replacing
from workbench.tracking.run_dir import RunDir

STEPS = 10
BEHAVIOUR = {1e-3: "well", 2e-3: "not finite", 3e-3: "crash", 4e-3: "hang", 5e-3: "killed", 6e-3: "once",
             7e-3: "late"}  # fmt: skip


def main(arguments):
    run = RunDir(arguments[0])
    if "FAKE_REFUSAL" in os.environ:
        print("error: the data in frames.npy have changed", file=sys.stderr)
        return 2
    with run.lock():
        return train(run)


def train(run):
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: asked.append(number))
    # Not by `run.config()`, which wants a real recipe, and with it torch.
    config, attempt = from_dict(run.read_json("config.json")), run.identity()["attempt"]
    with open(run.path / "starts.txt", "a") as file:
        file.write(f"{os.getpid()}\n")
    behaviour = BEHAVIOUR[config.optim.lr]
    at = run.read_json("checkpoint.json").get("step", 0)
    run.keep_metrics(at)
    run.write_json(
        "environment.json", {"data": "fake", "data_digest": "0" * 64, "commit": "abc", "threads": 1}
    )
    pause = float(os.environ.get("FAKE_PAUSE", "0.01"))
    for step in range(at + 1, STEPS + 1):
        run.set_status("running", step=step, steps=STEPS, attempt=attempt, seconds=0.1 * step)
        run.append_metrics({"step": step, "stage": 0, "seconds": 0.1 * step, "pflops": 1e-3 * step,
                            "train/loss": 1.0 / step, "train/lr": 0.1})  # fmt: skip
        if step < STEPS and step % max(1, STEPS // config.evaluations) == 0:
            run.append_metrics({"step": step, "seconds": 0.1 * step, "pflops": 1e-3 * step,
                                "val/t2v_r1": 10 * step * config.optim.weight_decay})  # fmt: skip
        if step == 5:
            misbehave(run, behaviour, attempt)
        if asked:
            run.write_json("checkpoint.json", {"step": step})
            run.set_status("interrupted")
            return 75
        dwell(run, pause, asked)
    return finish(run, config)


def dwell(run, pause, asked):
    """Stays between two steps (`FAKE_PAUSE`), but no longer than until it is asked to stop.

    `FAKE_QUICK`: the first so many runs do not dwell. `FAKE_HURRY`: nobody does once this file is there.
    """
    done = sum(1 for _ in run.path.parent.glob("*/summary.json"))
    hurry, end = os.environ.get("FAKE_HURRY", ""), time.monotonic() + pause
    if done < int(os.environ.get("FAKE_QUICK", "0")):
        return
    while not asked and time.monotonic() < end and not (hurry and os.path.exists(hurry)):
        time.sleep(min(pause, 0.02))


def misbehave(run, behaviour, attempt):
    if behaviour == "not finite":
        run.set_status("failed", failure="not_finite", reason="the loss vtc is not finite at step 5")
        sys.exit(1)
    if behaviour == "crash" or (behaviour == "once" and attempt == 1):
        raise RuntimeError("something broke")
    if behaviour == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    if behaviour == "late":  # shows nothing until it is asked to stop, and then is done at once
        woken = []
        signal.signal(signal.SIGTERM, lambda number, frame: woken.append(number))
        while not woken:
            time.sleep(0.05)
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


def finish(run, config):
    rng = np.random.default_rng(config.seed)
    hit = rng.random(200) < config.optim.weight_decay
    ranks = np.where(hit, 1, 50).astype(np.int32)
    with replacing(run.file("ranks.npz")) as temporary, open(temporary, "wb") as file:
        np.savez(
            file, t2v_rank=ranks, t2v_id=np.arange(200).astype(str), t2v_group=np.arange(200).astype(str)
        )
    value = 100 * float(hit.mean())
    run.append_metrics({"step": STEPS, "seconds": 1.0, "pflops": 0.01, "val/t2v_r1": value})
    run.write_json("summary.json", {"val/t2v_r1": value, "test/t2v_r1": value,
                                    "cost/train_pflops": 0.1 * config.optim.warmup,
                                    "speed/clips_per_s": 500.0, "speed/total_seconds": 1.5,
                                    "train/steps": STEPS})  # fmt: skip
    run.set_status("complete", step=STEPS, steps=STEPS, seconds=1.0)
    return 0


def prepare(data, *, root, **options):
    root.mkdir(parents=True, exist_ok=True)
    (root / "ready").write_text(json.dumps({"name": data.name}))
    return Path(root)


if __name__ == "__main__":
    from workbench.study.__main__ import main as study

    sys.exit(study(sys.argv[1:], module="fake_train", prepare=prepare))
