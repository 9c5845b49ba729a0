"""The contract of every data set, found by itself."""

import csv
import functools
import subprocess
import sys
from pathlib import Path

import benchmark_files
import numpy as np
import pytest
from small import run_config

from workbench import data as datasets
from workbench.config import DataConfig
from workbench.data import describe, names, prepare
from workbench.data.decode import encode
from workbench.data.shards.write import shard
from workbench.errors import UserError
from workbench.study.plan import Options, make_plan
from workbench.study.spec import Study
from workbench.testing import dataset_contract

ROOT = Path(__file__).parents[1]


def own_videos(path):
    """A folder of eight videos, each of another brightness."""
    path.mkdir()
    rows = [("video", "caption", "split")]
    for number, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        frames = (
            np.full((8, 32, 32, 3), 30 + 25 * number, np.uint8)
            + np.arange(8, dtype=np.uint8)[:, None, None, None]
        )
        encode(path / f"{number}.mp4", frames, rate=8, crf=20)
        rows.append((f"{number}.mp4", f"clip number {number}", split))
    with open(path / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def shards(path):
    """The same as shards."""
    shard(own_videos(path), path / "set", clips=3, progress=False)
    return str(path / "set")


SOURCES = {"folder": own_videos, "shards": shards} | {
    name: functools.partial(benchmark_files.made, name) for name in benchmark_files.FORMS
}
"""How to make a source for the data sets that need one."""

TestEveryDataSet = dataset_contract(*(name for name in names() if "-" not in name), source=SOURCES)


def test_the_scan_finds_the_data_sets_we_know():
    assert {"moving_shapes", "folder"} <= set(names())


def test_an_unknown_data_set_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UserError, match="moving_shapes"):
        prepare(DataConfig(name="nonsense"), root=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A second folder of `workbench.data`, to put data sets in; and what is known of the others forgotten."""
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path)])
    datasets._places.cache_clear()
    yield tmp_path
    datasets._places.cache_clear()


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"raise RuntimeError('not to be loaded')\n{text}")


FUNCTIONS = "def index(data, source, digests): ...\ndef videos(index, source, cache, progress): ...\n"


def test_a_data_set_is_found_at_any_depth_by_its_functions(elsewhere):
    written(elsewhere / "worlds" / "deep" / "one.py", FUNCTIONS)
    written(elsewhere / "package" / "__init__.py", FUNCTIONS)
    written(elsewhere / "package" / "part.py", "def index(data): ...")
    assert {"one", "package"} <= set(names())
    assert {"part", "deep", "worlds", "__init__"} & set(names()) == set()


OWN = """
import hashlib
from pathlib import Path
from workbench.data.index import Clip, Index

SOURCE = "films"

def index(data, source, digests):
    clips = tuple(Clip(id=s, path=s, split=s, captions=(s,)) for s in ("train", "val", "test"))
    return Index(digest=hashlib.sha256(Path(source).read_bytes()).hexdigest(), clips=clips)

def videos(index, source, cache, progress): ...
"""


def test_any_data_set_may_take_a_path(elsewhere):
    (elsewhere / "films.py").write_text(OWN)
    place = elsewhere / "list.txt"
    place.write_text("a list of films")
    study = Study(question="?", configure=lambda trial: run_config())
    found = make_plan(study, Options(data=f"films:{place}"), elsewhere).cells[0].config
    assert found.data.name == "films"
    assert found.data.digest == describe(DataConfig(name="films"), str(place)).data.digest
    assert str(place) not in found.to_json()
    for missing in ("films", "films:"):
        with pytest.raises(UserError, match="films need a place: --data films:PATH"):
            make_plan(study, Options(data=missing), elsewhere)
    del sys.modules["workbench.data.films"]


def test_two_data_sets_of_one_name_are_refused(elsewhere):
    written(elsewhere / "worlds" / "folder.py", FUNCTIONS)
    with pytest.raises(ValueError, match=r"workbench\.data\.folder and workbench\.data\.worlds\.folder"):
        names()


def test_listing_the_data_sets_loads_no_decoder():
    code = "import sys, workbench.data as d; d.names(); print(*{'av', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
