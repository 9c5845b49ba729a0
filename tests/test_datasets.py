"""The contract of every data set, found by itself."""

import csv
import functools
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import benchmark_files
import numpy as np
import pytest
from small import run_config

from workbench import data as datasets
from workbench.config import DataConfig
from workbench.data import describe, generated, load, names, prepare
from workbench.data.decode import encode
from workbench.data.shards.write import shard
from workbench.data.store import SPLITS, FrameStore
from workbench.errors import UserError
from workbench.study.plan import Options, make_plan
from workbench.study.spec import Study

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


@pytest.fixture(scope="module", params=[name for name in names() if "-" not in name])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def source(name, tmp_path_factory):
    make = SOURCES.get(name)
    return make(tmp_path_factory.mktemp(name) / "own") if make else None


@pytest.fixture(scope="module")
def data(name):
    return DataConfig(name=name, clips=8, frames=2, size=16)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def prepared(data, source, root):
    return FrameStore.open(prepare(data, source=source, root=root, progress=False))


def test_the_scan_finds_the_data_sets_we_know():
    assert {"moving_shapes", "folder"} <= set(names())


def test_its_module_says_what_it_is(name):
    assert inspect.getdoc(load(name))


def test_a_path_is_wanted_or_refused_in_one_sentence(name, data, source):
    with pytest.raises(UserError) as caught:
        describe(data, "somewhere" if source is None else None)
    assert f"--data {name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_has_as_many_clips_as_are_asked_for_if_it_is_generated(name, data, source):
    few, more = (describe(replace(data, clips=n), source).train_clips for n in (8, 9))
    assert (few, more) == (8, 9) if generated(name) else few == more


def test_its_digest_repeats_and_follows_the_content(data, source, prepared):
    digest = describe(data, source).data.digest
    assert digest == describe(data, source).data.digest == prepared.digest
    assert describe(replace(data, frames=1), source).data.digest == digest, "the same content, seen otherwise"


def test_every_split_has_clips_and_no_clip_is_in_two(data, source, prepared):
    assert set(prepared.splits) == set(SPLITS)
    seen = [set(prepared.splits[split].clips.tolist()) for split in SPLITS]
    assert all(seen)
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(prepared.frames)
    assert describe(data, source).train_clips == len(seen[0])


def test_captions_belong_to_their_clips_and_have_names_of_their_own(prepared):
    for part in prepared.splits.values():
        assert len(part.captions) == len(part.clips) == len(part.ids) == len(part.groups)
        assert [prepared.clip_ids[i] for i in part.clips] == part.groups
        assert all(caption.strip() for caption in part.captions)
    ids = [i for part in prepared.splits.values() for i in part.ids]
    assert len(ids) == len(set(ids))
    assert len(prepared.clip_ids) == len(set(prepared.clip_ids))


def test_its_frames_are_what_was_asked_for(data, prepared):
    assert prepared.frames.shape[1:] == (data.frames, data.size, data.size, 3)
    assert prepared.frames.dtype == np.uint8
    assert len({row.tobytes() for row in prepared.frames}) == len(prepared.frames), "clips differ"
    assert all(len(values) == len(prepared.frames) for values in prepared.attributes.values())


def test_it_is_made_once(data, source, root, prepared):
    before = (prepared.path / "frames.npy").stat().st_mtime_ns
    described = describe(data, source).data
    assert prepare(described, root=root, progress=False) == prepared.path, "its digest is enough"
    assert (prepared.path / "frames.npy").stat().st_mtime_ns == before
    assert [p.name for p in prepared.path.parent.glob("partial-*")] == []


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
