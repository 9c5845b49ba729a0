"""The small world of `workbench.testing`, and the recipes and runs that our own tests make in it."""

from __future__ import annotations

from typing import Any

import workbench.recipes
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.testing.world import COUNTS, FRAMES, SIZE, build, shrink, step, write_store

__all__ = ["COUNTS", "FRAMES", "SIZE", "build", "shrink", "step", "write_store"]


def recipe_names() -> list[str]:
    """Every recipe: a module of `workbench.recipes`."""
    return workbench.recipes.names()


def recipe_module(name: str) -> Any:
    return workbench.recipes.load(name)


def recipes_with(*methods: str) -> list[str]:
    """Recipes that define all of these, such as `embed_video`."""
    return [name for name in recipe_names() if all(hasattr(recipe_module(name).Recipe, m) for m in methods)]


def recipes_that_align() -> list[str]:
    return [name for name in recipe_names() if "align" in recipe_module(name).Recipe.objectives()]


def run_config(recipe: str | Any = "mac", *, steps: int = 6, **changes: Any) -> RunConfig:
    """A run over the random store; `recipe` is a name or a config."""
    if isinstance(recipe, str):
        recipe = shrink(recipe_module(recipe).Config())
    defaults: dict[str, Any] = {
        "data": DataConfig(name="random", frames=FRAMES, size=SIZE),
        "stages": (Stage(budget=Budget(unit="steps", amount=steps)),),
        "optim": OptimConfig(batch_size=8),
        "evaluations": 2,
    }
    return RunConfig(recipe=recipe, **(defaults | changes))
