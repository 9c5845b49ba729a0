"""Tables behind the pictures, and that the pictures are drawn from odd studies too."""

import numpy as np
import polars as pl
import pytest
from cell_tables import METRIC, cells_of, two_axes
from PIL import Image

from workbench import figures, stats
from workbench.errors import UserError
from workbench.figures import paper


def test_numbers_go_along_x_and_words_name_the_curve():
    found = figures.layout(two_axes(), ["strategy", "ratio"])
    assert found == figures.Layout(x="ratio", connected=True, curve="strategy")


def test_a_third_axis_makes_panels_and_a_fourth_is_too_much():
    axes = [
        {"unit": u, "times": t, "ratio": r, "more": m}
        for u in "ab" for t in (1, 2) for r in (0.0, 0.5, 0.9) for m in "xy"
    ]  # fmt: skip
    cells = cells_of(axes, [1.0] * len(axes))
    three = figures.layout(cells, ["unit", "times", "ratio"])
    assert three == figures.Layout(x="ratio", connected=True, curve="times", panel="unit")
    assert figures.layout(cells, ["unit", "times", "ratio", "more"]) is None


def test_an_axis_that_does_not_vary_is_no_axis():
    cells = cells_of([{"ratio": 0.5, "arm": "a"}, {"ratio": 0.5, "arm": "b"}], [1.0, 2.0])
    assert figures.layout(cells, ["ratio", "arm"]) == figures.Layout(x="arm", connected=False)
    assert figures.layout(cells[:1], ["ratio", "arm"]) is None
    assert figures.sweep_table(cells[:1], ["ratio", "arm"], METRIC) is None
    assert figures.grid_table(cells, ["ratio", "arm"], METRIC) is None


def test_points_of_a_sweep_stand_in_order_of_x_with_their_intervals():
    table = figures.sweep_table(two_axes(), ["strategy", "ratio"], METRIC)
    assert table["curve"].to_list() == ["strategy tube"] * 3 + ["strategy frame"] * 3
    assert table["x"].to_list() == ["0", "0.5", "0.9"] * 2
    assert table["mean"].to_list() == [1.0, 2.0, 0.0, 4.0, 5.0, 3.0]
    assert table["low"].to_list() == [-2.0, -1.0, -3.0, 1.0, 2.0, 0.0]


def test_a_cell_without_a_value_is_no_point():
    cells = cells_of([{"ratio": 0.5}, {"ratio": 0.9}], [None, 2.0])
    assert figures.sweep_table(cells, ["ratio"], METRIC).height == 1


def test_a_cell_without_the_other_axes_is_a_point_of_every_curve():
    axes = [{"ratio": 0.0}] + [{"ratio": 0.5, "words": w} for w in ("token", "whole")]
    cells = cells_of(axes, [1.0, 2.0, 3.0])
    table = figures.sweep_table(cells, ["ratio", "words"], METRIC)
    assert table.select("curve", "x", "mean").rows() == [
        ("words token", "0", 1.0), ("words token", "0.5", 2.0),
        ("words whole", "0", 1.0), ("words whole", "0.5", 3.0),
    ]  # fmt: skip


def test_a_grid_says_where_a_difference_may_be_claimed():
    table = figures.grid_table(two_axes(), ["strategy", "ratio"], METRIC, {"k0": "better"})
    row = table.filter((pl.col("row") == "tube") & (pl.col("column") == "0.9"))
    assert row["standing"].to_list() == ["better"]
    assert table["standing"].to_list().count("") == 5
    assert table["column"].unique(maintain_order=True).to_list() == ["0", "0.5", "0.9"]


def test_every_cell_stands_at_its_own_cost():
    points = {
        "k0": stats.ParetoPoint(cost=0.8, quality=1.0, on_front=False, frequency=0.2, seeds=3),
        "k1": stats.ParetoPoint(cost=0.1, quality=2.0, on_front=True, frequency=1.0, seeds=3),
    }
    cells = cells_of([{"ratio": 0.0}, {"ratio": 0.9}], [1.0, 2.0])
    table = figures.cost_table(cells, ["ratio"], METRIC, {"cost/train_pflops": points})
    assert table.select("cell", "x", "mean", "on_front").rows() == [
        ("ratio=0.0", 0.8, 1.0, False),
        ("ratio=0.9", 0.1, 2.0, True),
    ]
    assert figures.cost_table(cells, ["ratio"], METRIC, {}) is None


