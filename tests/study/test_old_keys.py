"""Runs made before the rooms were moved are found again: every cell of every study keeps its key.

`cells_before.jsonl.gz` holds the cells as the code before the move made them, one a line: study, key, axes,
configuration; of a search, those that it drew at random to see its axes.
"""

import gzip
import json
from collections import defaultdict
from pathlib import Path

import pytest

from workbench.config import RunConfig
from workbench.serial import to_dict
from workbench.study import spec
from workbench.study.plan import Options, make_plan

FILE = Path(__file__).parents[1] / "fixtures" / "cells_before.jsonl.gz"
BEFORE = defaultdict(list)
for line in gzip.decompress(FILE.read_bytes()).decode().splitlines():
    cell = json.loads(line)
    BEFORE[cell["study"]].append(cell)
STUDIES = ("align_or_predict", "budget", "mac_claims", "mask_ratio", "mask_strategy", "pareto")
STUDIES += ("text_masking", "unmasked_tuning")
CHANGED = {"mask_ratio"}
"""Studies that ask something else by now: other cells, under other budgets."""
REDUCED = {"budget", "mask_strategy", "text_masking", "unmasked_tuning"}
"""Studies that run some of their former cells, those that their registered contrasts need."""


def test_the_fixture_has_every_study_under_every_recipe():
    assert sum(map(len, BEFORE.values())) == 176
    assert {name.partition("-")[0] for name in BEFORE} == set(STUDIES)


@pytest.mark.parametrize("name", BEFORE)
def test_an_old_configuration_is_read_as_it_was_and_has_its_key(name):
    for cell in BEFORE[name]:
        config = RunConfig.from_json(json.dumps(cell["config"]))
        assert config.key() == cell["key"], cell["axes"]
        assert RunConfig.from_json(config.to_json()) == config
        assert includes(to_dict(config), cell["config"]), cell["axes"]


def includes(now, before):
    """Whether all that was recorded is written the same; fields may have been added since."""
    if isinstance(before, dict):
        return all(name in now and includes(now[name], value) for name, value in before.items())
    if isinstance(before, list):
        return len(now) == len(before) and all(map(includes, now, before))
    return now == before


@pytest.mark.parametrize("name", sorted(REDUCED))
def test_the_cells_of_a_reduced_study_are_some_of_its_former_ones(name, tmp_path):
    study = spec.load(name)
    for recipe in study.recipes or ("",):
        plan = make_plan(study, Options(recipe=recipe), tmp_path)
        before = {cell["key"]: cell["axes"] for cell in BEFORE[plan.study.name]}
        for cell in plan.cells:
            assert cell.axes.items() <= before[cell.key].items()
        assert len(plan.cells) < len(before)


@pytest.mark.parametrize("name", sorted({*STUDIES} - CHANGED - REDUCED))
def test_a_study_plans_the_cells_that_it_planned_before(name, tmp_path):
    study = spec.load(name)
    for recipe in study.recipes or ("",):
        plan = make_plan(study, Options(recipe=recipe), tmp_path)
        before = {cell["key"]: cell["axes"] for cell in BEFORE[plan.study.name]}
        assert {cell.key: cell.axes for cell in plan.samples} == before
