"""The dashboard over stores that are written in a moment, run without a browser."""

import os
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from synthetic import BASE, RATIOS, write_study
from trained import train_recipes, train_study

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def ratios(results):
    """Writes the study `ratios`: 3 x 2 cells; options as of `write_study`."""

    def write(seeds=(0, 1, 2), cells=RATIOS, **options):
        given = {"quality": lambda axes: 30 + 30 * (axes["video_ratio"] > 0), "baseline": BASE, "steps": 40}
        write_study(results, "ratios", cells, seeds, **(given | options))
        return results

    return write


@pytest.fixture
def opened(results, monkeypatch):
    """Opens the dashboard at an address: opened(view="effects", cells=["a", "b"]); with parts unfolded."""
    monkeypatch.setenv("WORKBENCH_RESULTS", str(results))

    def run(unfolded=(), **address):
        page = AppTest.from_file(str(ROOT / "app/dashboard.py"), default_timeout=60)
        for title in unfolded:
            page.session_state[f"part: {title}"] = True
        for name, value in address.items():
            page.query_params[name] = value
        return page.run()

    return run


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """A really trained study with its clips, shared by all tests: read only."""
    return train_study(tmp_path_factory.mktemp("trained") / "results")


@pytest.fixture
def trained(trained_once, results):
    """A copy of that study that a test may spoil; its clips are links to the shared ones."""
    shutil.copytree(trained_once, results, copy_function=os.link)
    return results


@pytest.fixture(scope="session")
def recipes_once(tmp_path_factory):
    """A really trained study of several recipes, shared by all tests: read only."""
    return train_recipes(tmp_path_factory.mktemp("recipes") / "results")


@pytest.fixture
def recipes(recipes_once, results):
    """A copy of that study that a test may spoil; its clips are links to the shared ones."""
    shutil.copytree(recipes_once, results, copy_function=os.link)
    return results
