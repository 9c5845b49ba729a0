"""Several studies in one report: one table, cells with the same choices compared where they can be paired."""

import json
import re

import pytest
from synthetic import BASE, QUERIES, RATIOS, grid, key_of, write_study

from workbench.answer.joint.studies import together
from workbench.answer.results import answer
from workbench.answer.study_record import load

SEVERAL = ("first", "second")


@pytest.fixture
def two(results):
    """Two studies of the same axes, of which the second is better by about ten points."""

    def write(cells=RATIOS, **options):
        write_study(results, "first", RATIOS, (0, 1, 2), baseline=BASE, spread=0.5)
        given = {"quality": lambda axes: 50.0, "baseline": cells[0], "spread": 0.5}
        write_study(results, "second", cells, (1, 2, 3), **(given | options))
        return results

    return write


def edit(results, study, file, **values):
    for path in (results / "runs" / study).glob(f"*/{file}"):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_cells_with_the_same_choices_are_paired(two):
    found = together(SEVERAL, two())
    assert found.cells.height == 2 * len(RATIOS)
    assert set(found.cells["study"]) == set(SEVERAL)
    assert set(found.comparisons) == {f"second/{key_of(axes)}" for axes in RATIOS}
    for c in found.comparisons.values():
        assert c.seeds == (1, 2)
        assert c.clusters == QUERIES
        assert 5 < c.effect < 15
        assert c.winner is None
    assert found.sentence.startswith(
        f"first and second were asked the same queries of the same data ({'d' * 12}), so 6 cells with the "
        "same choices are paired by seed and query."
    )
    assert found.caveats


def test_a_cell_has_the_numbers_of_its_own_report(two):
    results = two()
    found = together(SEVERAL, results)
    for study in SEVERAL:
        own = answer(load(results, study), results).cells
        mine = found.cells.filter(study=study)
        assert mine.select("test/t2v_r1", "low", "high", "seeds").equals(
            own.select("test/t2v_r1", "low", "high", "seeds")
        )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda results: edit(results, "second", "environment.json", data_digest="e" * 64), "on other data"),
        (
            lambda results: edit(results, "second", "environment.json", data_digest=""),
            "do not note which data",
        ),
        (None, "other queries of the same data"),
    ],
)
def test_studies_that_cannot_be_paired_stand_beside_each_other(two, change, why):
    other = ([f"p{i}" for i in range(QUERIES)], [f"c{i}" for i in range(QUERIES)])
    results = two(**({} if change else {"asked_of": other}))
    if change is not None:
        change(results)
    found = together(SEVERAL, results)
    assert not found.comparisons
    assert found.sentence.startswith("first and second are unpaired: ")
    assert why in found.sentence
    assert found.cells.height == 2 * len(RATIOS)
    assert found.cells["low"].null_count() == 0


def test_without_a_shared_choice_nothing_is_compared(two):
    found = together(SEVERAL, two(cells=grid(size=["small", "large"])))
    assert not found.comparisons
    assert "no cell of one has all choices of one of the other" in found.sentence
    assert found.cells.height == len(RATIOS) + 2


def test_the_command_writes_one_report_that_is_checked(two, report, results):
    two()
    code, out, err = report(*SEVERAL)
    assert (code, err) == (0, "")
    folder = results / "reports" / "first-and-second"
    assert str(folder / "answer.md") in out
    text = (folder / "answer.md").read_text()
    assert "check: python -m workbench.report first second --check FILE" in text
    assert (folder / "sweep.pdf").exists()
    for name in ("answer.md", "table.csv", "table.tex", "numbers.tex"):
        code, out, _ = report(*SEVERAL, "--check", folder / name)
        assert code == 0, out
    number = re.search(r"(\d\d\.\d) \[", text)[1]
    (folder / "answer.md").write_text(text.replace(f"{number} [", "99.9 [", 1))
    code, out, _ = report(*SEVERAL, "--check", folder / "answer.md")
    assert code == 1
    assert "was 99.9" in out


def test_they_fit_one_page_to_send(two, report, results, tmp_path):
    two()
    file = tmp_path / "both.html"
    assert report(*SEVERAL, "--share", file)[0] == 0
    assert report(*SEVERAL, "--check", file)[0] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["first", "first"], "study 'first' is named twice"),
        (["first", "nothing"], "there are no runs of study 'nothing'"),
        (["first", "empty"], "no run of study 'empty' is complete yet"),
        (["first", "found"], "study found is a search"),
        (["first", "recall"], "first asks for t2v_r1 and recall for t2v_r5"),
        (["first", "named"], "study named has an axis 'study' of its own"),
        (["first", "second", "--asked", "budget 2x"], "--asked is for one study"),
        (["first", "second", "--rows", "video_ratio"], "make a table of one study, not of several"),
    ],
)
def test_what_makes_no_report_is_one_sentence(two, report, results, given, said):
    two()
    write_study(results, "empty", RATIOS, ())
    write_study(results, "found", RATIOS, (0,), trials=6)
    write_study(results, "recall", RATIOS, (0,), metric="t2v_r5")
    write_study(results, "named", grid(study=["a", "b"]), (0,))
    code, _, err = report(*given)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
