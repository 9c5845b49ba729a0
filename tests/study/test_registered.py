"""Contrasts are registered with the plan: resolved to cells, in their order, before anything runs."""

import json

import pytest
from test_plan import config, plan_of

from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError
from workbench.study.plan import Options
from workbench.study.spec import Claim, Contrast, Study, with_recipe
from workbench.study.text_output import plan_text


def configure(trial):
    strategy = trial.suggest_categorical("strategy", ["tube", "random"])
    ratio = trial.suggest_categorical("ratio", [0.0, 0.5, 0.9])
    return config(1e-3 if ratio == 0 else ratio / (1 + (strategy == "tube")))  # ratio 0 comes out the same


MORE = Contrast("more is better", of={"ratio": (0.5, 0.9)}, against={"ratio": 0.0})
TUBE = Contrast(
    "tubes are better", of={"strategy": "tube", "ratio": 0.9}, against={"strategy": "random", "ratio": 0.9}
)


def test_a_plan_stores_the_contrasts_with_their_cells_in_their_order(tmp_path):
    plan = plan_of(configure, tmp_path, contrasts=(TUBE, MORE))
    stored = plan.description()["contrasts"]
    key = {cell.label: cell.key for cell in plan.cells}
    assert [contrast["text"] for contrast in stored] == ["tubes are better", "more is better"]
    assert stored[0]["of"] == {
        "cells": [key["strategy=tube ratio=0.9"]], "axes": {"strategy": "tube", "ratio": 0.9}
    }  # fmt: skip
    assert stored[1]["against"]["cells"] == [
        plan.cells[0].key
    ]  # both strategies without a ratio are one cell
    assert len(stored[1]["of"]["cells"]) == 4
    text = plan_text(plan, [], {})
    assert text.index("1. tubes are better") < text.index("2. more is better")


def test_contrasts_change_no_key_and_older_descriptions_have_none(tmp_path):
    plain, with_them = plan_of(configure, tmp_path), plan_of(configure, tmp_path, contrasts=(MORE,))
    assert [cell.key for cell in plain.cells] == [cell.key for cell in with_them.cells]
    old = plain.description()
    assert old.pop("contrasts") == []
    assert (StudyRecord.of(old).contrasts, StudyRecord.of(old).registered) == ((), False)
    assert StudyRecord.of(with_them.description()).registered


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        (
            Contrast("x", of={"ratio": 0.7}, against={"ratio": 0.0}),
            "not one of the cells; the axes are strategy",
        ),
        (Contrast("x", of={"ration": 0.5}, against={"ratio": 0.0}), "not one of the cells"),
        (Contrast("x", of={"ratio": 0.5}, against={"ratio": (0.5, 0.0)}), "same cells on both sides"),
        (Contrast("x", of={"strategy": "tube"}, against={"strategy": "random"}), "1 of the same cells"),
    ],
)
def test_contrasts_that_cannot_be_meant_are_refused_before_anything_runs(tmp_path, contrast, message):
    with pytest.raises(UserError, match=message):
        plan_of(configure, tmp_path, contrasts=(contrast,))


def test_contrasts_are_all_that_a_study_tests():
    claim = Claim(text="c", arm={}, metric="t2v_r1", figure="difference", paper="", at_least=0.0)
    fields = {"question": "?", "configure": configure}
    with pytest.raises(UserError, match="claims or contrasts, not both"):
        Study(**fields, claims=(claim,), contrasts=(MORE,))
    with pytest.raises(UserError, match="must have no baseline, claims or contrasts"):
        Study(**fields, mode="search", contrasts=(MORE,))
    with pytest.raises(UserError, match="text of its own"):
        Study(**fields, contrasts=(MORE, MORE))


def test_contrasts_belong_to_the_default_recipe():
    study = Study(
        question="?", configure=configure, contrasts=(MORE,), recipes=("mac", "simvtp"), recipe="mac"
    )
    assert with_recipe(study, "mac").contrasts == (MORE,)
    assert with_recipe(study, "simvtp").contrasts == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"looks": {5: 0.01, 3: 0.01}}, "increasing numbers of seeds"),
        ({"looks": {1: 0.01}}, "from 2 on"),
        ({"looks": {3: 0.03, 5: 0.03}}, "add up to at most 0.05"),
        ({"looks": {3: 0.0}}, "above 0"),
        ({"looks": {2.5: 0.01}}, "increasing numbers of seeds"),
        ({"collapse": float("nan")}, "a value of its metric, not nan"),
        ({"looks": {3: 0.01}, "mode": "search"}, "a search must have no looks and no collapse"),
        ({"collapse": 1.0, "mode": "search"}, "a search must have no looks and no collapse"),
    ],
)
def test_looks_and_collapse_that_cannot_be_meant_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Study(question="?", configure=configure, **fields)


def test_looks_and_collapse_are_stored_with_the_plan(tmp_path):
    plan = plan_of(configure, tmp_path, looks={3: 0.01, 5: 0.04}, collapse=1.5)
    asked = StudyRecord.of(json.loads(json.dumps(plan.description())))
    assert (dict(asked.looks), asked.collapse) == ({3: 0.01, 5: 0.04}, 1.5)
    text = plan_text(plan, [], {})
    assert "Claims are looked for with 3 seeds at 1 %, 5 seeds at 4 %." in text
    assert "A run whose val text-to-video R@1 (%) is not better than 1.5 has collapsed" in text
    plain = StudyRecord.of(plan_of(configure, tmp_path).description())
    assert (dict(plain.looks), plain.collapse) == ({}, None)
    tried = plan_of(configure, tmp_path, Options(smoke=True), looks={3: 0.01}, collapse=1.5)
    smoke = StudyRecord.of(tried.description())
    assert (dict(smoke.looks), smoke.collapse) == ({}, None), "nothing is claimed of a smoke test"
