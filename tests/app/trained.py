"""A small study that was really trained, on real clips: two cells, two seeds, with its data."""

import json
import subprocess
import sys
from pathlib import Path

from small import recipe_module, shrink
from synthetic import READS

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data import describe
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking
from workbench.tracking.run_dir import RunDir

STUDY = "shapes"
SEEDS = (0, 1)
RATIOS = (0.0, 0.5)
TRAIN = (
    "import sys; from workbench.train.run import main; "
    + "sys.exit(max(main(a.split('|')) for a in sys.argv[1:]))"
)


def train_study(results: Path) -> Path:
    """Writes `results` with the study and the frame store; returns `results`."""
    data = describe(DataConfig(clips=48, frames=4, size=32)).data
    cells, commands = [], []
    for ratio in RATIOS:
        recipe = recipe_module("mac").Config(
            video_masking=PerFrameMasking(ratio=ratio), text_masking=TokenMasking(ratio=0.25)
        )
        for seed in SEEDS:
            config = RunConfig(
                recipe=shrink(recipe), data=data, optim=OptimConfig(batch_size=16), evaluations=2, seed=seed,
                stages=(Stage(budget=Budget(unit="steps", amount=8)),),
            )  # fmt: skip
            cell = {"key": config.key(), "cell": f"video_ratio={ratio}", "axes": {"video_ratio": ratio}}
            run = RunDir.of(results, STUDY, config.key(), seed)
            run.create()
            run.write_config(config)
            run.write_json("run.json", cell | {"study": STUDY, "seed": seed, "attempt": 1, "recipe": "mac"})
            commands.append(f"{run.path}|--data-root|{results / 'data'}|--device|cpu")
        cells.append(cell)
    asked = {
        "study": STUDY, "question": "Does it work?", "metric": "t2v_r1", "direction": "maximize",
        "axes": ["video_ratio"], "baseline": cells[0]["key"], "seeds": list(SEEDS), "reads": READS,
        "claims": [], "smoke": False, "plan": "as the study asks", "cells": cells,
    }  # fmt: skip
    (results / "runs" / STUDY / "study.json").write_text(json.dumps(asked))
    subprocess.run([sys.executable, "-c", TRAIN, *commands], check=True, capture_output=True)
    return results


def keys(results: Path) -> list[str]:
    """Keys of the cells, the baseline first."""
    asked = json.loads((results / "runs" / STUDY / "study.json").read_text())
    return [cell["key"] for cell in asked["cells"]]
