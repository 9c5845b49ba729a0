"""Fixtures that every test may use. What needs torch imports it where it is used."""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def store():
    """A frame store of random clips, 4 frames of 16 x 16, shared by all tests: read only."""
    from workbench.testing.world import small_store

    return small_store()


@pytest.fixture(scope="session")
def vocabulary():
    """The tokenizer of the random store's captions, with the further words that any recipe asks for."""
    from small import recipe_names

    from workbench.testing.world import small_vocabulary

    return small_vocabulary(*recipe_names())


@pytest.fixture
def batch(vocabulary):
    """Eight clips with a caption each."""
    from workbench.testing.world import small_batch

    return small_batch(vocabulary)


@pytest.fixture(scope="session")
def smoke_results(tmp_path_factory, worker_id):
    """The results folder of `mask_ratio --smoke`, as the command line makes it: read only, copy to change.

    Tests that run side by side share one.
    """
    base = tmp_path_factory.getbasetemp()
    results = (base if worker_id == "master" else base.parent) / "smoke" / "results"
    command = [sys.executable, "-m", "workbench.study", "mask_ratio", "--smoke", "--results", str(results)]
    done = results.with_name("done")
    with FileLock(results.parent.with_suffix(".lock")):
        if not done.exists():
            root = Path(__file__).parents[1]
            subprocess.run(command, cwd=root, check=True, timeout=900, stdout=subprocess.DEVNULL)
            done.touch()
    return results
