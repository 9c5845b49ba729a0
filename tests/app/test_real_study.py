"""Every view over a study that really ran, whole and with gaps."""

import json
import os
import shutil
from pathlib import Path

import pytest
from reading import said

pytestmark = pytest.mark.timeout(1200)  # the first test waits for the smoke study
VIEWS = sorted(p.stem for p in (Path(__file__).parents[2] / "app/views").glob("*.py") if p.stem != "__init__")


def complete(runs):
    pass


def partial(runs):
    """One run is missing, one still runs."""
    shutil.rmtree(runs[0])
    _set(runs[1], state="running")


def failed(runs):
    _set(runs[0], state="failed", failure="not_finite", reason="the loss vtc is not finite at step 5")
    runs[0].joinpath("summary.json").unlink()


def _set(run, **changes):
    status = json.loads(run.joinpath("status.json").read_text())
    run.joinpath("status.json").write_text(json.dumps(status | changes))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("state", [complete, partial, failed], ids=lambda state: state.__name__)
def test_every_view_shows_it(smoke_results, results, opened, view, state):
    shutil.copytree(smoke_results / "runs", results / "runs")
    shutil.copytree(smoke_results / "data", results / "data", copy_function=os.link)
    state(sorted(path for path in (results / "runs/mask_ratio").iterdir() if path.is_dir()))
    page = opened(view=view)
    assert not page.exception, page.exception[0].value
    assert not page.error, page.error[0].value
    assert page.header
    assert page.dataframe or len(said(page)) > 100
    assert len(page.get("image")) >= {"masks": 8}.get(view, 0)
    assert len(page.get("video")) >= {"masks": 1, "retrieval": 5}.get(view, 0)
