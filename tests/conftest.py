"""Fixtures that every test may use. What needs torch imports it where it is used."""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A frame store of random clips, 4 frames of 16 x 16, shared by all tests: read only."""
    from small import write_store

    return write_store(tmp_path_factory.mktemp("store") / "frames-4x16")


@pytest.fixture(scope="session")
def vocabulary(store):
    """The tokenizer of the random store's captions, with the further words that any recipe asks for."""
    from small import recipe_module, recipe_names

    from workbench.models.text import TextConfig
    from workbench.models.text import vocabulary as train

    texts = [recipe_module(name).Config().text for name in recipe_names()]
    words = tuple(dict.fromkeys(word for text in texts for word in text.words))
    return train(store.splits["train"].captions, TextConfig(words=words))


@pytest.fixture
def batch(store, vocabulary):
    """Eight clips with a caption each."""
    import torch

    from workbench.recipe.batch import Batch

    video = torch.from_numpy(store.frames[:8].copy())
    part = store.splits["train"]
    first = [int((part.clips == clip).argmax()) for clip in range(8)]
    return Batch.of(video, vocabulary.encode([part.captions[row] for row in first]))


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
