"""Faults on real studies: every test here bears the marker `fault`."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "study"))  # studies whose runs take a moment: `fake_train`
from postgres import programs, server
from real import Study
from study.conftest import command, place, study, write_study  # noqa: F401

from workbench.config import DataConfig
from workbench.data import prepare


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fault)


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Real H.264 clips, prepared once: the data that `studies/tiny.py` asks for."""
    root = tmp_path_factory.mktemp("clips")
    prepare(DataConfig(clips=64, frames=4, size=32), root=root, progress=False)
    return root


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, clips):
    """The study as it ends when nothing happens to it."""
    left_alone = Study(tmp_path_factory.mktemp("undisturbed") / "results", clips)
    assert left_alone.run() == 0, left_alone.log
    return left_alone


@pytest.fixture
def tiny(tmp_path, clips):
    """The study with nothing done yet; what it has started ends with the test."""
    killed = Study(tmp_path / "results", clips)
    yield killed
    if killed.process is not None and killed.process.poll() is None:
        killed.kill("runner", "fork_server", "run")


@pytest.fixture(scope="session")
def postgres_server():
    """A real PostgreSQL server; skips where none is installed."""
    if (found := programs()) is None:
        pytest.skip("PostgreSQL is not installed")
    with server(found) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql(postgres_server):
    """Address of its database."""
    return postgres_server.address
