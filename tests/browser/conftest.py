"""A real smoke study, made once, shown by a real server in a real browser."""

import os
import shutil
from pathlib import Path

import pytest
from serving import CHROMIUM, browser, dashboard
from synthetic import BASE, RATIOS, write_study

LONGEST = "n" * 100
HOSTILE = {
    "script": "<script>window.pwned=1</script>",
    "image": "![x](http://127.0.0.1:1/x.png)",
    "latex": "$\\frac{a}{b}$ a_b & 50%",
    "formula": "=cmd|' /C calc'!A0",
}


@pytest.fixture(scope="session")
def results(smoke_results, tmp_path_factory):
    """A smoke study as the command line makes it; others of hostile names, with gaps, with a long name."""
    results = tmp_path_factory.mktemp("shown") / "results"
    shutil.copytree(smoke_results, results)
    cells = [{"name": word, "video_ratio": ratio} for word in HOSTILE.values() for ratio in (0.0, 0.9)]
    write_study(results, "hostile", cells, baseline=cells[0], steps=40, question="<b>Which</b> of $these$?")
    gaps = {"failed": {(0, 1)}, "skip": {(1, 2), (2, 2)}, "baseline": BASE, "steps": 40}
    write_study(results, "gaps", RATIOS, **gaps)
    write_study(results, LONGEST, RATIOS, seeds=(0,), baseline=BASE)
    (results / "runs" / ("n" * 250) / "run").mkdir(parents=True)  # no study can have this name
    return results


@pytest.fixture(scope="session")
def served(results, tmp_path_factory):
    """Address of the dashboard over `results`."""
    with dashboard(results, tmp_path_factory.mktemp("server") / "log") as (address, _):
        yield address


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with browser() as opened:
        yield opened


@pytest.fixture
def page(chromium):
    """A fresh session in a window of 1400 x 1000; errors in the page fail the test."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    opened = context.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors, errors


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Where screenshots are kept: `WORKBENCH_SCREENSHOTS`, or a folder of the test."""
    folder = Path(os.environ.get("WORKBENCH_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