def test_learning_curves_average_the_nth_evaluation_of_the_seeds():
    rows = [
        ("a-s0", 10, 1.0, 0.1, 20.0), ("a-s0", 20, 2.0, 0.2, 30.0),
        ("a-s1", 12, 1.2, 0.1, 24.0), ("a-s1", 24, 2.4, 0.2, 32.0), ("b-s0", 10, 1.0, 0.1, 9.0),
    ]  # fmt: skip
    names = ["run", "step", "seconds", "pflops", "value"]
    curves = pl.DataFrame(rows, schema=names, orient="row").with_columns(metric=pl.lit("val/t2v_r1"))
    table = figures.curves_table(curves, {"a-s0": "a", "a-s1": "a", "b-s0": "b"}, "val/t2v_r1", ["b", "a"])
    assert table["key"].to_list() == ["b", "a", "a"]
    assert table.row(1) == ("a", 11.0, 1.1, 0.1, 22.0, 20.0, 24.0, 2)
    assert figures.curves_table(curves, {"a-s0": "a"}, "val/other", ["a"]) is None


def test_smoothing_follows_each_run_by_itself_and_does_not_start_at_zero():
    rows = [(run, step, value) for run, values in (("a", [4.0, 2.0, 0.0]), ("b", [1.0, 1.0, 1.0]))
            for step, value in enumerate(values, 1)]  # fmt: skip
    schema = {"run": pl.String(), "step": pl.Int64(), "value": pl.Float64()}
    curves = pl.DataFrame(rows, schema=schema, orient="row").with_columns(metric=pl.lit("train/loss"))
    found = figures.smoothed(curves, 0.5)["value"].to_list()
    assert found == pytest.approx([4, (2 * 2 + 4) / 3, (0 * 4 + 2 * 2 + 4) / 7, 1, 1, 1])
    assert figures.smoothed(curves, 0) is curves
    with pytest.raises(UserError, match="below 1"):
        figures.smoothed(curves, 1.0)


def test_dense_curves_of_seeds_have_bands_and_runs_under_way_are_dotted_in_their_colour():
    rows = [("a", s, s * 1.0, s * 0.1, 5.0 / s, 4.0 / s, 6.0 / s, 2) for s in range(1, 60)]
    rows += [("a-s2", s, s * 1.0, s * 0.1, 5.0 / s, 5.0 / s, 5.0 / s, 1) for s in range(1, 9)]
    names = ["key", "step", "seconds", "pflops", "mean", "low", "high", "seeds"]
    table = pl.DataFrame(rows, schema=names, orient="row")
    given = {"metric": "train/loss", "clocks": ["step"], "owners": {"a-s2": "a"}}
    labels = {"a": "cell a", "a-s2": "cell a, seed 2"}
    band, whole, part = figures.curves_figure(table, labels, **given).data
    assert band.fill == "toself"
    assert len(band.x) == 2 * 59
    assert whole.error_y.array is None
    assert (whole.line.dash, part.line.dash) == ("solid", "dot")
    assert whole.line.color == part.line.color
    axes = paper.curves(table, labels, **given).axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["-", ":"]
    assert len(axes.collections) == 2


def test_the_sweep_shows_what_random_ranks_reach():
    table = figures.sweep_table(cells_of([{"r": 0.0}, {"r": 0.5}], [20.0, 30.0]), ["r"], METRIC)
    given = {"axis": "r", "metric": METRIC, "chance": 0.2}
    (line,) = figures.sweep_figure(table, **given).layout.shapes
    assert line.y0 == line.y1 == 0.2
    drawn = paper.sweep(table, connected=True, **given).axes[0]
    assert [list(line.get_ydata()) for line in drawn.lines][-1] == [0.2, 0.2]


