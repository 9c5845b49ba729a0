"""Which frames a step takes: three rules, a generator that is passed in, as ever by default."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import COUNTS, run_config, write_store

from workbench.config import DataConfig, RunConfig
from workbench.data import describe, prepare
from workbench.data.loader import Loader
from workbench.data.sampling import (
    centre_frames,
    contiguous_frames,
    frames_of,
    random_frames,
    span,
    without_seeking,
)
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.models.text import TextConfig, vocabulary

TODAY = DataConfig(frames=4, size=16)
RULES = [
    replace(TODAY, frames=3, stored=12),
    replace(TODAY, frames=3, stored=12, sampling="random"),
    replace(TODAY, frames=3, stored=12, sampling="contiguous", stride=2),
]


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Twelve stored frames a clip; the first pixel of a frame tells its number."""
    store = write_store(tmp_path_factory.mktemp("longer") / "frames-12x16", frames=12)
    frames = np.lib.format.open_memmap(store.path / "frames.npy", "r+")
    frames[:, :, 0, 0, 0] = np.arange(12)
    frames.flush()
    return FrameStore.open(store.path)


def loader(store: FrameStore, data: DataConfig | None = None, seed: int = 0) -> Loader:
    captions = store.splits["train"].captions
    text = vocabulary(captions, TextConfig()).encode(captions)
    return Loader(store, text, batch_size=8, seed=seed, data=data)


def numbers(video: np.ndarray | torch.Tensor) -> np.ndarray:
    """Numbers int64 [B, T] of the frames of a batch of `longer`."""
    return np.asarray(video)[:, :, 0, 0, 0].astype(np.int64)


def test_a_random_frame_lies_in_each_interval_and_every_frame_can_be_it() -> None:
    found = random_frames(12, 4, 500, np.random.default_rng(0))
    assert found.shape == (500, 4)
    assert (found // 3 == np.arange(4)).all()
    assert set(found.ravel()) == set(range(12))
    uneven = random_frames(7, 3, 500, np.random.default_rng(0))
    assert (np.diff(uneven) >= 0).all()
    assert set(uneven.ravel()) == set(range(7))
    assert random_frames(2, 5, 1, np.random.default_rng(0)).max() <= 1, "a short clip gives some twice"


def test_a_window_is_contiguous_and_every_start_is_as_likely() -> None:
    found = contiguous_frames(12, 3, 2, 4000, np.random.default_rng(0))
    assert (np.diff(found) == 2).all()
    starts = np.bincount(found[:, 0])
    assert len(starts) == 12 - span(3, 2) + 1 == 8
    assert starts.min() > 400
    assert contiguous_frames(12, 3, 2, 2, None).tolist() == [[3, 5, 7]] * 2
    assert contiguous_frames(5, 3, 2, 1, np.random.default_rng(0)).tolist() == [[0, 2, 4]]


@pytest.mark.parametrize(
    ("data", "expected"), [(RULES[0], [2, 6, 10]), (RULES[1], [2, 6, 10]), (RULES[2], [3, 5, 7])]
)
def test_evaluation_takes_the_centre(longer: FrameStore, data: DataConfig, expected: list[int]) -> None:
    clips = np.array([5, 0, 36])
    assert centre_frames(12, 3) == [2, 6, 10]
    found = frames_of(longer.frames, clips, data)
    assert found.dtype == np.uint8
    assert np.array_equal(found, longer.frames[clips][:, expected])


@pytest.mark.parametrize("data", RULES[1:])
def test_what_a_step_sees_depends_on_seed_and_step_alone(longer: FrameStore, data: DataConfig) -> None:
    one, two = loader(longer, data), loader(longer, data)
    one.batch(0)
    seen = [numbers(one.batch(step).video) for step in (7, 8, 2)]
    assert np.array_equal(seen[0], numbers(two.batch(7).video))
    assert len({s.tobytes() for s in seen}) == 3
    assert not np.array_equal(seen[0], numbers(loader(longer, data, seed=1).batch(7).video))
    assert len({row.tobytes() for row in seen[0]}) > 1, "the clips of a batch have frames of their own"
    clips, _ = one.indices(7)
    rows = np.arange(8)[:, None]
    assert np.array_equal(one.batch(7).video, longer.frames[clips][rows, seen[0]])


def test_the_rule_changes_neither_clips_nor_captions(longer: FrameStore) -> None:
    plain = loader(longer)
    for data in RULES:
        other = loader(longer, data)
        for step in range(9):
            for mine, its in zip(plain.indices(step), other.indices(step), strict=True):
                assert np.array_equal(mine, its)


def test_where_all_stored_frames_are_taken_nothing_is_drawn(store: FrameStore) -> None:
    class Silent:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"{name} was drawn")

    clips = np.array([3, 1])
    found = frames_of(store.frames, clips, TODAY, Silent())  # type: ignore[arg-type]
    assert np.array_equal(found, store.frames[clips])
    for step in range(9):
        assert torch.equal(loader(store).batch(step).video, loader(store, TODAY).batch(step).video)


