"""The drawn world: real files, unseen combinations, one digest, safe against company and crashes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from workbench.config import DataConfig
from workbench.data import describe, names, prepare, read_index
from workbench.data.moving_shapes.world import ACTIONS, BACKGROUNDS, COLOURS, SHAPES
from workbench.data.store import FrameStore
from workbench.errors import UserError

SMALL = DataConfig(clips=24, frames=4, size=32)
MAKE = """
import sys
from pathlib import Path
from workbench.config import DataConfig
from workbench.data import prepare
print(prepare(DataConfig(clips=24, frames=4, size=32), root=Path(sys.argv[1]), progress=False))
"""


def test_held_out_combinations_are_new_but_made_of_known_parts() -> None:
    clips = read_index(DataConfig(), None).clips
    keys = ("colour", "shape", "first", "second", "background")
    combinations = Counter(tuple(clip.attributes[k] for k in keys) for clip in clips)
    assert max(combinations.values()) == 1
    assert Counter(clip.split for clip in clips) == {"train": 8000, "val": 500, "test": 500}
    for key, values in zip(keys, (COLOURS, SHAPES, ACTIONS, ACTIONS, BACKGROUNDS), strict=True):
        seen = {clip.attributes[key] for clip in clips if clip.split == "train"}
        assert seen == set(values)


def test_a_caption_names_what_its_clip_shows() -> None:
    for clip in read_index(SMALL, None).clips:
        caption = clip.captions[0]
        assert clip.attributes["colour"] in caption
        assert any(word in caption for word in SHAPES[clip.attributes["shape"]])
        assert any(word in caption for word in ACTIONS[clip.attributes["first"]])


@pytest.mark.parametrize(
    ("clips", "digest"),
    [
        (512, "e2390b59132b1eebab3ee70a3eefc8b29ecb0625276509b11416f4555f636ff5"),
        (0, "5040f6598f362ec58c5493ba59a907a66d7f8c6b5b7139633793669cbb9ba735"),
    ],
)
def test_the_digests_that_runs_were_made_with_stay(clips: int, digest: str) -> None:
    assert describe(DataConfig(clips=clips)).data.digest == digest


def test_the_label_of_a_clip_is_its_ordered_pair_of_actions(tmp_path: Path) -> None:
    store = FrameStore.open(prepare(SMALL, root=tmp_path, progress=False))
    pairs = list(zip(store.attributes["first"], store.attributes["second"], strict=True))
    assert [store.label_names[label] for label in store.labels] == [f"{a} then {b}" for a, b in pairs]
    assert store.label_names == ["", *sorted({f"{a} then {b}" for a, b in pairs})]
    assert store.labels.dtype == np.int64


def test_the_digest_is_that_of_the_content() -> None:
    assert describe(SMALL).data.digest == describe(SMALL).data.digest
    assert describe(SMALL).data.digest != describe(DataConfig(clips=25)).data.digest


def test_more_clips_than_combinations_are_refused() -> None:
    with pytest.raises(UserError, match="combinations"):
        describe(DataConfig(clips=10**6))


def test_names_are_the_data_sets_of_the_package() -> None:
    assert {
        "folder", "moving_shapes", "moving_shapes_pairs", "moving_shapes_redundant", "moving_shapes_timed",
    } <= set(names())  # fmt: skip
    with pytest.raises(UserError, match=r"there are .*moving_shapes"):
        prepare(DataConfig(name="../x"), root=Path("."))


def test_two_processes_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(paths) == 1
    store = FrameStore.open(paths.pop())
    assert store.frames.shape == (24 + 4 + 4, 4, 32, 32, 3)
    assert len(store.splits["train"]) == 24


def test_killed_in_the_middle_leaves_nothing_that_counts(tmp_path: Path) -> None:
    code = MAKE.replace("clips=24", "clips=600")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    while not list(tmp_path.rglob("*.mp4")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not list(tmp_path.rglob("store.json"))
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, timeout=200)
    assert len(list(tmp_path.rglob("store.json"))) == 1


def test_the_actor_moves_and_is_drawn_in_its_colour(tmp_path: Path) -> None:
    store = FrameStore.open(prepare(SMALL, root=tmp_path, progress=False))
    for clip, colour in enumerate(store.attributes["colour"]):
        distance = np.abs(store.frames[clip].astype(int) - np.array(COLOURS[colour])).sum(-1)
        assert (distance < 90).mean() > 0.01, (clip, colour)
        assert np.abs(np.diff(store.frames[clip].astype(int), axis=0)).max() > 40