def test_effects_come_with_the_largest_first():
    cells = {"a": {0: [0.0, 100.0], 1: [0.0, 100.0]}, "b": {0: [100.0, 100.0], 1: [0.0, 100.0]},
             "base": {0: [0.0, 0.0], 1: [0.0, 100.0]}}  # fmt: skip
    family = stats.compare_family(cells, "base")
    table = figures.effects_table({f"key {name}": c for name, c in family.items()}, {"key b": "better"})
    assert table["cell"].to_list() == ["b", "a"]
    assert table["effect"].to_list() == [50.0, 25.0]
    assert table["standing"].to_list() == ["better", ""]
    assert figures.effects_table({}, {}) is None


NAMES = ["a", "$x_1$ & 50%", "<script>alert(1)</script>", "=cmd()", "x" * 80, "größer ✓"]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_drawn_whatever_the_names(tmp_path, name):
    cells = two_axes(strategies=(name, "other"))
    cells = cells.with_columns(low=pl.when(pl.col("ratio") < 0.9).then("low"))  # one limit is not known
    sweep = figures.sweep_table(cells, ["strategy", "ratio"], METRIC)
    grid = figures.grid_table(cells, ["strategy", "ratio"], METRIC)
    drawn = [
        paper.sweep(sweep, axis=name, metric=METRIC, connected=True),
        paper.grid(grid, row="strategy", column=name, metric=METRIC),
    ]
    for figure in drawn:
        for ending, head in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
            paper.save(figure, tmp_path / f"x.{ending}")
            assert (tmp_path / f"x.{ending}").read_bytes()[:4] == head
    moving = [
        figures.sweep_figure(sweep, axis=name, metric=METRIC),
        figures.grid_figure(grid, row="strategy", column=name, metric=METRIC),
    ]
    for figure in moving:
        assert "<script>alert" not in figure.to_json()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pdf", "x.png"]


def test_every_point_is_drawn_where_its_table_says():
    cells = cells_of([{"ratio": r} for r in (0.0, 0.5, 0.9)], [4.0, 15.0, 51.0])
    sweep = figures.sweep_table(cells, ["ratio"], METRIC)
    axes = paper.sweep(sweep, axis="ratio", metric=METRIC, connected=True).axes[0]
    assert list(zip(*axes.get_lines()[0].get_data(), strict=True)) == [(0, 4.0), (0.5, 15.0), (0.9, 51.0)]
    trace = figures.sweep_figure(sweep, axis="ratio", metric=METRIC).data[0]
    assert list(zip(trace.x, trace.y, strict=True)) == [(0, 4.0), (0.5, 15.0), (0.9, 51.0)]
    assert trace.error_y.array == (3.0, 3.0, 3.0)


def test_words_at_both_ends_of_an_axis_have_room_for_their_names():
    """Plotly leaves out a name that would reach beyond the picture."""
    cells = cells_of([{"part": part} for part in ("as published", "regions not aligned")], [41.6, 30.5])
    sweep = figures.sweep_table(cells, ["part"], METRIC)
    axis = figures.sweep_figure(sweep, axis="part", metric=METRIC).layout.xaxis
    assert axis.ticktext == ("as published", "regions not aligned")
    assert axis.range[0] <= axis.tickvals[0] - 0.5
    assert axis.range[1] >= axis.tickvals[1] + 0.5
    numbers = figures.sweep_table(cells_of([{"r": r} for r in (0.0, 0.5)], [1.0, 2.0]), ["r"], METRIC)
    assert figures.sweep_figure(numbers, axis="r", metric=METRIC).layout.xaxis.range is None


