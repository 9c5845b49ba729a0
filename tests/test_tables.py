"""Tables say what the runs say, to people, Markdown and spreadsheets."""

import polars as pl
import pytest

from workbench.tables import cell_table, number, readable, to_csv, to_markdown, to_text

RUNS = pl.DataFrame(
    {
        "key": ["a", "b", "a", "b", "a"],
        "cell": ["ratio=0", "ratio=0.5"] * 2 + ["ratio=0"],
        "seed": [1, 0, 0, 1, 2],
        "state": ["complete"] * 4 + ["failed"],
        "axis.ratio": [0.0, 0.5, 0.0, 0.5, 0.0],
        "metric.test/t2v_r1": [30.0, 40.0, 20.0, 44.0, None],
        "metric.cost/train_pflops": [1.0, 1.0, 3.0, 2.0, None],
    }
)


def test_cells_are_means_of_their_complete_runs():
    table = cell_table(RUNS, ["ratio"], "test/t2v_r1", ["cost/train_pflops"], {"a": (20.0, 30.0), "b": None})
    assert table.sort("key").to_dicts() == [
        {"key": "a", "cell": "ratio=0", "ratio": 0.0, "seeds": 2, "test/t2v_r1": 25.0,
         "low": 20.0, "high": 30.0, "cost/train_pflops": 2.0},
        {"key": "b", "cell": "ratio=0.5", "ratio": 0.5, "seeds": 2, "test/t2v_r1": 42.0,
         "low": None, "high": None, "cost/train_pflops": 1.5},
    ]  # fmt: skip


def test_a_metric_that_no_run_has_is_an_empty_column():
    table = cell_table(RUNS, ["ratio", "gone"], "test/none", ["speed/none"])
    assert table["test/none"].to_list() == [None, None]
    assert "gone" not in table.columns
    assert cell_table(RUNS.clear(), [], "test/t2v_r1").height == 0


def test_people_see_interval_and_note_beside_the_mean():
    table = cell_table(RUNS, ["ratio"], "test/t2v_r1", ["cost/train_pflops"], {"a": (20.0, 30.04)})
    text = to_text(readable(table.sort("key"), "test/t2v_r1", {"b": "best"}))
    assert text.splitlines() == [
        "ratio  seeds        test/t2v_r1  train_pflops",
        "-----  -----  -----------------  ------------  ----",
        "    0      2  25.0 [20.0, 30.0]             2",
        "  0.5      2               42.0           1.5  best",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "0"), (0.25, "0.25"), (41.2345, "41.23"), (123456.7, "123457"), (1e-7, "1e-07"),
     (float("nan"), "nan"), (True, "True"), (3, "3"), ("tube", "tube"), (-0.0312, "-0.0312")],
)  # fmt: skip
def test_numbers_have_about_four_digits(value, text):
    assert number(value) == text


def test_markdown_shows_names_as_they_are():
    table = pl.DataFrame({"a|b": ["x_y*z", "<script>"], "n": [1.5, 20.0]})
    assert to_markdown(table).splitlines() == [
        r"| a\|b      |   n |",
        r"| --------- | --: |",
        r"| x\_y\*z   | 1.5 |",
        r"| \<script> |  20 |",
    ]


def test_csv_keeps_precision_and_runs_no_formula():
    table = pl.DataFrame({"name": ["=1+1", "@x", "plain, quoted"], "value": [0.1 + 0.2, -1.0, None]})
    assert to_csv(table) == "name,value\n'=1+1,0.30000000000000004\n'@x,-1.0\n\"plain, quoted\",\n"


def test_an_empty_table_has_a_head():
    assert to_text(pl.DataFrame({"a": [], "b": []})).splitlines() == ["a    b", "---  ---"]
