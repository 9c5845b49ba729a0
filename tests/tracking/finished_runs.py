"""What a training writes into its run directory."""

import numpy as np


def train(run, first, last):
    for step in range(first, last + 1):
        row = {"step": step, "stage": 0, "seconds": step / 2, "pflops": step / 1000, "train/loss": 1 / step}
        run.append_metrics(row)
    run.set_status("running", step=last, steps=last, seconds=last / 2, started=1000.0)


def finish(run, steps, state="complete"):
    run.close()
    if state == "complete":
        run.write_json("summary.json", {"test/t2v_r1": 40.0, "val/t2v_r1": 41.0, "train/steps": steps})
        np.savez(run.file("ranks.npz"), t2v_rank=np.arange(3))
    run.set_status(state, failure="error" if state == "failed" else None, updated=2000.0)