def test_the_same_table_makes_the_same_file(tmp_path):
    sweep = figures.sweep_table(two_axes(), ["strategy", "ratio"], METRIC)
    for name in ("a.pdf", "b.pdf", "a.png", "b.png"):
        paper.save(paper.sweep(sweep, axis="ratio", metric=METRIC, connected=True), tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_levels_and_pairs_come_in_the_order_of_the_factors():
    level = {(a, b): 10.0 * a + (20.0 if b == "y" else 0.0) for a in (0, 1) for b in "xy"}
    runs = {key: {0: [mean], 1: [mean + 0.1], 2: [mean - 0.1]} for key, mean in level.items()}
    found = stats.factor_effects(runs, ["a", "b"])
    table = figures.factors_table(found, maximize=True, interactions=False)
    assert table["cell"].to_list() == ["a=0", "a=1", "b=x", "b=y"]
    assert table["effect"].to_list() == pytest.approx([-5.0, 5.0, -10.0, 10.0])
    assert set(table["standing"]) <= {"better", "worse", ""}
    pairs = figures.factors_table(found, maximize=True, interactions=True)
    assert pairs["cell"].to_list() == ["a=0 × b=x", "a=0 × b=y", "a=1 × b=x", "a=1 × b=y"]
    assert pairs["effect"].to_list() == pytest.approx([0.0] * 4)


def test_less_is_better_turns_the_standing_round():
    rng = np.random.default_rng(0)
    runs = {
        (a, b): {s: 50.0 * a + rng.standard_normal(40) for s in range(4)} for a in (0, 1) for b in (0, 1)
    }  # fmt: skip
    effects = stats.factor_effects(runs, ["a", "b"])
    _, found = stats.adjust_together([], effects, stats.Family(effects=3))
    up, down = (figures.factors_table(found, maximize=m, interactions=False) for m in (True, False))
    assert up["standing"].to_list()[:2] == ["worse", "better"]
    assert down["standing"].to_list()[:2] == ["better", "worse"]


def test_rows_of_a_map_stand_on_paper_as_on_the_screen():
    table = figures.grid_table(two_axes(), ["strategy", "ratio"], METRIC)
    (drawn, *_) = paper.grid(table, row="strategy", column="ratio", metric=METRIC).axes
    moving = figures.grid_figure(table, row="strategy", column="ratio", metric=METRIC)
    low, high = drawn.get_ylim()
    assert low < high, "the first row is the lowest, as plotly has it"
    assert [text.get_text() for text in drawn.get_yticklabels()] == list(moving.data[0].y)


def test_points_against_cost_say_their_ratio():
    cells = two_axes()
    point = stats.ParetoPoint(cost=1.0, quality=1.0, on_front=True, frequency=1.0, seeds=2)
    points = dict.fromkeys(cells["key"], point)
    table = figures.cost_table(cells, ["strategy", "ratio"], METRIC, {"cost/train_pflops": points})
    assert table["beside"].to_list() == [f"{ratio:g}" for ratio in cells["ratio"]]
    assert {t.get_text() for t in paper.cost(table, metric=METRIC).axes[0].texts} == set(table["beside"])


def test_cells_of_more_names_than_colours_stand_against_cost_by_name_and_no_name_covers_another():
    names = [f"system{i}" for i in range(18)]
    cells = pl.DataFrame(
        {"key": names, "cell": [f"system={n}" for n in names], "system": names,
         METRIC: [20.0 + i % 3 for i in range(18)], "low": [None] * 18, "high": [None] * 18},
        schema_overrides={"low": pl.Float64(), "high": pl.Float64()},
    )  # fmt: skip
    points = {
        name: stats.ParetoPoint(cost=1.4 + 0.01 * i, quality=20.0, on_front=False, frequency=0.0, seeds=3)
        for i, name in enumerate(names)
    }
    assert figures.named(cells, ["system"])
    assert not figures.named(cells.head(7), ["system"]), "colours are enough"
    costs = {"cost/train_gflops_per_clip": points}
    table = figures.cost_table(cells, ["system"], METRIC, costs, {"system": "{value}"})
    assert table["beside"].to_list() == names
    figure = paper.cost(table, metric=METRIC)
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text()]
    assert sorted(text.get_text() for text in texts) == sorted(names)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    frame = axes.get_window_extent()
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 and frame.y0 <= b.y0 and b.y1 <= frame.y1 for b in boxes)


