"""A smoke test is the same run, small."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small import run_config

from workbench.config import Budget, DataConfig, OptimConfig
from workbench.data import generated, names
from workbench.errors import UserError
from workbench.study.stages import smoke


@pytest.mark.parametrize("name", names())
def test_a_smoke_test_is_small_and_of_the_same_cell(name: str) -> None:
    config = run_config(data=DataConfig(name=name), optim=OptimConfig())
    config = replace(config, stages=config.stages * 2)
    small = smoke(config)
    assert [stage.budget for stage in small.stages] == [Budget(unit="steps", amount=12)] * 2
    assert small.recipe == config.recipe
    assert small.optim.batch_size == 32
    expected = replace(config.data, clips=512) if generated(name) else config.data
    assert small.data == expected, "only generated data can be had in a smaller size"


def test_a_small_batch_is_not_made_larger() -> None:
    assert smoke(run_config(data=DataConfig())).optim.batch_size == 8


def test_data_that_do_not_exist_are_named() -> None:
    with pytest.raises(UserError, match="no data set 'random'"):
        smoke(run_config())
