"""The drawn world with redundancy: what a caption says twice, its larger pictures, and how runs read it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from workbench.config import DataConfig
from workbench.data import describe, prepare, read_index
from workbench.data.moving_shapes import drawing, world
from workbench.data.moving_shapes_redundant import READ, SIZE, WAYS
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.study import spec
from workbench.study.plan import Options, make_plan

REDUNDANT = DataConfig(name="moving_shapes_redundant", clips=8, frames=16, size=SIZE)
DIGESTS = {
    8: "66ba071e88ffb5e3bd562cd239ba72ef9668144cb17a8d742f62ee185498c1d3",
    512: "b286cf57f97f9da5fd1763ade5df87d3735689cd66416f403867bfae23f61a2b",
}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_each_value_has_two_ways_and_no_word_tells_of_two_values() -> None:
    assert {slot: set(values) for slot, values in WAYS.items()} == {
        "colour": set(world.COLOURS),
        "shape": set(world.SHAPES),
        "action": set(world.ACTIONS),
        "background": set(world.BACKGROUNDS),
    }
    telling: dict[str, set[tuple[str, str, int]]] = {}
    for slot, values in WAYS.items():
        for value, ways in values.items():
            assert not set(words(ways[0])) & set(words(ways[1])), (
                "the second way repeats no word of the first"
            )
            for number, way in enumerate(ways):
                for word in words(way):
                    telling.setdefault(word, set()).add((slot, value, number))
    shared = {word: places for word, places in telling.items() if len(places) > 1}
    assert set(shared) == {"moves", "drifts"}, "verbs of direction alone tell nothing"


def test_captions_of_25_to_40_words_say_everything_twice_in_different_words() -> None:
    clips = read_index(DataConfig(name="moving_shapes_redundant"), None).clips
    assert [sum(clip.split == name for clip in clips) for name in ("train", "val", "test")] == [
        4000,
        500,
        500,
    ]
    lengths = {len(words(clip.captions[0])) for clip in clips}
    assert min(lengths) >= 25
    assert max(lengths) <= 40
    assert max(lengths) + 3 <= READ["max_tokens"], "a comma and the class token besides"
    for clip in clips:
        first, second = clip.captions[0].split(" , ")
        for name, value in clip.attributes.items():
            slot = name.removeprefix("shown_")
            ways = WAYS["action" if slot in ("first", "second") else slot][value]
            said = [{way for way in ways if re.search(rf"\b{way}\b", half)} for half in (first, second)]
            assert [len(one) for one in said] == [1, 1], (clip.captions, name)
            assert said[0] != said[1]
    parts = [tuple(clip.attributes.values()) for clip in clips]
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize("clips", [8, 512])
def test_its_digest_is_its_own_and_stays(clips: int) -> None:
    digest = describe(DataConfig(name="moving_shapes_redundant", clips=clips)).data.digest
    assert digest == DIGESTS[clips]
    assert digest != describe(DataConfig(clips=clips)).data.digest


def test_a_finer_picture_shows_the_same_scene() -> None:
    clip = read_index(REDUNDANT, None).clips[0]
    fine = drawing.draw(clip.attributes, clip.scene).astype(float)
    assert fine.shape == (world.VIDEO_FRAMES, SIZE, SIZE, 3)
    [actor] = clip.scene["actors"]
    coarse_scene = {n: v for n, v in clip.scene.items() if n != "size"}
    coarse_scene["actors"] = [{n: v for n, v in actor.items() if n != "size"}]
    coarse = drawing.draw(clip.attributes, coarse_scene).astype(float)
    assert coarse.shape[1] == world.VIDEO_SIZE
    both = [frames.reshape(16, 32, n, 32, n, 3).mean((2, 4)) for frames, n in ((fine, 3), (coarse, 2))]
    assert np.abs(both[0] - both[1]).mean() < 4, "noise, no other scene"


def test_it_is_real_video_of_the_right_size(tmp_path: Path) -> None:
    store = FrameStore.open(prepare(REDUNDANT, root=tmp_path, progress=False))
    assert store.frames.shape[1:] == (16, SIZE, SIZE, 3)
    assert all(path is not None and path.suffix == ".mp4" and path.exists() for path in store.files)
    assert not set(store.known) & {"colour", "first"}, (
        "tasks about the captions of moving_shapes are not asked"
    )
    clips = {clip.id: clip for clip in read_index(REDUNDANT, None).clips}
    for row, name in enumerate(store.clip_ids):
        drawn = drawing.draw(clips[name].attributes, clips[name].scene).astype(int)
        assert np.abs(store.frames[row] - drawn).mean() < 8


def test_a_study_reads_it_as_it_wishes_and_other_cells_keep_their_keys(tmp_path: Path) -> None:
    study = spec.load("mac_claims")
    plan = make_plan(study, Options(data="moving_shapes_redundant"), tmp_path)
    for cell in plan.cells:
        assert (cell.config.data.frames, cell.config.data.size) == (16, SIZE)
        assert cell.config.recipe.video.patch == 12, "as many patches as before"
        assert cell.config.recipe.text.max_tokens == READ["max_tokens"]
        assert not any("cuts" in note for note in cell.notes)
    plain = make_plan(study, Options(), tmp_path)
    assert {cell.config.data.size for cell in plain.cells} == {64}
    named = make_plan(study, Options(data="moving_shapes"), tmp_path)
    assert [cell.key for cell in named.cells] == [cell.key for cell in plain.cells]
    shorter = make_plan(study, Options(data="moving_shapes_redundant", settings=("data.frames=8",)), tmp_path)
    assert {cell.config.data.frames for cell in shorter.cells} == {8}, "what --set says counts"
    with pytest.raises(UserError, match="frames"):
        make_plan(spec.load("transfer"), Options(data="moving_shapes_redundant"), tmp_path)
