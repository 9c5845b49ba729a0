"""The view Compare over several studies: one table and picture, paired where they can be, else said so."""

import json

import pytest
from reading import said
from synthetic import BASE, QUERIES, RATIOS, grid, key_of, write_study

from app import store


@pytest.fixture
def two(results):
    """Two studies of the same axes, of which the second is better by about ten points."""

    def write(cells=RATIOS, **options):
        write_study(results, "first", RATIOS, (0, 1, 2), baseline=BASE, spread=0.5)
        given = {"quality": lambda axes: 50.0, "baseline": cells[0], "spread": 0.5}
        write_study(results, "second", cells, (1, 2, 3), **(given | options))

    return write


@pytest.fixture
def joint(opened):
    """Opens Compare over the first study and others."""

    def run(*others, **address):
        return opened(study="first", view="compare", studies=list(others), **address)

    return run


def read(page):
    return said(page).replace("\\", "").replace("\u2060", "")


def every_cell(page):
    return next(frame.value for frame in page.dataframe if "study" in frame.value.columns)


def test_cells_with_the_same_choices_are_paired_in_one_table_and_picture(two, joint):
    two()
    page = joint("second")
    assert not page.exception
    words = read(page)
    assert "first and second were asked the same queries of the same data" in words
    assert "6 cells with the same choices are paired by seed and query" in words
    assert "python -m workbench.report first second" in words
    table = every_cell(page)
    assert table["study"].tolist() == ["first"] * len(RATIOS) + ["second"] * len(RATIOS)
    assert table["difference"].notna().tolist() == [False] * len(RATIOS) + [True] * len(RATIOS)
    assert 5 < table["difference"].mean() < 15
    assert len(page.get("plotly_chart")) == 2


def test_studies_that_were_asked_other_queries_are_said_to_be_unpaired(two, joint, results):
    two(asked_of=([f"p{i}" for i in range(QUERIES)], [f"c{i}" for i in range(QUERIES)]))
    write_study(results, "third", RATIOS, (0, 1, 2), baseline=BASE, quality=lambda axes: 20.0)
    page = joint("second", "third")
    assert not page.exception
    words = read(page)
    assert "first and second are unpaired: they were asked other queries of the same data" in words
    assert "first and third were asked the same queries" in words
    table = every_cell(page)
    assert set(table[table["difference"].notna()]["study"]) == {"third"}
    assert len(table) == 3 * len(RATIOS)


def test_the_choice_is_in_the_address_and_taking_it_back_leads_to_the_cells(two, opened):
    two()
    page = opened(study="first", view="compare")
    assert "Baseline" in [box.label for box in page.selectbox]
    page.multiselect(key="address: studies").set_value(["second"]).run()
    assert page.query_params["studies"] in ("second", ["second"])
    assert len(every_cell(page)) == 2 * len(RATIOS)
    page.multiselect(key="address: studies").set_value([]).run()
    assert "studies" not in page.query_params
    assert "Baseline" in [box.label for box in page.selectbox]


def test_another_metric_that_all_have_is_followed(two, joint):
    two()
    page = joint("second", metric="stage0_t2v_r1")
    assert not page.exception
    assert "Text-to-video R@1 (%) after stage 0" in read(page)


def test_a_marked_cell_leads_to_the_runs_of_its_study(two, joint):
    two()
    page = joint("second", marked=f"second/{key_of(RATIOS[2])}")
    assert f"?study=second&view=runs&filter={key_of(RATIOS[2])}" in read(page)


def test_a_run_that_ends_in_the_other_study_counts(two, joint, results, monkeypatch):
    monkeypatch.setattr(store, "REFRESH", 0.0)
    two(skip={(5, 3)})
    before = every_cell(joint("second"))["seeds"].tolist()[-1]
    write_study(
        results, "second", RATIOS, (1, 2, 3), quality=lambda axes: 50.0, baseline=RATIOS[0], spread=0.5
    )
    assert (before, every_cell(joint("second"))["seeds"].tolist()[-1]) == (2, 3)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ("nothing", "The address asks for studies"),
        ("first", "The address asks for studies"),
        ("empty", "No run of study 'empty' is complete yet"),
        ("found", "Study found is a search"),
        ("damaged", "study.json"),
        ("named", "Study named has an axis 'study' of its own"),
    ],
)
def test_what_cannot_stand_in_one_table_is_one_sentence(two, joint, results, other, sentence):
    two()
    write_study(results, "empty", RATIOS, ())
    write_study(results, "found", RATIOS, (0,), trials=6)
    write_study(results, "named", grid(study=["a", "b"]), (0,))
    write_study(results, "damaged", RATIOS, (0,))
    (results / "runs/damaged/study.json").write_text(json.dumps({"study": 3}))
    page = joint(other)
    assert not page.exception
    assert sentence in read(page)


def test_one_study_alone_is_not_asked_for_others(results, opened):
    write_study(results, "first", RATIOS, baseline=BASE)
    page = opened(study="first", view="compare")
    assert "Other studies" not in [box.label for box in page.multiselect]
