"""Stages, learning rates and tasks that studies share; what `--budget`, `--smoke` and the data make of
a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from workbench import data as datasets
from workbench import recipes, tasks
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.errors import UserError

SMOKE_CLIPS = 512
"""Training clips of a synthetic data set under `--smoke`; other data sets keep all clips."""
SMOKE_STEPS = 12
"""Steps of a stage under `--smoke`."""
RATES = (5e-4, 1e-3, 2e-3)
"""Learning rates at which `systems_rates` tries every recipe, on a seed that no comparison uses."""
CHOSEN: dict[str, float] = {
    "clipbert": 5e-4,
    "clover": 1e-3,
    "coca": 1e-3,
    "hitea": 1e-3,
    "internvideo": 5e-4,
    "lavender": 5e-4,
    "locvtp": 5e-4,
    "mac": 5e-4,
    "maskvlm": 1e-3,
    "omnivl": 5e-4,
    "simvtp": 2e-3,
    "slan": 5e-4,
    "smaug": 5e-4,
    "videomae": 5e-4,
    "violet": 5e-4,
    "violetv2": 1e-3,
    "vlc": 2e-3,
    "vlmae": 1e-3,
}
"""Recipe -> the best of the rates by val (docs/findings.md); recipes without an entry get the middle one."""
_BUDGET = re.compile(r"(?P<amount>\d*\.?\d+(e[+-]?\d+)?) ?(?P<unit>x|pflops|steps|epochs|seconds)?")


def pretrain(pflops: float) -> tuple[Stage, ...]:
    """One stage under the recipe's own losses, with its masking, for so many training PFLOPs."""
    return (Stage(budget=Budget(unit="pflops", amount=pflops)),)


def pretrain_then_align(pflops: float) -> tuple[Stage, ...]:
    """Two thirds of the training PFLOPs under the recipe's own losses, one third aligning unmasked.

    Without that last stage an arm that only predicts has no aligned space in which it could be judged.
    """
    align = Budget(unit="pflops", amount=pflops / 3)
    return (*pretrain(pflops * 2 / 3), Stage(objective="align", masked=False, budget=align))


def optim_of(recipe: str) -> OptimConfig:
    """The shared optimiser, at the learning rate that was chosen for a recipe."""
    return OptimConfig(lr=CHOSEN.get(recipe, RATES[1]))


