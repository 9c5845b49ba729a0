"""Contract tests of tasks.

from workbench.testing import task_contract

TestMargin = task_contract("margin")
"""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch

from workbench import recipes, tasks
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data import known_of
from workbench.metrics import Metric
from workbench.testing.world import FRAMES, SIZE, shrink, small_store
from workbench.train.session import open_session


def task_contract(*names: str) -> type[TaskContract]:
    """A class of tests, to be given a name that begins with `Test`, of these tasks. Raises `UserError` for a
    task that there is not."""
    for name in names:
        tasks.load(name)
    return type("TaskContract", (TaskContract,), {"names": names})


class TaskContract:
    """Each test runs for each of `names`."""

    names: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("name", self.names)

    def test_it_says_what_it_measures_and_needs(self, name: str) -> None:
        task = tasks.load(name)
        assert all(isinstance(metric, Metric) for metric in task.METRICS)
        assert task.NEEDS
        assert all(isinstance(ways, tuple) and ways for ways in task.NEEDS), (
            "alternatives, each several methods"
        )
        assert isinstance(task.EACH_TIME, bool)
        assert callable(task.evaluate)
        assert all(isinstance(ways, tuple) and ways for ways in getattr(task, "KNOWN", ()))
        assert task.__doc__

    def test_no_other_task_measures_the_same(self, name: str) -> None:
        others = {metric.name for one in tasks.names() if one != name for metric in tasks.load(one).METRICS}
        mine = [metric.name for metric in tasks.load(name).METRICS]
        assert not others & set(mine)
        assert len(mine) == len(set(mine))

    def test_a_model_is_judged_by_finite_values_under_the_names_of_its_metrics(self, name: str) -> None:
        store, known = small_store(), {metric.name for metric in tasks.load(name).METRICS}
        able = [one for one in recipes.names() if tasks.possible([name], recipes.load(one).Recipe)]
        if not able or not tasks.askable([name], known_of(store)):
            pytest.skip("random clips with captions and a recipe of ours are not what it can be asked of")
        config = RunConfig(
            # Several tasks ask for two embeddings, which not every recipe has by itself.
            recipe=shrink(recipes.load("mac" if "mac" in able else able[0]).Config()),
            data=DataConfig(name="random", frames=FRAMES, size=SIZE),
            stages=(Stage(budget=Budget(unit="steps", amount=1)),),
            optim=OptimConfig(batch_size=8),
            tasks=(name,),
        )
        session = open_session(config, store, device=torch.device("cpu"))
        found = session.judge("val")[""][name]
        assert found.values
        assert set(found.values) <= known
        assert all(math.isfinite(value) for value in found.values.values())
