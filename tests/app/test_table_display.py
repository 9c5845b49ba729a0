"""Tables on the page: numbers sort as numbers, and no export of them runs in a spreadsheet."""

import polars as pl
from synthetic import grid, key_of, write_study

from app.filtering import narrowed
from app.table_display import harmless, sortable

HOSTILE = ["=cmd|' /C calc'!A0", "+1+cmd|x", "-2+3", "@sum(A1)", "\t=1", "-1 [0] =cmd"]
NUMBERS = ["+1.2 [-0.3, 2.7] ↑", "-0.5", "-0.5 [-1.0, 0.1]†", "+12.0 ↓ †"]


def test_numbers_in_words_become_numbers_and_keep_their_look():
    words = pl.DataFrame({
        "axis": ["0.5", "0.9", "0.75"], "metric": ["9.8 [7.0, 12.1]", "41.2 [38.0, 44.3]", ""],
        "difference": ["", *NUMBERS[:1], "-0.5 [-1.0, 0.1]†"], "seeds": ["3", "10", "3"],
        "share": ["37 %", "5 %", "100 %"], "strategy": ["tube", "3", "4"], "key": ["123456789012"] * 3,
    })  # fmt: skip
    table, forms = sortable(words)
    assert table.sort("metric", descending=True, nulls_last=True)["metric"].to_list() == [41.2, 9.8, None]
    assert table["metric: interval"].to_list() == ["[7.0, 12.1]", "[38.0, 44.3]", ""]
    assert table["difference"].to_list() == [None, 1.2, -0.5]
    assert table["difference: interval"].to_list() == ["", "[-0.3, 2.7] ↑", "[-1.0, 0.1]†"]
    assert table["seeds"].sort().to_list() == [3, 3, 10]
    assert table["share (%)"].to_list() == [37, 5, 100]
    assert table["strategy"].to_list() == ["tube", "3", "4"]
    assert table["key"].to_list() == words["key"].to_list()
    formats = {name: form["type_config"]["format"] for name, form in forms.items()}
    assert formats == {"axis": "%.4g", "metric": "%.1f", "difference": "%+.1f", "seeds": "%.0f",
                       "share (%)": "%.0f"}  # fmt: skip


def test_formulas_are_disarmed_and_numbers_are_not():
    table = harmless(pl.DataFrame({"=name": HOSTILE, "n": list(range(len(HOSTILE)))}))
    assert table.columns == ["'=name", "n"]
    assert table["'=name"].to_list() == ["'" + word for word in HOSTILE]
    assert harmless(pl.DataFrame({"x": NUMBERS}))["x"].to_list() == NUMBERS


def test_no_table_of_a_hostile_study_starts_a_formula(results, opened):
    cells = grid(**{"=cmd()": ["=1+1", "@x", "-2+3"], "ratio": [0.0, 0.5]})
    write_study(results, "hostile", cells, baseline=cells[0], steps=8)
    for view in ("study", "effects", "compare", "cost", "runs"):
        page = opened(
            ["The numbers", "Every cell and seed"], view=view, cells=[key_of(cell) for cell in cells[1:4]]
        )
        assert not page.exception
        words = [w for t in page.dataframe for c in t.value for w in [c, *t.value[c]] if isinstance(w, str)]
        assert words
        assert [word for word in words if word.startswith(("=", "@", "-2+3"))] == []


def test_a_condition_is_on_a_column_of_numbers():
    table = pl.DataFrame({"run": ["a", "b", "c"], "metric.test/t2v_r1": [50.0, 30.0, None],
                          "metric.val/t2v_r1": [0.0, 60.0, 0.0], "axis.ratio": [0.1, 0.2, 0.3]})  # fmt: skip

    def runs(text):
        found, sentences = narrowed(table, text, ["run"])
        return found["run"].to_list(), [
            sentence.split(" is not a complete")[0].split("called ")[-1] for sentence in sentences
        ]

    assert runs("r1 > 40") == (["a"], [])
    assert runs("t2v_r1<=30 b") == (["b"], [])
    assert runs("ratio >= 0.2") == (["b", "c"], [])
    assert runs("nothing > 1 c") == (["c"], ["nothing; this condition is ignored."])
    assert runs("run > 1") == (["a", "b", "c"], ["run; this condition is ignored."])
    assert runs("r1 >") == (["a", "b", "c"], ["r1 >"])
    assert runs("b r1 > forty") == (["b"], ["r1 > forty"])
    assert runs("> 40 r1 > 40") == (["a"], ["> 40"])
