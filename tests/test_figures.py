"""Tables behind the pictures, and that the pictures are drawn from odd studies too."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from workbench import figures


def cells(rows: list[tuple[object, object, float | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ratio": [row[0] for row in rows],
            "strategy": [row[1] for row in rows],
            "test/t2v_r1": [row[2] for row in rows],
            "low": [row[3] for row in rows],
            "high": [None if row[3] is None else row[2] + 3.0 for row in rows],
            "cost/c": [1.0] * len(rows),
        },
        strict=False,
    )


def test_the_first_axis_runs_along_x_in_order_and_the_others_name_the_curve() -> None:
    table = cells([(0.9, "tube", 3.0, 1.0), (0.0, "tube", 1.0, 0.5), (0.5, "frame", 2.0, None)])
    points = figures.sweep_table(table, ["ratio", "strategy"], "test/t2v_r1", "cost/c")
    assert points["curve"].to_list() == ["strategy frame", "strategy tube", "strategy tube"]
    assert points["x"].to_list() == ["0.5", "0.0", "0.9"]
    assert points["position"].to_list() == [1, 0, 2]
    assert points["low"].to_list() == [None, 0.5, 1.0]


def test_a_cell_without_a_value_is_no_point() -> None:
    table = cells([(0.5, "a", None, None), (0.9, "a", 2.0, 1.0)])
    assert figures.sweep_table(table, ["ratio", "strategy"], "test/t2v_r1", "cost/c").height == 1


def test_every_point_is_drawn_at_its_own_cost() -> None:
    table = cells([(0.0, "a", 4.0, 3.0), (0.5, "a", 15.0, 14.0), (0.9, "a", 51.0, 50.0)])
    table = table.with_columns(pl.Series("cost/c", [0.8, 0.4, 0.1]))
    points = figures.sweep_table(table, ["ratio", "strategy"], "test/t2v_r1", "cost/c")
    figure = figures.sweep_figure(points, axis="ratio", metric="test/t2v_r1", cost="cost/c", title="")
    over_axis, over_cost = (axes.get_lines()[0] for axes in figure.axes)
    assert list(zip(*over_axis.get_data(), strict=True)) == [(0, 4.0), (1, 15.0), (2, 51.0)]
    assert list(zip(*over_cost.get_data(), strict=True)) == [(0.1, 51.0), (0.4, 15.0), (0.8, 4.0)]


@pytest.mark.parametrize("name", ["a", "$x_1$ & 50%", "<script>", "=cmd()"])
@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_picture_is_drawn_whatever_the_names(tmp_path: Path, name: str, ending: str) -> None:
    table = cells([(0.0, name, 2.0, 2.5), (0.9, name, 4.0, None)])  # the first mean is below its interval
    points = figures.sweep_table(table, ["ratio", "strategy"], "test/t2v_r1", "cost/c")
    figure = figures.sweep_figure(points, axis="ratio", metric="test/t2v_r1", cost="cost/c", title="Why?")
    figures.save(figure, tmp_path / f"x.{ending}")
    head = (tmp_path / f"x.{ending}").read_bytes()[:4]
    assert head == (b"%PDF" if ending == "pdf" else b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{ending}"]
