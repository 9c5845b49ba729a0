"""The drawn world with two actors: the caption alone says which one is meant, and where both are is known."""

import dataclasses
from collections import Counter
from itertools import product

import numpy as np
import pytest

from workbench import data as datasets
from workbench.config import DataConfig
from workbench.data import describe, known_of, prepare, read_index, truth_of
from workbench.data.moving_shapes import drawing
from workbench.data.moving_shapes.grammar import parse
from workbench.data.moving_shapes.scenes import bounds
from workbench.data.moving_shapes.world import COLOURS
from workbench.data.store import FrameStore
from workbench.errors import UserError

NAME = "moving_shapes_pairs"
WHO = ("named", "other")
SLOTS = ("colour", "shape", "first", "second")


@pytest.fixture(scope="module")
def index():
    return read_index(DataConfig(name=NAME, clips=512), None)


@pytest.fixture(scope="module")
def clips(index):
    return index.clips


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Written as H.264 and read back."""
    data = DataConfig(name=NAME, clips=12, frames=8)
    return FrameStore.open(prepare(data, root=tmp_path_factory.mktemp("pairs"), progress=False))


def test_the_digest_that_runs_were_made_with_stays(index):
    assert index.digest == "5c748b924ed1e98f8b3e50e3138d8845f3bbbc002a999ff4e31f2df825bafe81"


def test_a_caption_names_the_first_actor_and_no_one_else(clips):
    for clip in clips:
        said, (named, other) = parse(clip.captions[0]).parts, clip.scene["actors"]
        assert {slot: said[slot] for slot in SLOTS} == {slot: named[slot] for slot in SLOTS}
        assert said["background"] == clip.attributes["background"]
        assert other["colour"] != named["colour"]
        assert other["shape"] != named["shape"]
        assert other["first"] != other["second"]
        for who, slot in product(WHO, SLOTS):
            assert clip.attributes[f"{who}_{slot}"] == clip.scene["actors"][WHO.index(who)][slot]


def test_no_two_named_actors_share_a_combination(clips):
    assert max(Counter(tuple(parse(clip.captions[0]).parts.values()) for clip in clips).values()) == 1
    assert {clip.split: clip.label for clip in clips} == dict.fromkeys(("train", "val", "test"), "")


def test_the_two_are_at_least_a_diameter_apart_in_the_picture_and_of_one_kind(clips):
    """Seen without the caption, neither stands out: places, sizes and actions of both are alike."""
    found = {who: [] for who in WHO}
    for clip in clips:
        poses = [drawing.poses(one, one)[0] for one in clip.scene["actors"]]  # each [T, 4]
        apart = np.hypot(*(poses[0] - poses[1])[:, :2].T)
        assert (apart > 1.1 * (poses[0][:, 2] + poses[1][:, 2])).all()
        for who, pose in zip(WHO, poses, strict=True):
            assert (pose[:, :2] - pose[:, 2:3] > -0.01).all()
            assert (pose[:, :2] + pose[:, 2:3] < 64.01).all()
            found[who].append([*pose[0, :3], *pose[-1, :3]])
    named, other = (np.array(found[who]) for who in WHO)
    error = np.sqrt((named.var(0) + other.var(0)) / len(clips))
    assert (abs(named.mean(0) - other.mean(0)) < 4 * error).all()


def test_both_actors_are_drawn_where_their_boxes_say(store):
    boxes = truth_of(store).boxes(np.arange(len(store.clip_ids)))
    assert boxes.shape == (len(store.clip_ids), 8, 2, 4)
    seen = np.isfinite(boxes).all(-1)
    assert 0.8 < seen.mean() < 1
    for clip, frame, who in np.argwhere(seen):
        colour = COLOURS[store.attributes[f"{WHO[who]}_colour"][clip]]
        near = abs(store.frames[clip, frame].astype(int) - colour).sum(-1) < 120
        left, top, right, bottom = (64 * boxes[clip, frame, who]).round().astype(int)
        assert near[top:bottom, left:right].mean() > 0.15, "a moon or a star fills little of its box"
        near[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = False
        assert near.mean() < 0.02, "and is nowhere else"
    for clip, frame, who in np.argwhere(~seen):
        assert "blinks" in [store.attributes[f"{WHO[who]}_{act}"][clip] for act in ("first", "second")]
        assert (frame < 4) == (store.attributes[f"{WHO[who]}_first"][clip] == "blinks")


def test_boxes_are_the_bounds_of_what_is_covered():
    cover = np.zeros((3, 8, 16))
    cover[0, 2:5, 3:9] = 0.6
    cover[0, 0, 0] = 0.5
    cover[1, 7, 15] = 1
    found = bounds(cover)
    assert found[0].tolist() == [3 / 16, 2 / 8, 9 / 16, 5 / 8]
    assert found[1].tolist() == [15 / 16, 7 / 8, 1, 1]
    assert np.isnan(found[2]).all()


def test_of_some_rows_boxes_are_those_of_all_and_of_other_frames_those_of_these(store, tmp_path):
    boxes = truth_of(store).boxes
    whole = boxes(np.arange(16))
    assert np.array_equal(boxes(np.array([9, 2])), whole[[9, 2]], equal_nan=True)
    fewer = dataclasses.replace(store, frames=store.frames[:, ::2])
    assert truth_of(fewer).boxes(np.array([3])).shape == (1, 4, 2, 4)


def test_clips_that_another_version_drew_have_no_known_boxes(store):
    other = dataclasses.replace(store, digest="0" * 64)
    with pytest.raises(UserError, match="made by another version"):
        truth_of(other).boxes(np.arange(2))


def test_what_is_known_says_boxes_and_who_has_which_part_and_no_motion_of_one_actor(store):
    assert known_of(store) == store.known | {"box"}
    assert describe(DataConfig(name=NAME, clips=12)).known == known_of(store)
    assert not {"colour", "first", "label"} & known_of(store), "questions about `it` are not asked"
    assert truth_of(store).motion is None
    filmed = dataclasses.replace(store, name="folder")
    assert truth_of(filmed).boxes is None
    assert "box" not in known_of(filmed)


def test_with_one_actor_a_picture_is_what_it_was():
    """To the byte: the actor's colour over the background, and noise."""
    clip = read_index(DataConfig(clips=12), None).clips[3]
    background = drawing._background(clip.attributes["background"], clip.scene)[None]
    colour = np.array(COLOURS[clip.attributes["colour"]], np.float32)
    frames = background + drawing.actor(clip.attributes, clip.scene)[1][..., None] * (colour - background)
    noise = np.random.Generator(np.random.PCG64(clip.scene["seed"])).standard_normal((16, 64, 64), np.float32)
    expected = np.clip(frames + (noise * 4.0)[..., None] + 0.5, 0, 255).astype(np.uint8)
    assert np.array_equal(drawing.draw(clip.attributes, clip.scene), expected)


def test_more_clips_than_there_are_is_a_sentence():
    with pytest.raises(UserError, match="at most 11000 training clips, not 20000"):
        describe(DataConfig(name=NAME, clips=20_000))
    assert datasets.generated(NAME)