def test_a_store_of_more_frames_lies_beside_that_of_fewer(tmp_path: Path) -> None:
    few = describe(DataConfig(clips=8, frames=2, size=16)).data
    more = replace(few, stored=6, sampling="random")
    paths = [prepare(data, root=tmp_path, progress=False) for data in (few, more)]
    assert [path.name for path in paths] == ["frames-2x16", "frames-6x16"]
    assert FrameStore.open(paths[1]).frames.shape[1:] == (6, 16, 16, 3)
    assert prepare(replace(few, frames=6), root=tmp_path, progress=False) == paths[1], "made once"


def test_tags_are_the_row_the_label_and_the_source_of_a_clip(tmp_path: Path) -> None:
    path = write_store(tmp_path / "frames-4x16").path
    record = json.loads((path / "store.json").read_text())
    assert FrameStore.open(path).labels.tolist() == [0] * sum(COUNTS.values()), "an earlier store has none"
    for number, clip in enumerate(record["clips"][:3]):
        clip["label"] = ["walks", "runs", ""][number]
    (path / "store.json").write_text(json.dumps(record))
    store = FrameStore.open(path)
    assert store.label_names == ["", "runs", "walks"]
    captions = store.splits["train"].captions
    text = vocabulary(captions, TextConfig()).encode(captions)
    tags = Loader(store, text, batch_size=4, seed=0, source=2).tags(np.array([0, 1, 2, 9]))
    assert {name: values.tolist() for name, values in tags.items()} == {
        "index": [0, 1, 2, 9],
        "label": [2, 1, 0, 0],
        "source": [2, 2, 2, 2],
    }
    assert all(values.dtype == torch.int64 for values in tags.values())
    record["clips"][0]["label"] = 5
    (path / "store.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="is damaged"):
        FrameStore.open(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stored": -1}, "data.stored must be a whole number of at least 0"),
        ({"stored": 8}, "data.stored must be 0 or above data.frames=8, not 8"),
        ({"stored": 4}, "data.stored must be 0 or above data.frames=8, not 4"),
        ({"stored": 16, "sampling": "last"}, "data.sampling must be 'centre' or 'random' or 'contiguous'"),
        ({"sampling": "random"}, "random sampling needs data.stored above data.frames=8"),
        ({"sampling": "contiguous"}, "contiguous sampling needs data.stored above"),
        ({"stored": 16, "stride": 2}, "data.stride must be 1 unless data.sampling is 'contiguous'"),
        (
            {"stored": 16, "sampling": "contiguous", "stride": 0},
            "data.stride must be a whole number of at least 1",
        ),
        (
            {"stored": 16, "sampling": "contiguous", "stride": 3},
            "must span at most data.stored=16 frames, not 22",
        ),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(fields: dict[str, int | str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        DataConfig(**fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_rule_is_part_of_the_key_only_where_it_is_another_than_before() -> None:
    config = run_config(data=TODAY)
    text = json.loads(config.to_json())
    for name in ("stored", "sampling", "stride"):
        del text["data"][name]
    assert RunConfig.from_json(json.dumps(text)) == config, "files of earlier versions are read"
    keys = {replace(config, data=data).key() for data in (*RULES, TODAY)}
    assert len(keys) == 4


def test_frames_between_are_taken_only_where_they_save_a_seek():
    groups = [0, 8, 16, 24]
    assert without_seeking([2, 6, 10], groups, 3) == [2, 6, 7, 8, 9, 10]
    assert without_seeking([2, 6, 10], groups, 2) == [2, 6, 10]
    assert without_seeking([2, 20], groups, 99) == [2, 20]  # a whole group in between is left out
    assert without_seeking([9, 1, 1], groups, 99) == list(range(1, 10))
    assert without_seeking([7, 8], groups, 0) == [7, 8]
