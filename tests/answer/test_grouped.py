"""Cells averaged over some axes: which numbers are averaged, which seeds count, who is left out."""

import numpy as np
import pytest
from synthetic import RATIOS, key_of

from workbench.answer.evidence import gather
from workbench.answer.grouped import grouped
from workbench.answer.results import answer_of
from workbench.answer.study_record import load


def by_video(results, *axes):
    asked = load(results, "ratios")
    found = gather(asked, results)
    return asked, found, *grouped(asked, found, axes or ("video_ratio",))


def test_a_group_is_the_mean_of_its_cells_seed_by_seed(ratios):
    asked, before, groups, found = by_video(ratios(seeds=(0, 1, 2)))
    assert groups.axes == ("video_ratio",)
    assert list(groups.cells) == [key_of(RATIOS[i]) for i in (0, 2, 4)]
    assert groups.labels[key_of(RATIOS[2])] == "video_ratio=0.5, mean of 2 cells"
    assert groups.baseline == asked.baseline
    for seed in (0, 1, 2):
        mean = np.mean([before.values[key_of(RATIOS[i])][seed] for i in (2, 3)], axis=0)
        assert np.array_equal(found.values[key_of(RATIOS[2])][seed], mean)
    result = answer_of(groups, found)
    assert result.cells["seeds"].to_list() == [3, 3, 3]
    speed = before.runs.filter(before.runs["key"].is_in([key_of(RATIOS[2]), key_of(RATIOS[3])]))
    expected = speed["metric.speed/clips_per_s"].mean()
    assert result.cells["speed/clips_per_s"][1] == pytest.approx(expected)
    assert len(result.comparisons) == 2


def test_the_baseline_may_be_any_cell_of_its_group(ratios):
    results = ratios(baseline=RATIOS[3])
    _, _, groups, _ = by_video(results)
    assert groups.baseline == key_of(RATIOS[2])


def test_all_axes_change_nothing(ratios):
    asked, before, groups, found = by_video(ratios(seeds=(0, 1, 2)), "video_ratio", "text_ratio")
    assert groups is asked
    assert found is before


def test_only_seeds_that_all_cells_have_count(ratios):
    _, _, _, found = by_video(ratios(seeds=(0, 1, 2), skip={(2, 1)}, failed={(4, 0), (4, 2), (5, 1)}))
    assert set(found.values[key_of(RATIOS[2])]) == {0, 2}
    assert set(found.values) == {key_of(RATIOS[0]), key_of(RATIOS[2])}
    assert found.refused == {key_of(RATIOS[4]): "no seed is complete in all 2 cells that it averages"}


def test_a_refused_cell_takes_its_group_out_and_says_why(ratios):
    results = ratios()
    (results / f"runs/ratios/{key_of(RATIOS[3])}-s1/ranks.npz").unlink()
    _, _, _, found = by_video(results)
    assert list(found.refused) == [key_of(RATIOS[2])]
    assert "ranks.npz of seed 1 is missing" in found.refused[key_of(RATIOS[2])]


@pytest.mark.parametrize("kind", ["queries", "seeds+queries"])
def test_intervals_are_about_what_is_asked(ratios, kind):
    results = ratios()
    asked = load(results, "ratios")
    evidence = gather(asked, results)
    seeds, other = answer_of(asked, evidence), answer_of(asked, evidence, kind)
    assert other.error == kind
    assert seeds.cells["low"].to_list() != other.cells["low"].to_list()
    assert seeds.cells[seeds.metric].to_list() == pytest.approx(other.cells[seeds.metric].to_list())
    assert (other.cells["low"] < other.cells[other.metric]).all()
    assert (other.cells["high"] > other.cells[other.metric]).all()
