"""What two cells answered differently."""

import numpy as np
import pytest
from synthetic import BASE, RATIOS, key_of, write_study

from workbench.errors import UserError
from workbench.inspection.answers import (
    Answers,
    disagreements,
    neither,
    only_first,
    read_answers,
    swapped,
    within,
)
from workbench.tracking.run_dir import RunDir


def answers(*ranks):
    names = tuple(f"q{i}" for i in range(len(ranks)))
    return Answers(queries=names, clips=names, ranks=np.array(ranks))


def test_right_in_one_and_wrong_in_the_other_the_clearest_first():
    found = disagreements({0: answers(1, 1, 1, 4)}, {0: answers(1, 3, 9, 5)})
    assert only_first(found)["query"].to_list() == ["q2", "q1"]
    assert only_first(swapped(found)).is_empty()
    assert neither(found)["query"].to_list() == ["q3"]


def test_seeds_that_one_cell_lacks_do_not_count():
    found = disagreements({0: answers(1, 1), 1: answers(1, 2)}, {1: answers(2, 2), 2: answers(1, 1)})
    assert found["seeds"].to_list() == [1, 1]
    assert only_first(found)["query"].to_list() == ["q0"]


def test_more_seeds_count_before_ranks():
    a = {0: answers(1, 1), 1: answers(1, 3)}
    b = {0: answers(2, 90), 1: answers(2, 90)}
    found = only_first(disagreements(a, b))
    assert found.select("query", "hits_a", "hits_b", "rank_a", "rank_b").rows() == [
        ("q0", 2, 0, 1.0, 2.0),
        ("q1", 1, 0, 2.0, 90.0),
    ]


def test_the_first_k_count_as_right():
    assert within("t2v_r5") == 5
    assert within("t2v_medr") == 1
    found = disagreements({0: answers(5, 6)}, {0: answers(6, 5)}, 5)
    assert only_first(found)["query"].to_list() == ["q0"]


def test_cells_that_cannot_be_paired_are_refused():
    with pytest.raises(UserError, match="no complete run of the same seed"):
        disagreements({0: answers(1)}, {1: answers(1)})
    with pytest.raises(UserError, match="other queries"):
        disagreements({0: answers(1)}, {0: answers(1, 2)})


def test_ranks_of_a_run_are_read_as_they_were_written(tmp_path):
    write_study(tmp_path, "ratios", RATIOS, (0,), baseline=BASE)
    run = RunDir.of(tmp_path, "ratios", key_of(BASE), 0)
    with np.load(run.file("ranks.npz")) as record:
        assert np.array_equal(read_answers(run).ranks, record["t2v_rank"])
    run.file("ranks.npz").unlink()
    assert read_answers(run) is None
    run.file("ranks.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match="is damaged"):
        read_answers(run)
