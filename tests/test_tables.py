"""Tables say what the runs say, to people, Markdown and spreadsheets."""

import polars as pl
import pytest

from workbench.tables import (
    cell_table,
    distinct,
    markdown,
    number,
    numbers,
    readable,
    rename,
    scores,
    to_csv,
    to_markdown,
    to_text,
)

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


def test_people_see_interval_and_note_beside_the_mean_in_equal_decimals():
    table = cell_table(RUNS, ["ratio"], "test/t2v_r1", ["cost/train_pflops"], {"a": (20.0, 30.04)})
    heads = {"ratio": "video mask ratio", "cost/train_pflops": "PFLOPs"}
    text = to_text(rename(readable(table.sort("key"), "test/t2v_r1", {"b": "best"}), heads))
    assert text.splitlines() == [
        "video mask ratio  seeds        test/t2v_r1  PFLOPs",
        "----------------  -----  -----------------  ------  ----",
        "             0.0      2  25.0 [20.0, 30.0]     2.0",
        "             0.5      2               42.0     1.5  best",
    ]


@pytest.mark.parametrize(
    ("column", "words"),
    [([0.0, 0.5, 0.75], ["0.00", "0.50", "0.75"]), ([882.609, 56.78], ["882.6", "56.8"]),
     ([0.7952, 0.1116, None], ["0.7952", "0.1116", ""]), ([1e-8, 3.0], ["1e-08", "3"]),
     ([98.0, 700.0], ["98", "700"]), ([3e-4, 1e-3], ["0.0003", "0.0010"]), ([0.0, 0.0], ["0", "0"]),
     ([12345.6, 2.5], ["12345.6", "2.5"]), (["tube", None], ["tube", ""]), ([2, 3], ["2", "3"])],
)  # fmt: skip
def test_a_column_has_equal_decimals_and_hides_no_small_number(column, words):
    assert numbers(column) == words


def test_a_metric_has_equal_decimals_too():
    assert scores([(25.0, 20.0, 30.0), (0.42, 0.1, 0.8)]) == ["25.0 [20.0, 30.0]", "0.4 [0.1, 0.8]"]
    assert scores([(0.42, 0.1, 0.8), (None, None, None)]) == ["0.420 [0.100, 0.800]", ""]


def test_markdown_leaves_what_cannot_act_as_people_read_it():
    for text in ("mask_ratio", "26.5 [+10.2, +42.8]", "a_b_c 12 [3, 4]"):
        assert markdown(text) == text
    assert markdown("_a_ [x](y) [1, 2](z) [1, 2]: http") == r"\_a\_ \[x\](y) \[1, 2\](z) \[1, 2\]: http"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "0"), (0.25, "0.25"), (41.2345, "41.23"), (123456.7, "123457"), (1e-7, "1e-07"),
     (float("nan"), "nan"), (True, "True"), (3, "3"), ("tube", "tube"), (-0.0312, "-0.0312")],
)  # fmt: skip
def test_numbers_have_about_four_digits(value, text):
    assert number(value) == text


def test_heads_that_would_be_the_same_keep_their_names():
    heads = {"a_b": "a b", "a__b": "a b", "c": "d", "e": "c"}
    assert distinct(heads) == {"a_b": "a_b", "a__b": "a__b", "c": "d", "e": "e"}


def test_markdown_shows_names_as_they_are():
    table = pl.DataFrame({"a|b": ["x_y*z", "<script>"], "n": [1.5, 20.0]})
    assert to_markdown(table).splitlines() == [
        r"| a\|b      |    n |",
        r"| --------- | ---: |",
        r"| x_y\*z    |  1.5 |",
        r"| \<script> | 20.0 |",
    ]


def test_csv_has_no_ends_of_binary_fractions_and_runs_no_formula():
    table = pl.DataFrame({"name": ["=1+1", "@x", "plain, quoted"], "value": [0.1 + 0.2, -1.0, None]})
    assert to_csv(table) == "name,value\n'=1+1,0.3\n'@x,-1.0\n\"plain, quoted\",\n"


def test_an_empty_table_has_a_head():
    assert to_text(pl.DataFrame({"a": [], "b": []})).splitlines() == ["a    b", "---  ---"]
