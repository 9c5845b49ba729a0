"""Shards of a benchmark are that benchmark: its protocol goes with them, and its val and test are whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fsspec
import pytest
from benchmark_files import annotate, didemo_data, folder_of
from benchmark_items import items
from sharded import own_folder, samples, tar_of

from workbench.config import DataConfig
from workbench.data import describe, more_tasks, prepare, read_index
from workbench.data.__main__ import main
from workbench.data.store import FrameStore
from workbench.errors import UserError

DATA = DataConfig(name="shards", frames=1, size=32)


def shards_of(place: str, into: Path) -> str:
    assert main(["shard", place, "--into", str(into), "--clips", "4"]) == 0
    return str(into)


@pytest.fixture(scope="module")
def ssv2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of clips of which several have one text."""
    path = tmp_path_factory.mktemp("ssv2")
    (path / "own").mkdir()
    return shards_of(f"ssv2:{folder_of('ssv2', path / 'own')}", path / "set")


def test_the_protocol_goes_with_shards(ssv2: str, tmp_path: Path) -> None:
    found = read_index(DATA, ssv2)
    assert found.shared
    assert any(note.startswith("protocol: a clip's label is searched") for note in found.notes)
    store = FrameStore.open(prepare(DATA, source=ssv2, root=tmp_path, progress=False))
    assert store.shared
    assert any(note.startswith("protocol:") for note in store.notes)


def test_tasks_of_a_benchmark_go_with_its_shards(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    place = shards_of(f"msvd:{folder_of('msvd', tmp_path / 'own', empty=True)}", tmp_path / "set")
    assert more_tasks("shards", place) == describe(DATA, place).tasks == ("caption_sets",)
    assert not read_index(DATA, place).shared


def test_an_earlier_list_says_nothing_until_the_command_is_called_again(ssv2: str, tmp_path: Path) -> None:
    copy = shutil.copytree(ssv2, tmp_path / "set")
    whole = json.loads((copy / "shards.json").read_text())
    digest = read_index(DATA, str(copy)).digest
    (copy / "shards.json").write_text(json.dumps({k: v for k, v in whole.items() if k != "of"}))
    assert not read_index(DATA, str(copy)).shared
    assert read_index(DATA, str(copy)).digest != digest, "another protocol is another data set"
    shards_of(f"ssv2:{Path(ssv2).parent / 'own'}", copy)
    assert read_index(DATA, str(copy)).digest == digest


def test_shards_that_are_measured_in_different_ways_are_refused(ssv2: str, tmp_path: Path) -> None:
    shutil.copytree(ssv2, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.tar").write_bytes(tar_of(samples(4)))
    with pytest.raises(UserError, match=r"of ssv2 and .*other\.tar of data that no list names are measured"):
        read_index(DATA, f"{tmp_path}/*/*.tar")


def test_the_protocol_is_read_beside_shards_at_an_address(ssv2: str) -> None:
    memory = fsspec.filesystem("memory")
    for path in Path(ssv2).iterdir():
        memory.pipe_file(f"/ssv2set/{path.name}", path.read_bytes())
    assert read_index(DATA, "memory://ssv2set").shared


@pytest.mark.parametrize("of", [5, {"data": "x"}, {"data": 5, "shared": 1, "tasks": [], "notes": []}])
def test_a_damaged_list_is_refused(ssv2: str, tmp_path: Path, of: object) -> None:
    copy = shutil.copytree(ssv2, tmp_path / "set")
    whole = json.loads((copy / "shards.json").read_text())
    (copy / "shards.json").write_text(json.dumps(whole | {"of": of}))
    with pytest.raises(UserError, match=r"shards\.json is damaged: delete it, or make the shards again"):
        read_index(DATA, str(copy))


def test_videos_of_every_suffix_can_be_read_from_shards(tmp_path: Path) -> None:
    ends = (".MTS", ".", ".null", ".3g2", ".m2ts", ".qt", ".divx", ".mov", ".weird", ".mp4")
    clips = [clip._replace(name=f"{clip.name}{end}") for clip, end in zip(items(), ends, strict=True)]
    annotate(tmp_path / "own", didemo_data(clips))
    for number, clip in enumerate(clips):
        (tmp_path / "own" / clip.name).write_bytes(bytes([number]) * 9)
    place = shards_of(f"didemo:{tmp_path / 'own'}", tmp_path / "set")
    found = read_index(DATA, place)
    assert len(found.clips) == len(clips)
    assert {Path(clip.path).suffix for clip in found.clips} >= {".mts", ".mp4", ".3g2", ".qt"}
    assert [note for note in found.notes if "left out" in note] == []


def test_a_sample_of_the_test_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    own = own_folder(tmp_path / "own", {"train": 4, "val": 1, "test": 2})
    place = Path(shards_of(str(own), tmp_path / "set"))
    whole = (place / "test-000000.tar").read_bytes()
    (place / "shards.json").unlink()
    (place / "test-000000.tar").write_bytes(whole.replace(b"00000006.mp4", b"00000006.pm4"))
    message = r"^1 samples of val or test cannot be used: test-000000/00000006 \(it has neither a video"
    with pytest.raises(UserError, match=message):
        read_index(DATA, str(place))
    whole = (place / "train-000000.tar").read_bytes()
    (place / "test-000000.tar").unlink()
    (place / "train-000000.tar").write_bytes(whole.replace(b"00000000.mp4", b"00000000.pm4"))
    said = "1 of 5 samples are left out, such as train-000000/00000000 (it has neither a video nor an image)"
    assert said in read_index(DATA, str(place)).notes
