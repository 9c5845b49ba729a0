"""The small setting of the tests of recipes, and helpers of these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import pytest
import torch
from torch import Tensor

from workbench import recipes
from workbench.data.store import FrameStore
from workbench.models.text import Vocabulary
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, Draw
from workbench.testing.world import build, small_batch, small_store, small_vocabulary


def needs(*methods: str) -> Callable[[Any], Any]:
    """A test of those recipes only that define these methods; `align`: that have this objective."""

    def mark(test: Any) -> Any:
        test.needs = methods
        return test

    return mark


C = TypeVar("C")


def offered(contract: type[C], **given: Any) -> type[C]:
    """The contract for what is given, without the tests that are about none of it."""
    made = type(contract.__name__, (contract,), given)
    tests = [name for name in dir(made) if name.startswith("test_")]
    idle = [name for name in tests if not made.about(getattr(made, name))]  # type: ignore[attr-defined]
    return type(contract.__name__, (made,), dict.fromkeys(idle))


def _able(name: str, methods: tuple[str, ...]) -> bool:
    cls = recipes.load(name).Recipe
    return all(m in cls.objectives() if m == "align" else hasattr(cls, m) for m in methods)


class Asked:
    """Each test runs for each of `names`, on eight clips of 4 frames of 16 x 16 and a recipe made tiny."""

    names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def about(cls, test: Any) -> list[str]:
        """Those that a test is about."""
        return [name for name in cls.names if _able(name, getattr(test, "needs", ()))]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("name", self.about(metafunc.function))

    @pytest.fixture
    def store(self) -> FrameStore:
        return small_store()

    @pytest.fixture
    def vocabulary(self, name: str) -> Vocabulary:
        return small_vocabulary(name)

    @pytest.fixture
    def batch(self, vocabulary: Vocabulary) -> Batch:
        return small_batch(vocabulary)

    @pytest.fixture
    def recipe(self, name: str, vocabulary: Vocabulary) -> Any:
        return build(name, vocabulary)


def copied(recipe: BaseRecipe) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in recipe.state_dict().items()}


def total(recipe: BaseRecipe, terms: Mapping[str, Tensor], objective: str = "recipe") -> Tensor:
    return torch.stack([recipe.weights(objective)[name] * term for name, term in terms.items()]).sum()


def drawn(draw: Draw) -> dict[str, Tensor]:
    """Everything in a draw by its name."""
    masks = {"video_mask": draw.video_mask, "text_mask": draw.text_mask}
    return {name: mask for name, mask in masks.items() if mask is not None} | dict(draw.chosen)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
