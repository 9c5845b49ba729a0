"""`--smoke`: the whole path in seconds."""

from __future__ import annotations

from dataclasses import replace

from workbench import data as datasets
from workbench.config import Budget, RunConfig

CLIPS = 512
"""Training clips of a generated data set; others have the clips they have."""
STEPS = 12
"""Of a stage."""


def smoke(config: RunConfig) -> RunConfig:
    """The same run made small enough to try it in seconds. Raises `UserError` for data that do not exist."""
    data, optim = config.data, config.optim
    if datasets.generated(data.name):
        data = replace(data, clips=CLIPS)
    return replace(
        config,
        stages=tuple(replace(s, budget=Budget(unit="steps", amount=STEPS)) for s in config.stages),
        data=data,
        optim=replace(optim, batch_size=min(32, optim.batch_size)),
        evaluations=2,
    )
