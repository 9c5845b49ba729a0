"""Contract tests of data sets: index, digest, splits and frames.

from workbench.testing import dataset_contract

TestFilms = dataset_contract("films", source="tests/few_films.txt")
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest

from workbench.config import DataConfig
from workbench.data import describe, generated, load, prepare
from workbench.data.store import SPLITS, FrameStore
from workbench.errors import UserError

T = TypeVar("T")
Source = str | Callable[[Path], str]
"""The place of a user's data, or what makes some at a path and returns the place."""


def dataset_contract(
    *names: str, source: Source | Mapping[str, Source] | None = None
) -> type[DatasetContract]:
    """A class of tests, to be given a name that begins with `Test`, of these data sets.

    Args:
        source: a small one for those that take a place, or name -> source where there are several.

    Raises `UserError` for a data set that there is not.
    """
    for name in names:
        load(name)
    given = source if isinstance(source, Mapping) else {} if source is None else dict.fromkeys(names, source)
    return type("DatasetContract", (DatasetContract,), {"names": names, "sources": given, "kept": {}})


class DatasetContract:
    """Each test runs for each of `names`, on eight training clips where one may ask for so many, 2 frames of
    16 x 16 each."""

    names: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[Mapping[str, Source]] = {}

    kept: ClassVar[dict[str, Any]] = {}
    """What is made once for all tests."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("name", self.names, scope="class")

    def once(self, what: str, make: Callable[[], T]) -> T:
        if what not in self.kept:
            self.kept[what] = make()
        found: T = self.kept[what]
        return found

    @pytest.fixture
    def source(self, name: str, tmp_path_factory: pytest.TempPathFactory) -> str | None:
        given = self.sources.get(name)
        if not callable(given):
            return given
        return self.once(f"source {name}", lambda: given(tmp_path_factory.mktemp(name) / "own"))

    @pytest.fixture
    def data(self, name: str) -> DataConfig:
        return DataConfig(name=name, clips=8, frames=2, size=16)

    @pytest.fixture
    def root(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return self.once("root", lambda: tmp_path_factory.mktemp("root"))

    @pytest.fixture
    def prepared(self, name: str, data: DataConfig, source: str | None, root: Path) -> FrameStore:
        def make() -> FrameStore:
            return FrameStore.open(prepare(data, source=source, root=root, progress=False))

        return self.once(f"store {name}", make)

    @pytest.fixture(autouse=True)
    def _for_each(self, name: str) -> None:
        """Every test is of a data set."""

    def test_its_module_says_what_it_is(self, name: str) -> None:
        assert inspect.getdoc(load(name))

    def test_a_path_is_wanted_or_refused_in_one_sentence(
        self, name: str, data: DataConfig, source: str | None
    ) -> None:
        with pytest.raises(UserError) as caught:
            describe(data, "somewhere" if source is None else None)
        assert f"--data {name}" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_it_has_as_many_clips_as_are_asked_for_if_it_is_generated(
        self, name: str, data: DataConfig, source: str | None
    ) -> None:
        few, more = (describe(replace(data, clips=n), source).train_clips for n in (8, 9))
        assert (few, more) == (8, 9) if generated(name) else few == more

    def test_its_digest_repeats_and_follows_the_content(
        self, data: DataConfig, source: str | None, prepared: FrameStore
    ) -> None:
        digest = describe(data, source).data.digest
        assert digest == describe(data, source).data.digest == prepared.digest
        assert describe(replace(data, frames=1), source).data.digest == digest, (
            "the same content, seen otherwise"
        )

    def test_every_split_has_clips_and_no_clip_is_in_two(
        self, data: DataConfig, source: str | None, prepared: FrameStore
    ) -> None:
        assert set(prepared.splits) == set(SPLITS)
        seen = [set(prepared.splits[split].clips.tolist()) for split in SPLITS]
        assert all(seen)
        assert sum(map(len, seen)) == len(set.union(*seen)) == len(prepared.frames)
        assert describe(data, source).train_clips == len(seen[0])

    def test_captions_belong_to_their_clips_and_have_names_of_their_own(self, prepared: FrameStore) -> None:
        for part in prepared.splits.values():
            assert len(part.captions) == len(part.clips) == len(part.ids) == len(part.groups)
            assert [prepared.clip_ids[i] for i in part.clips] == part.groups
            assert all(caption.strip() for caption in part.captions)
        ids = [i for part in prepared.splits.values() for i in part.ids]
        assert len(ids) == len(set(ids))
        assert len(prepared.clip_ids) == len(set(prepared.clip_ids))

    def test_its_frames_are_what_was_asked_for(self, data: DataConfig, prepared: FrameStore) -> None:
        assert prepared.frames.shape[1:] == (data.frames, data.size, data.size, 3)
        assert prepared.frames.dtype == np.uint8
        assert len({row.tobytes() for row in prepared.frames}) == len(prepared.frames), "clips differ"
        assert all(len(values) == len(prepared.frames) for values in prepared.attributes.values())

    def test_it_is_made_once(
        self, data: DataConfig, source: str | None, root: Path, prepared: FrameStore
    ) -> None:
        before = (prepared.path / "frames.npy").stat().st_mtime_ns
        described = describe(data, source).data
        assert prepare(described, root=root, progress=False) == prepared.path, "its digest is enough"
        assert (prepared.path / "frames.npy").stat().st_mtime_ns == before
        assert [p.name for p in prepared.path.parent.glob("partial-*")] == []
