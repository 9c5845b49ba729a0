"""docs/systems.md has one table for every recipe, and says of each what the page promises."""

import re
from pathlib import Path

import pytest

from workbench import recipes

PAGE = Path(__file__).parents[1] / "docs" / "systems.md"
ROWS = ["masks", "predicts", "aligns", "passes", "costs", "ours", "differs", "shows", "paper"]
SECTIONS = {
    re.search(r"recipes/(\w+)\.py", section)[1]: section
    for section in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]
}


def test_every_recipe_has_its_table_and_no_other_is_named():
    assert set(SECTIONS) == set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_a_table_has_all_rows_once_and_the_paper_that_the_recipe_names(name):
    found = re.findall(r"^\| (\w+) \| (.+) \|$", SECTIONS[name], re.MULTILINE)
    assert [row for row, _ in found] == ROWS
    (paper,) = re.findall(r"\(arXiv:(\d{4}\.\d{5})\)", SECTIONS[name].splitlines()[0])
    assert paper in recipes.load(name).__doc__
