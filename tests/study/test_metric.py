"""A study's metric is one that some task measures; its direction is the metric's own."""

from dataclasses import replace

import pytest

from workbench.errors import UserError
from workbench.study.spec import Claim, Study


def study(**fields):
    return Study(question="?", configure=lambda trial: None, **fields)


def claim(metric):
    return Claim(text="it is so", arm={}, metric=metric, figure="times", paper="2x", at_least=1.5)


def test_the_direction_is_that_of_the_metric_where_none_is_given():
    assert study().direction == "maximize"
    assert study(metric="t2v_meanr").direction == "minimize"
    assert study(metric="msrvtt:t2v_medr").direction == "minimize"
    assert study(metric="t2v_meanr", direction="maximize").direction == "maximize"
    assert replace(study(metric="t2v_meanr"), name="mine").direction == "minimize"


@pytest.mark.parametrize("metric", ["t2v_r2", "", ":t2v_r1", "a b:t2v_r1", "stage0_t2v_r1", "seconds"])
def test_a_metric_that_no_task_measures_is_refused_with_those_that_exist(metric):
    with pytest.raises(
        UserError, match=r"a study's metric is one of t2v_r1 and 9 more of retrieval, .*NAME:metric, not '"
    ):
        study(metric=metric)


@pytest.mark.parametrize("metric", ["val/t2v_r1", "cost/train_pflops"])
def test_a_metric_with_a_split_or_of_a_run_is_refused(metric):
    with pytest.raises(UserError, match="has no split"):
        study(metric=metric)


def test_a_direction_that_is_none_is_refused():
    with pytest.raises(UserError, match="maximize or minimize, not 'up'"):
        study(direction="up")


@pytest.mark.parametrize(
    "metric", ["t2v_r1", "msrvtt:t2v_r1", "val/t2v_r1", "test/stage0_t2v_r1", "speed/clips_per_s"]
)
def test_a_claim_is_about_a_metric_that_is_measured(metric):
    assert claim(metric).metric == metric


@pytest.mark.parametrize("metric", ["t2v_r2", "test/t2v_r2", "cost/tokens", "test/cost/train_pflops"])
def test_a_claim_about_what_nobody_measures_is_refused(metric):
    with pytest.raises(UserError, match=r"'it is so' is about .* no metric; there are .*t2v_r1"):
        claim(metric)
