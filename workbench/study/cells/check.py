"""What is refused before anything is made or run: runs that cannot be, models that cannot be built."""

from __future__ import annotations

import json

from workbench import tasks
from workbench.errors import UserError
from workbench.serial import to_dict
from workbench.study.plan import Plan
from workbench.train.session import check, recipe_class, try_to_build


def check_runs(plan: Plan, processes: int) -> None:
    """Refuses runs that their configuration tells cannot be, and a task that no recipe can do."""
    configs = [cell.config for cell in plan.samples]
    asked = list(dict.fromkeys(name for config in configs for name in config.tasks))
    if refusal := tasks.refusal(asked, list(dict.fromkeys(map(recipe_class, configs)))):
        raise UserError(f"study {plan.study.name}: {refusal}")
    for config in configs:
        check(config, processes)


def try_models(plan: Plan, processes: int) -> None:
    """Refuses what cannot be run, and models that cannot be built, before the data are made."""
    check_runs(plan, processes)
    kinds, maskings = {}, ("video_masking", "text_masking")
    for config in (cell.config for cell in plan.samples):
        built = {name: value for name, value in to_dict(config.recipe).items() if name not in maskings}
        kinds[json.dumps([built, config.data.frames, config.data.size])] = config
    for config in kinds.values():
        try_to_build(config)
