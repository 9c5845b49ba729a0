"""The shell: every view over every state of a store, and the address as the source of truth."""

from pathlib import Path

import pytest
from reading import said

ROOT = Path(__file__).parents[2]
VIEWS = sorted(p.stem for p in (ROOT / "app/views").glob("*.py") if p.stem != "__init__")
STATES = {
    "complete": {},
    "partial": {"skip": {(1, 2), (2, 0), (2, 1), (2, 2)}},
    "one seed": {"seeds": (0,)},
    "failed": {"failed": {(0, 1), (3, 0), (3, 1), (3, 2)}},
    "nothing done": {"failed": {(i, seed) for i in range(6) for seed in range(3)}},
    "no runs": {"skip": {(i, seed) for i in range(6) for seed in range(3)}},
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("state", STATES)
def test_every_view_opens_over_every_state_of_a_store(ratios, opened, view, state):
    ratios(**STATES[state])
    page = opened(view=view)
    assert not page.exception, page.exception[0].value
    assert page.radio(key="address: view").value == view
    assert not page.warning, page.warning[0].value


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_store_says_which_command_to_run(opened, view):
    page = opened(view=view)
    assert not page.exception
    assert "python -m workbench.study mask_ratio --smoke" in said(page)


def test_a_view_that_does_not_exist_falls_back_with_one_sentence(ratios, opened):
    ratios()
    page = opened(view="<script>alert(1)</script>", study="../../etc")
    assert not page.exception
    assert len(page.warning) == 1
    assert "study" in page.warning[0].value
    assert "view" not in page.query_params


def test_the_address_says_what_the_widgets_show(ratios, opened):
    ratios()
    page = opened()
    assert page.radio(key="address: view").value == "study"
    page.radio(key="address: view").set_value(VIEWS[-1]).run()
    assert page.query_params.get("view", ["study"]) == [VIEWS[-1]]
    assert opened(view=VIEWS[-1]).radio(key="address: view").value == VIEWS[-1]
