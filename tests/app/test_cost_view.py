"""The Cost view: which costs and budgets are shown, and what the address changes."""

import json

from reading import said
from synthetic import grid, write_study

CELLS = grid(video_ratio=[0.0, 0.5, 0.9])


def words(page):
    return said(page).replace("\\", "")


def study(results, **options):
    given = {"baseline": CELLS[0], "steps": 40, "cost": lambda axes: 1 - axes["video_ratio"]} | options
    write_study(results, "ratios", CELLS, **given)


def test_front_budget_and_costs_are_there(results, opened):
    study(results)
    page = opened(view="cost")
    assert not page.exception
    assert len(page.get("plotly_chart")) == 2
    assert page.multiselect(key="address: costs").value == [
        "cost/train_gflops_per_clip", "speed/clips_per_s", "cost/peak_memory_gb", "speed/train_seconds",
    ]  # fmt: skip
    table = page.dataframe[1].value
    assert table["video encoder passes"].tolist() == [1, 1, 1]
    assert table["video tokens encoded (% of all)"].round(6).tolist() == [100, 50, 10]


def test_the_budget_starts_where_most_runs_can_be_compared_and_lives_in_the_address(results, opened):
    study(results)
    page = opened(view="cost", clock="pflops")
    slider = page.slider(key="address: budget_pflops")
    assert abs(slider.value - 2e-3) < 1e-9
    assert "1 of 3 cells are left out" in words(page)
    page = opened(view="cost", clock="pflops", budget_pflops="0.0015")
    assert page.slider(key="address: budget_pflops").value == 0.0015
    assert "had ended or were not evaluated yet: video_ratio=0.9." in words(page)
    assert len(page.dataframe[0].value) == 2


def test_moving_the_slider_writes_the_address(results, opened):
    study(results)
    page = opened(view="cost", clock="step")
    page.slider(key="address: budget_step").set_value(25.0).run()
    assert not page.exception
    assert page.query_params["budget_step"] == "25.0"
    assert "at 25 (steps)" in words(page)


def test_a_budget_that_is_none_is_refused_with_one_sentence(results, opened):
    study(results)
    for value in ("many", "nan", "inf", "-1", "1e99"):
        page = opened(view="cost", clock="step", budget_step=value)
        assert not page.exception
        assert len(page.warning) == 1, value
        assert page.slider(key="address: budget_step").value == 40


def test_of_many_names_those_on_the_front_stand_beside_their_points_and_inside_the_picture(results, opened):
    systems = grid(system=[f"system{i:02}" for i in range(18)])
    level = {axes["system"]: i for i, axes in enumerate(systems)}
    write_study(
        results, "systems", systems, (0,), baseline=systems[0], spread=0.0,
        quality=lambda axes: {0: 20.0, 9: 40.0, 17: 60.0}.get(level[axes["system"]], 5.0),
        cost=lambda axes: 0.1 + level[axes["system"]] / 20,
    )  # fmt: skip
    page = opened(view="cost", costs=["cost/train_gflops_per_clip"])
    assert not page.exception, page.exception[0].value
    (cells,) = [t for t in json.loads(page.get("plotly_chart")[0].proto.spec)["data"] if t.get("text")]
    named = {word: place for word, place in zip(cells["text"], cells["textposition"], strict=True) if word}
    places = {word.split()[-1]: place for word, place in named.items()}
    assert places == {"system00": "top right", "system09": "top right", "system17": "top left"}
    assert len(cells["hovertext"]) == 18, "the others are named where somebody points"


def test_one_cost_can_be_chosen(results, opened):
    study(results)
    page = opened(view="cost", costs=["cost/peak_memory_gb"])
    assert not page.exception
    assert "Seconds and throughput compare only" not in words(page)


def test_runs_without_curves_have_a_front_but_no_budget(results, opened):
    study(results, steps=0)
    page = opened(view="cost")
    assert not page.exception
    assert len(page.get("plotly_chart")) == 1
    assert "No complete run was evaluated" in words(page)


def test_a_single_complete_cell_has_costs_but_no_front(results, opened):
    study(results, skip={(i, s) for i in (1, 2) for s in range(3)})
    page = opened(view="cost")
    assert not page.exception
    assert "needs two complete cells" in words(page)
    assert page.dataframe


def test_over_many_cells_two_costs_and_the_intervals_of_the_front_are_drawn(results, opened):
    cells = grid(video_ratio=[0.0, 0.5, 0.75], lr=[i * 1e-4 for i in range(1, 69)])
    write_study(results, "wide", cells, (0,), baseline=cells[0], steps=8)
    page = opened(view="cost")
    assert not page.exception
    assert [len(box.value) for box in page.multiselect if box.label == "Costs"] == [2]
    assert "are connected, and have their intervals." in words(page)
