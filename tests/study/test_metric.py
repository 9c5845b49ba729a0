"""A study's metric is one that some task measures; its direction is the metric's own."""

from dataclasses import replace

import pytest

from workbench.errors import UserError
from workbench.study.spec import Claim, Study


def study(**fields):
    return Study(question="?", configure=lambda trial: None, **fields)


def claim(metric, figure="difference"):
    return Claim(text="it is so", arm={}, metric=metric, figure=figure, paper="2x", at_least=1.5)


def test_the_direction_is_that_of_the_metric_where_none_is_given():
    assert study().direction == "maximize"
    assert study(metric="t2v_meanr").direction == "minimize"
    assert study(metric="msrvtt:t2v_medr").direction == "minimize"
    assert study(metric="t2v_meanr", direction="maximize").direction == "maximize"
    assert replace(study(metric="t2v_meanr"), name="mine").direction == "minimize"


@pytest.mark.parametrize("metric", ["t2v_r2", "", ":t2v_r1", "a b:t2v_r1", "stage0_t2v_r1", "seconds"])
def test_a_metric_that_no_task_measures_is_refused_with_those_that_exist(metric):
    with pytest.raises(
        UserError,
        match=r"a study's metric must be one of t2v_r1 and 9 more of retrieval, .*NAME:metric, not '",
    ):
        study(metric=metric)


@pytest.mark.parametrize("metric", ["val/t2v_r1", "cost/train_pflops"])
def test_a_metric_with_a_split_or_of_a_run_is_refused(metric):
    with pytest.raises(UserError, match="must be named without a split"):
        study(metric=metric)


def test_a_direction_that_is_none_is_refused():
    with pytest.raises(UserError, match="maximize or minimize, not 'up'"):
        study(direction="up")


@pytest.mark.parametrize(
    "metric", ["t2v_r1", "msrvtt:t2v_r1", "test/t2v_r1", "qa_open_chance", "speed/clips_per_s"]
)
def test_a_claim_is_about_a_metric_that_is_measured(metric):
    assert claim(metric).metric == metric


@pytest.mark.parametrize("metric", ["t2v_r2", "test/t2v_r2", "cost/tokens", "test/cost/train_pflops"])
def test_a_claim_about_what_nobody_measures_is_refused(metric):
    with pytest.raises(UserError, match=r"'it is so' is about .* not a metric; there are .*t2v_r1"):
        claim(metric)


@pytest.mark.parametrize("metric", ["val/t2v_r1", "test/stage0_t2v_r1", "t2v_medr", "still_t2v_r1"])
def test_a_claim_whose_interval_would_leave_out_the_queries_is_refused(metric):
    with pytest.raises(UserError, match=f"'it is so' is about {metric}, .* not recorded for each query"):
        claim(metric)


def test_a_claim_of_a_ratio_is_about_what_a_run_costs():
    assert claim("speed/clips_per_s", "times").figure == "times"
    assert claim("qa_open_chance", "saved").figure == "saved"
    with pytest.raises(UserError, match=r"'it is so' is a ratio of t2v_r1, .* only a difference"):
        claim("t2v_r1", "times")
