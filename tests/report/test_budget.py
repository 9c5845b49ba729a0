"""Equal budgets and costs: what is read off the curves, who is left out, which columns there are."""

import polars as pl
import pytest
from synthetic import RATIOS, grid, key_of, write_study

from workbench.report import pictures
from workbench.report.budget import ENCODED, amount, at_budget, budget_picture, cost_table, in_words, learning
from workbench.tracking.curves import load_curves

CELLS = grid(ratio=[0.0, 0.5, 0.9])


def read(answered, results, clock="pflops"):
    answer = answered("ratios")
    curves = load_curves(results, "ratios", None, ["val/t2v_r1"])
    return answer, learning(answer, curves, clock)


@pytest.fixture
def unequal(results):
    """Three cells that spend 1, 0.5 and 0.1 of the FLOPs a step, with as many steps."""
    write_study(
        results, "ratios", CELLS, (0, 1, 2), baseline=CELLS[0], steps=40, cost=lambda axes: 1 - axes["ratio"]
    )
    return results


def test_the_budget_at_first_is_the_largest_at_which_most_runs_can_be_compared(unequal, answered):
    _, found = read(answered, unequal)
    assert len(found.ends) == 9
    # Where the cheapest cell ends, neither of the others has been evaluated once.
    assert found.compared(40 * 1e-4 * 0.1) == 3
    assert found.widest == pytest.approx(40 * 1e-4 * 0.5)
    assert found.most == 6
    _, found = read(answered, unequal, "step")
    assert (found.widest, found.most) == (40, 9)


def test_a_curve_is_read_between_its_evaluations(unequal, answered):
    answer, found = read(answered, unequal, "step")
    x, _ = found.curves[key_of(CELLS[1])][0]
    assert list(x) == [10, 20, 30, 40]
    table = at_budget(answer, found, 25)
    per_seed = [(c[1][1] + c[1][2]) / 2 for c in found.curves[key_of(CELLS[1])].values()]
    assert table["val/t2v_r1"][1] == pytest.approx(sum(per_seed) / 3)
    assert table["low"][1] < table["val/t2v_r1"][1] < table["high"][1]
    assert table["seeds"].to_list() == [3, 3, 3]


def test_who_had_ended_or_had_no_evaluation_is_left_out(unequal, answered):
    answer, found = read(answered, unequal)
    table = at_budget(answer, found, 0.0015)
    assert table["seeds"].to_list() == [3, 3, 0]
    assert table["val/t2v_r1"].null_count() == 1
    assert at_budget(answer, found, 1.0)["val/t2v_r1"].null_count() == 3
    assert budget_picture(answer, at_budget(answer, found, 1.0), "pflops", 1.0) is None
    picture = budget_picture(answer, table, "pflops", 0.0015)
    assert "equal budget of 0.0015 (training PFLOPs)" in picture.caption
    assert len(picture.moving.data[0].x) == 2
    assert [amount(budget) for budget in (0.0099993, 0.0015, 72.13, 1050.0)] == [
        "0.01",
        "0.0015",
        "72.1",
        "1050",
    ]


def test_who_is_left_out_does_not_change_the_x_axis(results, answered):
    cells = grid(ratio=[0.0, 0.9], share=[0.1, 0.2, 0.3])
    cost = {0.1: 0.1, 0.2: 1.0, 0.3: 1.0}
    write_study(
        results, "ratios", cells, (0, 1), baseline=cells[0], steps=40, cost=lambda axes: cost[axes["share"]]
    )
    answer, found = read(answered, results)
    table = at_budget(answer, found, 4e-4)
    assert table["val/t2v_r1"].null_count() == 4
    assert "over share at" in budget_picture(answer, table, "pflops", 4e-4).caption


def test_the_costs_tell_passes_and_tokens(unequal, answered):
    found = cost_table(answered("ratios"))
    assert found[ENCODED].to_list() == pytest.approx([100, 50, 10])
    assert found["cost/video_passes"].to_list() == [1, 1, 1]
    words = in_words(found, {})
    assert {"ratio", ENCODED, "video encoder passes", "peak memory (GB)"} <= set(words.columns)
    assert "cost/video_tokens_out" in found.columns


def test_of_throughput_more_is_better(unequal, answered):
    answer = answered("ratios")
    points = pictures.pareto(answer, pictures.THROUGHPUT)
    fastest = max(points.values(), key=lambda point: point.cost)
    assert fastest.cost > 1000
    assert fastest.on_front
    best = max(points.values(), key=lambda point: point.quality)
    assert all(p.on_front == (p.cost >= best.cost) or not p.on_front for p in points.values())
    assert pictures.pareto(answer, "cost/unknown") == {}


def test_four_costs_are_four_panels_in_both_drawings(unequal, answered):
    names = [pictures.PER_CLIP, pictures.THROUGHPUT, pictures.MEMORY, pictures.SECONDS]
    picture = pictures.cost(answered("ratios"), names)
    assert len([a for a in picture.moving.layout if a.startswith("xaxis")]) == 4
    assert [a.get_xlabel() for a in picture.drawn().axes] == [
        "training GFLOPs per clip", "clips per second", "peak memory (GB)", "training time per run (s)",
    ]  # fmt: skip


def test_runs_of_an_older_version_have_fewer_columns(ratios, answered, change):
    results = ratios(seeds=(0,))
    for cell in RATIOS:
        path = results / f"runs/ratios/{key_of(cell)}-s0/summary.json"
        path.write_text('{"test/t2v_r1": 10.0, "val/t2v_r1": 10.0}')
    found = cost_table(answered("ratios"))
    assert isinstance(found, pl.DataFrame)
    assert ENCODED not in found.columns
    assert found.columns[-1] == "test/t2v_r1"
