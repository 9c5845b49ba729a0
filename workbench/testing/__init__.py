"""Contract tests, which all built-in components pass, for users' own components; they need pytest.

    from workbench.testing import recipe_contract

    TestMine = recipe_contract("mine")

in a test file that pytest runs from the folder which holds `recipes/`. See docs/extending.md.
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in (
    "recipes", "recipe_base", "recipe_abilities", "maskings", "datasets", "tasks",
)))  # fmt: skip

from workbench.testing.datasets import dataset_contract  # noqa: E402 - their asserts are rewritten
from workbench.testing.maskings import masking_contract  # noqa: E402 - their asserts are rewritten
from workbench.testing.recipes import recipe_contract  # noqa: E402 - their asserts are rewritten
from workbench.testing.tasks import task_contract  # noqa: E402 - their asserts are rewritten

__all__ = ["dataset_contract", "masking_contract", "recipe_contract", "task_contract"]
