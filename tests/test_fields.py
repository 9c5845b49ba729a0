"""What the values of configuration fields may be."""

import math

import pytest

from workbench.errors import UserError
from workbench.fields import share


@pytest.mark.parametrize(
    ("interval", "ends"),
    [("[0, 1]", {0, 1}), ("[0, 1)", {0}), ("(0, 1]", {1}), ("(0, 1)", set())],
)
def test_a_share_lies_between_0_and_1_and_at_a_square_bracket_on_it(interval, ends):
    for value in (*ends, 1e-9, 0.5, 1 - 1e-9):
        share("recipe.momentum", value, interval)
    for value in (*({0, 1} - ends), -1e-9, 1 + 1e-9, math.nan, math.inf):
        with pytest.raises(UserError) as caught:
            share("recipe.momentum", value, interval)
        assert str(caught.value) == f"recipe.momentum must be a number in {interval}, not {value!r}"
