"""Metrics know their own label, unit, direction and queries; nothing is guessed from a name."""

import numpy as np
import pytest

from workbench import tasks
from workbench.metrics import Score, score


def test_the_parts_of_a_full_name():
    assert score("val/t2v_r1") == Score(split="val", data="", stage=None, name="t2v_r1")
    assert score("test/stage0_t2v_r1") == Score(split="test", data="", stage=0, name="t2v_r1")
    assert score("test/msr-vtt:t2v_r1") == Score(split="test", data="msr-vtt", stage=None, name="t2v_r1")
    assert score("cost/train_pflops") is None


@pytest.mark.parametrize("name", ["t2v_r1", "val/t2v_r1", "test/stage1_t2v_r1", "test/lsmdc:t2v_r1"])
def test_a_metric_is_the_same_wherever_it_was_measured(name):
    found = tasks.metric(name)
    assert (found.name, found.title, found.in_units) == ("t2v_r1", "text-to-video R@1 (%)", "points of R@1")
    assert found.higher_is_better


def test_directions():
    lower = {name for name, metric in tasks.metrics().items() if not metric.higher_is_better}
    assert {"t2v_medr", "v2t_meanr", "cost/train_pflops", "speed/train_seconds"} <= lower
    assert not {"t2v_r1", "v2t_r10", "speed/clips_per_s", "speed/mfu"} & lower


def test_what_a_query_adds_to_the_mean():
    ranks = np.array([1, 5, 2, 11])
    recall = tasks.metric("t2v_r5").queries
    assert recall.contributions(ranks).tolist() == [100.0, 100.0, 100.0, 0.0]
    assert tasks.metric("v2t_meanr").queries.contributions(ranks).tolist() == [1.0, 5.0, 2.0, 11.0]
    assert tasks.metric("t2v_medr").queries is None


def test_what_runs_note_of_their_training_has_words():
    names = ["train/loss", "train/vtc", "train/lr", "speed/step_ms"]
    words = ["training loss", "training loss: vtc", "learning rate", "training time per step (ms)"]
    assert [tasks.title(name) for name in names] == words


def test_an_unknown_metric_is_shown_as_it_is():
    found = tasks.metric("test/somebodys_own")
    assert (found.title, found.in_units, found.queries) == ("somebodys_own", "in somebodys_own", None)
