"""Curves over budgets in an answer: sentences, tables of the page, the picture, and what is missing."""

import pytest
from synthetic import grid, write_study

from workbench.answer.scaling import curves
from workbench.errors import UserError
from workbench.report import pictures
from workbench.report.__main__ import main
from workbench.report.page import CROSSINGS, ORDER, OVER, page
from workbench.study.spec import Study

CELLS = grid(pflops=[0.005, 0.01, 0.02, 0.04], ratio=[0.5, 0.9])
RISE = {0.5: (5, 20, 45, 70), 0.9: (30, 45, 60, 50)}


def quality(axes):
    return RISE[axes["ratio"]][(0.005, 0.01, 0.02, 0.04).index(axes["pflops"])]


@pytest.fixture
def written(results):
    def write(**more):
        given = {"baseline": CELLS[0], "within": ["pflops"], "over": "pflops", "quality": quality} | more
        write_study(results, "ratios", CELLS, (0, 1, 2, 3), spread=1.0, **given)
        return results

    return write


SAYS = {"pflops": "{value} PFLOPs", "ratio": "{share} video hidden"}
HALF, MOST = "50 % of the video hidden", "90 % of the video hidden"


def test_the_answer_says_which_is_best_where_curves_cross_and_what_is_foretold(written, answered):
    written(says=SAYS)
    found = answered().scaling
    said = " ".join(found.sentences)
    assert f"0.005 PFLOPs: {MOST} (no other may be it)" in said
    assert f"0.04 PFLOPs: {HALF} (no other may be it)" in said
    assert f"the curves of {HALF} and {MOST} cross at 0.02" in said
    assert "0 % of the pairs stand at 0.005 PFLOPs in the order that they have at 0.04 PFLOPs" in said
    rows = curves.curve_rows(found)
    assert rows.height == 8
    assert rows.filter(arm=HALF)["mean"].to_list() == pytest.approx(RISE[0.5], abs=4)
    assert (rows["low"] < rows["mean"]).all()
    table = curves.curve_table(found)
    assert table.columns == ["budget", HALF, MOST, "best", "may be the best"]
    assert table["best"].to_list()[:2] == [MOST, MOST]
    assert table["budget"][-1] == "what a doubling brings"


def test_the_page_has_tables_that_are_checked_and_a_picture_over_doublings(
    written, answered, results, capsys
):
    written(says=SAYS)
    answer = answered()
    text = page(answer, ())
    assert all(f"## {heading}" in text for heading in (OVER, CROSSINGS, ORDER))
    picture = pictures.scaling(answer)
    assert [len(trace.x) for trace in picture.moving.data] == [4, 4]
    steps = [b - a for a, b in zip(picture.moving.data[0].x, picture.moving.data[0].x[1:], strict=False)]
    assert steps == pytest.approx([1, 1, 1]), "a doubling is a step"
    assert picture.drawn() is not None
    assert main(["ratios", "--results", str(results)]) == 0
    folder = results / "reports" / "ratios"
    assert {"scaling.csv", "scaling.png", "scaling.pdf"} <= {file.name for file in folder.iterdir()}
    saved = folder / "answer.md"
    assert main(["ratios", "--results", str(results), "--check", str(saved)]) == 0
    lines = saved.read_text().split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("| 0.02 PFLOPs"))
    lines[at] = lines[at].replace("[", "[9", 1)
    saved.write_text("\n".join(lines))
    capsys.readouterr()
    assert main(["ratios", "--results", str(results), "--check", str(saved)]) == 1
    assert OVER in capsys.readouterr().out


def test_without_every_cell_there_is_a_sentence_and_no_curve(written, answered):
    written(skip=[(3, seed) for seed in range(4)])
    found = answered().scaling
    assert found.grid is None
    assert found.sentences == [
        "There are no curves over training PFLOPs yet: "
        "ratio=0.9 at 0.01 has no complete run that can be compared."
    ]
    assert pictures.scaling(answered()) is None
    assert OVER in page(answered(), ())


def test_a_study_without_an_axis_of_budgets_has_none(ratios, answered):
    ratios()
    assert answered().scaling is None
    assert OVER not in page(answered(), ())


def test_over_is_an_axis_of_within():
    with pytest.raises(UserError, match="over must be one of a study's within"):
        Study(question="?", configure=lambda trial: None, over="pflops")
