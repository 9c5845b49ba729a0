"""The address: what moves stands in it, equal words are told apart, and only a person's address is judged."""

import json
import os
import shutil

import pytest
from reading import said
from synthetic import BASE, RATIOS, key_of, write_study

from app.address import distinct
from app.dashboard import _latest

OTHER = RATIOS[4]


def given(page, name):
    found = page.query_params.get(name, [])
    return found if isinstance(found, list) else [found]


def test_the_study_is_in_the_address_and_stays_when_another_is_asked(ratios, results, opened):
    write_study(results, "older", RATIOS, (0,), baseline=BASE)
    os.utime(results / "runs/older/study.json", (1, 1))
    ratios()
    (results / "runs/older/cache").mkdir()  # whoever reads a study changes its folder
    page = opened()
    assert given(page, "study") == ["ratios"]
    os.utime(results / "runs/older/study.json")
    page.run()
    assert page.selectbox(key="address: study").value == "ratios"
    assert opened().selectbox(key="address: study").value == "older"


def test_a_study_that_vanishes_is_not_looked_for(ratios, results):
    ratios(seeds=(0,))
    assert _latest(results, ("gone", "ratios")) == "ratios"
    shutil.rmtree(results / "runs")
    assert _latest(results, ("gone", "ratios")) in ("gone", "ratios")


@pytest.mark.parametrize(
    ("view", "names"),
    [("compare", ["cells"]), ("cost", ["budget_step"]), ("retrieval", ["cell", "seed"]), ("masks", ["cell"])],
)
def test_defaults_that_move_with_the_data_stand_in_the_address(ratios, opened, view, names):
    ratios()
    page = opened(view=view)
    assert not page.exception
    assert all(given(page, name) for name in names)
    assert not page.warning


def test_such_a_default_does_not_follow_into_another_view_but_a_choice_does(ratios, opened):
    ratios()
    page = opened(view="compare")
    assert len(given(page, "cells")) == 1
    page.radio(key="address: view").set_value("curves").run()
    assert len(page.multiselect(key="address: cells").value) > 1
    page.radio(key="address: view").set_value("compare").run()
    page.multiselect(key="address: cells").set_value([key_of(OTHER), key_of(RATIOS[2])]).run()
    page.radio(key="address: view").set_value("curves").run()
    assert page.multiselect(key="address: cells").value == [key_of(OTHER), key_of(RATIOS[2])]


def test_words_are_told_apart():
    assert distinct({"a": "one", "b": "two", "c": "one"}) == {"a": "one · a", "b": "two", "c": "one · c"}


def test_two_plans_with_the_same_labels_are_told_apart(ratios, results, opened):
    ratios(seeds=(0,))
    for run in sorted((results / "runs/ratios").glob(f"{key_of(BASE)}-s0")):
        other = run.with_name("f" * 12 + "-s0")
        shutil.copytree(run, other)
        record = json.loads(other.joinpath("run.json").read_text())
        other.joinpath("run.json").write_text(json.dumps(record | {"key": "f" * 12}))
    for key, mark in ((key_of(BASE), ""), ("f" * 12, " (of another plan)")):
        box = opened(view="retrieval", cell=key).selectbox(key="address: cell")
        assert box.value == key
        assert box.format_func(box.value) == f"video_ratio=0.0 text_ratio=0.0{mark}"
    page = opened(view="runs", run="f" * 12 + "-s0")
    box = page.selectbox(key="address: run")
    assert box.value == "f" * 12 + "-s0"
    assert len(set(box.options)) == len(box.options)


def test_a_query_that_no_longer_fits_goes_without_a_word(ratios, opened):
    ratios()
    page = opened(view="compare", cells=key_of(OTHER), page="3")
    assert not page.warning
    page.selectbox(key="address: baseline").set_value(key_of(RATIOS[1])).run()
    page.query_params["right"] = "neither"
    page.query_params["page"] = "3"
    page.run()
    assert not page.warning
    assert "is left out" in opened(view="compare", page="999").warning[0].value


def test_links_carry_no_leftovers(ratios, opened):
    ratios()
    page = opened(view="compare", cells=key_of(OTHER), clock="pflops", filter="x", page="2", right="neither")
    links = [m.value for m in page.markdown if "rank **" in m.value]
    assert links
    assert all(name not in links[0] for name in ("clock=", "filter=", "page=", "right="))
    assert all(name in links[0] for name in ("study=ratios", "view=retrieval", "cell=", "query="))


def test_the_baseline_alone_is_no_study_of_one_cell(ratios, opened):
    ratios()
    words = said(opened(view="compare", cells=key_of(BASE)))
    assert "Choose a cell besides the baseline" in words
    assert "only one" not in words


def test_cells_that_do_not_fit_are_counted(results, opened):
    cells = [{"ratio": i / 10} for i in range(9)]
    write_study(results, "many", cells, (0, 1), baseline=cells[0], steps=8)
    page = opened(view="compare", cells=[key_of(cell) for cell in cells[1:]])
    assert "the first 6 of the 8 in the address are shown" in page.warning[0].value
    assert len(page.multiselect(key="address: cells").value) == 6


def test_a_copied_link_carries_no_defaults_into_another_view(ratios, opened):
    """Who opens it has not seen how the address came about; the address itself says what nobody chose."""
    ratios()
    page = opened(view="compare")
    assert given(page, "auto") == ["cells"]
    page = opened(view="compare", cells=given(page, "cells"), auto="cells")
    page.radio(key="address: view").set_value("effects").run()
    assert given(page, "cells") == given(page, "auto") == []
    page = opened(view="compare", cells=key_of(OTHER))
    page.radio(key="address: view").set_value("effects").run()
    assert given(page, "cells") == [key_of(OTHER)]


def test_names_of_defaults_go_once_they_are_chosen_and_do_no_harm(ratios, opened):
    ratios()
    page = opened(view="compare", auto=["cells", "<script>", "study"])
    chosen = [key_of(RATIOS[2]), key_of(OTHER)]
    page.multiselect(key="address: cells").set_value(chosen).run()
    assert "cells" not in given(page, "auto")
    page.radio(key="address: view").set_value("effects").run()
    assert given(page, "study") == ["ratios"]
    assert given(page, "cells") == chosen
    assert not page.exception
