"""Small studies that were really trained, on real clips, with their data: one of ratios, one of recipes."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
RECIPES = ("mac", "simvtp", "videomae", "coca")
TRAIN = (
    "import sys; from workbench.train.run import main; "
    + "sys.exit(max(main(a.split('|')) for a in sys.argv[1:]))"
)


def train_study(results: Path) -> Path:
    """Writes `results` with the study `shapes` and the frame store; returns `results`."""
    mac = recipe_module("mac").Config
    cells = {
        f"video_ratio={ratio}": mac(
            video_masking=PerFrameMasking(ratio=ratio), text_masking=TokenMasking(ratio=0.25)
        )
        for ratio in RATIOS
    }
    return _train(results, STUDY, cells, SEEDS)


def train_recipes(results: Path) -> Path:
    """Writes `results` with the study `recipes`, a run of each of these; SimVTP's goes on with `align`."""
    cells = {f"recipe={name}": recipe_module(name).Config() for name in RECIPES}
    return _train(results, "recipes", cells, (0,), {"recipe=simvtp": ("align",)})


def keys(results: Path, study: str = STUDY) -> list[str]:
    """Keys of the cells, the baseline first."""
    asked = json.loads((results / "runs" / study / "study.json").read_text())
    return [cell["key"] for cell in asked["cells"]]


def _train(
    results: Path,
    study: str,
    recipes: Mapping[str, Any],
    seeds: Sequence[int],
    later: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Path:
    """A run of each cell (`axis=value` -> the recipe's config) and seed; later: objectives of more stages."""
    data = describe(DataConfig(clips=48, frames=4, size=32)).data
    cells, commands = [], []
    for name, recipe in recipes.items():
        axis, _, value = name.partition("=")
        more = [
            Stage(objective=o, masked=False, budget=Budget(unit="steps", amount=2))
            for o in later.get(name, ())
        ]
        for seed in seeds:
            config = RunConfig(
                recipe=shrink(recipe), data=data, optim=OptimConfig(batch_size=16), evaluations=2, seed=seed,
                stages=(Stage(budget=Budget(unit="steps", amount=8)), *more),
            )  # fmt: skip
            cell = {"key": config.key(), "cell": name, "axes": {axis: number(value)}}
            run = RunDir.of(results, study, config.key(), seed)
            run.create()
            run.write_config(config)
            known = {"study": study, "seed": seed, "attempt": 1, "recipe": config.recipe_name}
            run.write_json("run.json", cell | known)
            commands.append(f"{run.path}|--data-root|{results / 'data'}|--device|cpu")
        cells.append(cell)
    asked = {
        "study": study, "question": "Does it work?", "metric": "t2v_r1", "direction": "maximize",
        "axes": [axis], "baseline": cells[0]["key"], "seeds": list(seeds), "reads": READS,
        "claims": [], "smoke": False, "plan": "as the study asks", "cells": cells,
    }  # fmt: skip
    (results / "runs" / study / "study.json").write_text(json.dumps(asked))
    subprocess.run([sys.executable, "-c", TRAIN, *commands], check=True, capture_output=True)
    return results


def number(value: str) -> float | str:
    """`0.5` as a number, a word as it is."""
    try:
        return float(value)
    except ValueError:
        return value
