"""Contrasts are registered with the plan: resolved to cells, in their order, before anything runs."""

import pytest
from test_plan import config, plan_of

from workbench.answer.asked import Asked
from workbench.errors import UserError
from workbench.study.contrasts import Contrast
from workbench.study.show import plan_text
from workbench.study.spec import Claim, Study


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
    assert (Asked.of(old).contrasts, Asked.of(old).registered) == ((), False)
    assert Asked.of(with_them.description()).registered


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        (
            Contrast("x", of={"ratio": 0.7}, against={"ratio": 0.0}),
            "none of the cells; the axes are strategy",
        ),
        (Contrast("x", of={"ration": 0.5}, against={"ratio": 0.0}), "none of the cells"),
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
    with pytest.raises(UserError, match="no contrasts"):
        Study(**fields, mode="search", contrasts=(MORE,))
    with pytest.raises(UserError, match="text of its own"):
        Study(**fields, contrasts=(MORE, MORE))