def tasks_of(recipe: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """The tasks that a recipe supports."""
    return tuple(tasks.possible(wanted, recipes.load(recipe).Recipe))


def smoke(config: RunConfig) -> RunConfig:
    """The same run made small enough to try it in seconds. Raises `UserError` for data that do not exist."""
    steps = Budget(unit="steps", amount=SMOKE_STEPS)
    config = config.with_data(_few)
    return replace(
        config,
        stages=tuple(replace(stage, budget=steps) for stage in config.stages),
        optim=replace(config.optim, batch_size=min(32, config.optim.batch_size)),
        evaluations=2,
    )


def _few(data: DataConfig) -> DataConfig:
    return replace(data, clips=SMOKE_CLIPS) if datasets.generated(data.name) else data


def with_budget(stages: tuple[Stage, ...], text: str) -> tuple[Stage, ...]:
    """The stages of a run under `--budget`.

    A factor (`2x`) multiplies the budget of every stage. An amount (`0.5pflops`, `300steps`, `3epochs`,
    `60seconds`; a bare number is in PFLOPs) is that of the whole run: each stage gets the share of it that it
    has of the run's own budget, whatever unit that is in. Of steps every stage gets a whole number, at least
    one, by largest remainder, so that they add up to the steps that were asked for, rounded up. Shares of
    epochs are turned into steps only in training, each rounded up to a whole step.

    Raises `UserError` for a text that is no budget, and for an amount where the run's stages have budgets in
    several units, of which there are no shares.
    """
    match = _BUDGET.fullmatch(text.strip())
    if match is None or not 0 < float(match["amount"]) < math.inf:
        raise UserError(
            f"--budget must be a factor such as 2x, or an amount for the whole run such as 0.5pflops, "
            f"300steps, 3epochs or 60seconds, not {text!r}"
        )
    amount, unit = float(match["amount"]), match["unit"] or "pflops"
    own = [stage.budget for stage in stages]
    if unit == "x":
        return _with([replace(budget, amount=budget.amount * amount) for budget in own], stages)
    if len(stages) == 1:
        return _with([_budget(unit, amount)], stages)
    units = sorted({budget.unit for budget in own})
    if len(units) > 1:
        raise UserError(
            f"--budget {text} cannot be shared by stages whose budgets are in {' and '.join(units)}; "
            "a factor such as 2x can"
        )
    total = sum(budget.amount for budget in own)
    if units == [unit] and math.isclose(total, amount, rel_tol=1e-9):
        return stages  # what the study asks for anyway: the same key, to the last digit
    shares = [amount * budget.amount / total for budget in own]
    found = _whole(shares, math.ceil(amount)) if unit == "steps" else [float(f"{s:.12g}") for s in shares]
    return _with([_budget(unit, share) for share in found], stages)


def _budget(unit: str, amount: float) -> Budget:
    return Budget(unit=cast(Any, unit), amount=amount)  # Budget itself checks the unit


def _with(budgets: Sequence[Budget], stages: Sequence[Stage]) -> tuple[Stage, ...]:
    return tuple(replace(stage, budget=budget) for stage, budget in zip(stages, budgets, strict=True))


def _whole(shares: Sequence[float], total: int) -> list[float]:
    """Whole numbers from 1 on, near the shares; they add up to the total unless they are more than that."""
    found = [max(1, math.floor(share)) for share in shares]
    while sum(found) != total and (sum(found) < total or max(found) > 1):
        step = 1 if sum(found) < total else -1
        short = [share - count for share, count in zip(shares, found, strict=True)]
        able = [i for i, count in enumerate(found) if step > 0 or count > 1]
        found[max(able, key=lambda i: step * short[i])] += step
    return [float(count) for count in found]


def fitted(
    config: RunConfig, describe: Callable[[DataConfig], datasets.Described]
) -> tuple[RunConfig, tuple[str, ...]]:
    """A run as its own data ask for it, and what was decided for the user, in sentences.

    Where they are pictures, all data have one frame, which is encoded with a tubelet of 1. Where pictures
    are mixed with clips, they have one frame for a recipe that reads images, and are still clips for others.
    Where a benchmark has a second convention, the task that measures it is added.
    """
    notes = []
    name = config.data.name
    if describe(config.data).pictures:
        config = _of_pictures(config)
        notes.append(f"{name}: one frame an image, encoded with a tubelet of 1")
    else:
        config, said = _with_pictures(config, describe)
        notes += said
    if "retrieval" in config.tasks:
        more = [task for task in describe(config.data).tasks if task not in config.tasks]
        config = replace(config, tasks=(*config.tasks, *more))
        notes += [f"{name}: measured by {task} too" for task in more]
    for data in config.all_data:
        notes += [f"{data.name}: {note}" for note in describe(data).notes]
        notes += _size(data, describe(data).clips)
    notes += _stages(config)
    limit: int = config.recipe.text.max_tokens if hasattr(config.recipe, "text") else 0
    for data in config.all_data if limit else ():
        words = describe(data).words
        longer = sum(count for length, count in words.items() if length > limit)
        if longer:
            share = 100 * longer / sum(words.values())
            notes.append(
                f"{data.name}: text.max_tokens={limit} cuts {share:.3g} % of the captions or more, "
                f"the longest has {max(words)} words"
            )
    return config, tuple(dict.fromkeys(notes))


LARGE = 1e9
"""Bytes of stored frames from which a note is made for any data."""


def _size(data: DataConfig, clips: int) -> list[str]:
    """How much of the disk frames take, where more of them are kept than a step takes, or much."""
    size = clips * data.kept_frames * data.kept_size**2 * 3
    if size < LARGE and (data.kept_frames, data.kept_size) == (data.frames, data.size):
        return []
    return [
        f"{data.name}: {data.kept_frames} frames of {data.kept_size} pixels are kept of {clips} clips, "
        f"{size / 1e9:.2g} GB on disk; a step takes {data.frames} of {data.size}"
    ]


def _stages(config: RunConfig) -> list[str]:
    """Which data each stage trains on and what is tested when, where a run has several data sets."""
    if len(config.all_data) < 2:
        return []
    said = []
    for number, stage in enumerate(config.stages, 1):
        hidden = "masked" if stage.masked else "unmasked"
        data = (stage.data or config.data).name
        if stage.mix:
            rest = 1 - sum(one.share for one in stage.mix)
            parts = [(data, rest), *((one.data.name, one.share) for one in stage.mix)]
            data = " and ".join(f"{name} in {share:.3g} of the steps" for name, share in parts)
        said.append(f"{number}. {data}, {stage.objective}, {hidden}, {stage.budget}")
    after = "after each stage" if len(config.stages) > 1 else "at the end"
    tested = " and ".join([config.data.name, *(data.name for data in config.evaluate_on)])
    return [f"trains on {'; '.join(said)}; tested on {tested} {after}, selected on {config.data.name}"]


def _still(data: DataConfig, frames: int = 1) -> DataConfig:
    """The same of pictures, of which more frames than a step takes would all be equal."""
    return replace(data, frames=frames, stored=0, sampling="centre", stride=1)


def _with_pictures(
    config: RunConfig, describe: Callable[[DataConfig], datasets.Described]
) -> tuple[RunConfig, list[str]]:
    """A run on clips that are mixed with pictures, and how these are read."""
    mixed = dict.fromkeys(one.data for stage in config.stages for one in stage.mix)
    names = [data.name for data in mixed if describe(data).pictures]
    if not names:
        return config, []
    images = recipes.load(config.recipe_name).Recipe.READS_IMAGES
    frames = 1 if images else config.data.frames
    how = "as one frame" if images else f"as a still clip of {frames} frames"

    def fit(data: DataConfig) -> DataConfig:
        return _still(data, frames) if data.name in names else data

    return config.with_data(fit), [f"{name}: {config.recipe_name} reads an image {how}" for name in names]


def _of_pictures(config: RunConfig) -> RunConfig:
    recipe = config.recipe
    if hasattr(recipe, "video"):
        recipe = replace(recipe, video=replace(recipe.video, tubelet=1))
    if hasattr(recipe, "frames"):  # clips into which a video is cut
        recipe = replace(recipe, frames=1)
    return config.with_data(_still, recipe=recipe)
