"""A run that is complete, as small as its record can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small import run_config

from workbench.tracking.run_dir import RunDir


def finished_run(results: Path, study: str = "study") -> RunDir:
    """The record of one complete run of a study, without a training."""
    config = run_config()
    run = RunDir.of(results, study, config.key(), config.seed)
    run.create()
    run.write_config(config)
    identity = {"study": study, "key": config.key(), "seed": 0, "cell": "only", "axes": {}, "recipe": "mac"}
    run.write_json("run.json", identity | {"attempt": 1})
    run.append_metrics({"step": 1, "seconds": 1.0, "train/loss": 1.0})
    run.close()
    run.write_json("summary.json", {"test/t2v_r1": 40.0})
    np.savez(run.file("ranks.npz"), t2v_rank=np.arange(3))
    run.set_status("complete", step=1, steps=1, seconds=1.0)
    return run