def test_a_picture_for_a_paper_carries_its_words_at_300_dpi(tmp_path):
    table = figures.sweep_table(two_axes(), ["strategy", "ratio"], METRIC)
    figure = paper.sweep(table, axis="ratio", metric=METRIC, connected=True)
    about = {"title": "How much?", "words": "A caption. It comes from here."}
    paper.save(figure, tmp_path / "x.png", about)
    with Image.open(tmp_path / "x.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert (image.info["Title"], image.info["Description"]) == tuple(about.values())
    assert b"How much?" in paper.written(figure, "pdf", about)


def test_a_line_crosses_each_axis_at_its_level_and_skips_what_is_equal_by_design():
    cells = two_axes(strategies=("tube", "frame")).with_columns(
        ratio=pl.when(pl.col("ratio") < 0.9).then("ratio"), flops=pl.lit(1.0), speed=pl.col(METRIC) * 3
    )
    strategy, ratio, speed, metric = figures.dimensions(
        cells, ["strategy", "ratio"], ["flops", "speed", METRIC]
    )
    assert (strategy.ticks, strategy.values) == (("tube", "frame"), (0, 0, 0, 1, 1, 1))
    assert (ratio.ticks, ratio.values) == (("–", "0", "0.5"), (0, 1, 2, 0, 1, 2))
    assert speed.ticks == ()
    assert metric.scaled() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert strategy.marks() == [(0.0, "tube"), (1.0, "frame")]
    third = figures.dimensions(cells.with_columns(speed=pl.col(METRIC) / 3), ["strategy"], ["speed", METRIC])
    assert figures.parallel_figure(third).data[0].dimensions[1]["values"][1] == 0.3333


@pytest.mark.parametrize("name", NAMES)
def test_parallel_lines_are_drawn_whatever_the_names(name):
    cells = two_axes(strategies=(name, "other"))
    found = figures.dimensions(cells, ["strategy", "ratio"], [METRIC])
    assert "<script>alert" not in figures.parallel_figure(found).to_json()
    assert len(paper.parallel(found).axes[0].get_lines()) == cells.height + len(found)


def test_names_that_are_cut_to_the_same_words_keep_their_own_places():
    cells = {f"{'x' * 60} {i}": {s: [float(i + s), 2.0 * i] for s in range(2)} for i in range(3)}
    family = stats.compare_family(cells | {"base": {0: [0.0, 0.0], 1: [0.0, 1.0]}}, "base")
    figure = figures.effects_figure(figures.effects_table(family, {}), title="difference")
    assert sorted(y for trace in figure.data for y in trace.y) == [-2, -1, 0]
    assert len(figure.layout.yaxis.ticktext) == 3


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_differences_to_the_baseline_have_the_best_on_top(higher_is_better):
    cells = {"base": {0: [5.0, 6.0]}, "low": {0: [1.0, 2.0]}, "high": {0: [8.0, 9.0]}}
    found = stats.compare_family(cells, "base", higher_is_better=higher_is_better)
    order = figures.effects_table(found, {})["cell"].to_list()
    assert order == (["high", "low"] if higher_is_better else ["low", "high"])


def test_every_point_that_stands_for_a_cell_ends_with_its_key():
    cells = two_axes()
    known = {(row["strategy"], row["ratio"]): row["key"] for row in cells.iter_rows(named=True)}
    axes = ["strategy", "ratio"]
    sweep = figures.sweep_figure(figures.sweep_table(cells, axes, METRIC), axis="ratio", metric=METRIC)
    grid = figures.grid_figure(
        figures.grid_table(cells, axes, METRIC), row="strategy", column="ratio", metric=METRIC
    )
    for trace in sweep.data:
        for x, data in zip(trace.x, trace.customdata, strict=True):
            assert (
                data[-1]
                == known[trace.name.removeprefix("strategy "), min((0.0, 0.5, 0.9), key=lambda r: abs(r - x))]
            )
    picture, targets = grid.data
    assert len(targets.x) == len(cells)
    for x, y, data in zip(targets.x, targets.y, targets.customdata, strict=True):
        assert data[-1] == known[y, float(x)]
        assert x in picture.x
        assert y in picture.y
