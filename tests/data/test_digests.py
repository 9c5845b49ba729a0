"""Planning reads a folder of videos once, sees every change, and survives damage to what it noted."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from small import run_config

from workbench.config import DataConfig
from workbench.data import describe, digests
from workbench.data.digests import Digests
from workbench.study.plan import Options, make_plan
from workbench.study.spec import Study

DATA = DataConfig(name="folder")
HOUR = 3600 * 10**9


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Five files that no digest tells from videos, last changed an hour ago."""
    folder = tmp_path / "own"
    folder.mkdir()
    rows = [("video", "caption")]
    for number in range(5):
        written(folder / f"{number}.mp4", bytes([number]) * 100)
        rows.append((f"{number}.mp4", f"number {number}"))
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def written(path: Path, content: bytes, age: int = HOUR) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(time.time_ns() - age,) * 2)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content is read."""
    names: list[str] = []
    real = digests.content

    def counted(path: Path, size: int) -> str:
        names.append(path.name)
        return real(path, size)

    monkeypatch.setattr(digests, "content", counted)
    return names


def test_a_second_plan_opens_no_video(own: Path, tmp_path: Path, read: list[str]) -> None:
    root, study = tmp_path / "root", Study(question="?", configure=lambda trial: run_config(data=DATA))
    options = Options(data=f"folder:{own}")
    first = make_plan(study, options, root)
    assert len(read) == 5
    second = make_plan(study, options, root)
    assert len(read) == 5
    assert first.cells[0].key == second.cells[0].key
    assert first.cells[0].config.data.digest == describe(DATA, str(own)).data.digest
    assert len(read) == 10, "without a root nothing is remembered"


@pytest.mark.parametrize("content", [b"longer" * 99, b"\x09" * 100])
def test_a_changed_file_is_read_again_and_no_other(
    own: Path, tmp_path: Path, read: list[str], content: bytes
) -> None:
    before = describe(DATA, str(own), root=tmp_path).data.digest
    read.clear()
    written(own / "3.mp4", content, age=HOUR // 2)
    after = describe(DATA, str(own), root=tmp_path).data.digest
    assert after != before
    assert read == ["3.mp4"]
    assert after == describe(DATA, str(own)).data.digest


def test_a_file_that_was_written_just_now_is_not_trusted_to_stay(
    own: Path, tmp_path: Path, read: list[str]
) -> None:
    written(own / "3.mp4", b"new" * 50, age=0)
    describe(DATA, str(own), root=tmp_path)
    read.clear()
    describe(DATA, str(own), root=tmp_path)
    assert read == ["3.mp4"]


def test_a_file_that_is_not_there_is_looked_for_again(own: Path, tmp_path: Path) -> None:
    (own / "3.mp4").unlink()
    gone = describe(DATA, str(own), root=tmp_path).data.digest
    written(own / "3.mp4", b"back")
    assert describe(DATA, str(own), root=tmp_path).data.digest != gone


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", '{"files": 5}', "[" * 100_000, '{"files": {"PATH": [1]}}', "\x00"],
)
def test_a_damaged_file_of_digests_is_made_again(
    own: Path, tmp_path: Path, read: list[str], damage: str
) -> None:
    digest = describe(DATA, str(own), root=tmp_path).data.digest
    (tmp_path / "digests.json").write_text(damage.replace("PATH", str(own / "0.mp4")))
    read.clear()
    assert describe(DATA, str(own), root=tmp_path).data.digest == digest
    assert len(read) == 5
    assert describe(DATA, str(own), root=tmp_path).data.digest == digest
    assert len(read) == 5


def test_a_file_of_digests_that_is_no_text_is_made_again(own: Path, tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_bytes(b"\xff\xfe\x00")
    describe(DATA, str(own), root=tmp_path)
    assert len(json.loads((tmp_path / "digests.json").read_text())["files"]) == 5


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_without_a_place_for_it_nothing_is_remembered(
    own: Path, tmp_path: Path, read: list[str], kind: str
) -> None:
    """The root is a file, or a folder lies where the file should be."""
    root = tmp_path / "root"
    root.write_text("") if kind == "file" else (root / "digests.json").mkdir(parents=True)
    digest = describe(DATA, str(own)).data.digest
    assert describe(DATA, str(own), root=root).data.digest == digest
    assert describe(DATA, str(own), root=root).data.digest == digest
    assert len(read) == 15


def look(own: Path, file: Path, number: int) -> None:
    for _ in range(20):
        known = Digests(file)
        known.of(own / f"{number}.mp4")
        known.keep()


def test_processes_at_once_do_not_damage_it(own: Path, tmp_path: Path) -> None:
    file = tmp_path / "digests.json"
    fork = multiprocessing.get_context("fork")
    crowd = [fork.Process(target=look, args=(own, file, number)) for number in range(4)]
    for process in crowd:
        process.start()
    while any(process.is_alive() for process in crowd):
        if file.exists():
            assert set(json.loads(file.read_text())) == {"files"}
    assert [process.exitcode for process in crowd] == [0] * 4
    found = json.loads(file.read_text())["files"]
    assert all(len(entry[2]) == 64 for entry in found.values())
    assert list(tmp_path.glob(".digests*")) == []
