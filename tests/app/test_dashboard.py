"""The shell: every view over every state of a store, and the address as the source of truth."""

import json
import shlex
from pathlib import Path

import pytest
from reading import said
from streamlit.testing.v1 import AppTest

from workbench.tracking.__main__ import main as tracking
from workbench.tracking.archive import archive

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


def test_an_archive_in_the_place_of_a_folder_is_answered_with_commands_that_show_it(
    ratios, tmp_path, monkeypatch
):
    file = tmp_path / "some runs.zip"
    archive(ratios(), ["ratios"], file)
    monkeypatch.setenv("WORKBENCH_RESULTS", str(file))
    monkeypatch.chdir(tmp_path)
    page = _page()
    assert "No runs yet" not in said(page)
    unpack, show = (shlex.split(code.value) for code in page.code)
    assert unpack[:3] == ["python", "-m", "workbench.tracking"]
    assert tracking(unpack[3:]) == 0
    assert show[:2] == ["streamlit", "run"]
    monkeypatch.setenv("WORKBENCH_RESULTS", show[-1])
    page = _page()
    assert page.selectbox(key="address: study").value == "ratios"


def test_a_file_that_is_no_archive_is_refused_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("nothing")
    monkeypatch.setenv("WORKBENCH_RESULTS", str(tmp_path / "notes.txt"))
    page = _page()
    assert "not an archive of runs" in said(page)
    assert not page.code


@pytest.mark.parametrize("view", ["masks", "predictions"])
def test_clips_that_are_not_here_come_with_the_command_that_makes_them(ratios, opened, view):
    results = ratios()
    data = {"name": "moving_shapes", "digest": "d" * 12, "frames": 8, "size": 64}
    for path in results.glob("runs/ratios/*/config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data": data}))
    page = opened(view=view)
    assert not page.exception, page.exception[0].value
    words = said(page).replace("\\", "")
    assert "this makes the clips ready, and then the runs that are missing here" in words
    assert f"python -m workbench.study ratios --results {results}" in words


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


def _page():
    """The dashboard over whatever the environment names."""
    return AppTest.from_file(str(ROOT / "app/dashboard.py"), default_timeout=60).run()
