"""The drawn world with rests: true times, a world of its own, and the first one as it was."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from workbench.config import DataConfig
from workbench.data import describe, prepare, read_index
from workbench.data.moving_shapes import drawing, world
from workbench.data.moving_shapes_timed import layouts
from workbench.data.store import FrameStore

TIMED = DataConfig(name="moving_shapes_timed", clips=8, frames=16)
PAIRS = [pair for pair in product(world.ACTIONS, repeat=2) if pair[0] != pair[1]]


DIGESTS = {
    8: "ae9c5f81f14e6177292062604e624e0fc49449a3d954aefe2b1bcbe2cc8dc0ce",
    512: "84054b68c6de2c600dab3eba600c9f7de05c47c422a2069840ed5646264b41fe",
}


def in_halves(first: str, second: str) -> list[np.ndarray]:
    """How the first world moves, as it was written before there was a second one."""
    t = np.arange(1, 9, dtype=np.float32)
    found, at = [], (0.0, 0.0, 1.0, 0.0)
    for action in (first, second):
        x, y, scale, angle = (np.full(8, value) for value in at)
        visible = np.ones(8)
        match action:
            case "left" | "right":
                x = at[0] + world.TRAVEL * (t / 8) * (1 if action == "right" else -1)
            case "up" | "down":
                y = at[1] + world.TRAVEL * (t / 8) * (1 if action == "down" else -1)
            case "grows" | "shrinks":
                scale = at[2] * world.GROWTH ** (t / 8 if action == "grows" else -(t / 8))
            case "spins":
                angle = at[3] + t * (math.pi / 6)
            case "blinks":
                visible = ((t - 1) // 2 % 2 == 1).astype(np.float64)
        found.append((x, y, scale, angle, visible))
        at = (x[-1], y[-1], scale[-1], angle[-1])
    return [np.concatenate(pair).astype(np.float32) for pair in zip(*found, strict=True)]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_first_world_moves_as_it_did_to_the_bit(first: str, second: str) -> None:
    assert [v.tobytes() for v in drawing._motion(first, second)] == [
        v.tobytes() for v in in_halves(first, second)
    ]


@pytest.mark.parametrize("clips", [8, 512])
def test_its_digest_is_its_own_and_stays(clips: int) -> None:
    digest = describe(DataConfig(name="moving_shapes_timed", clips=clips)).data.digest
    assert digest != describe(DataConfig(clips=clips)).data.digest
    assert digest == DIGESTS[clips]


def test_every_layout_is_two_actions_of_3_to_7_frames_in_16() -> None:
    found = layouts()
    assert len(set(found)) == len(found) == 750
    for (start, end), (later, last) in found:
        assert 0 <= start < end <= later < last <= 16
        assert {end - start, last - later} <= {3, 4, 5, 6, 7}
    assert {later - end for (_, end), (later, _) in found} == set(range(11)), "rests of any length, and none"


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_actor_acts_in_every_frame_of_an_action_and_rests_in_all_others(first: str, second: str) -> None:
    for times in layouts()[::29]:
        path = np.stack(drawing._motion(first, second, times))  # [5, T]
        before = np.concatenate([[[0], [0], [1], [0], [1]], path[:, :-1]], 1)
        moves = (path[:4] != before[:4]).any(0)
        for action, (start, end) in zip((first, second), times, strict=True):
            inside = np.arange(start, end)
            hidden = np.isin(inside, [start, start + 1, end - 2, end - 1]) & (action == "blinks")
            assert (path[4, inside] == ~hidden).all()
            assert (moves[inside] == (action != "blinks")).all()
        rests = ~np.isin(np.arange(16), [f for span in times for f in range(*span)])
        assert not moves[rests].any()
        assert (path[4, rests] == 1).all()
    whole = np.stack(in_halves(first, second))[:4, -1]
    assert np.allclose(path[[0, 1, 2], -1], whole[:3], atol=1e-4), "an action gets as far, however long it is"


def test_what_is_asked_for_is_said_in_words_of_captions_with_its_times() -> None:
    clips = read_index(DataConfig(name="moving_shapes_timed"), None).clips
    assert [sum(clip.split == name for clip in clips) for name in ("train", "val", "test")] == [
        4000,
        500,
        500,
    ]
    assert {tuple(map(tuple, clip.scene["times"])) for clip in clips} <= set(layouts())
    asked = set()
    for clip in clips:
        parts = clip.attributes
        for slot, (words, start, end), times in zip(
            ("first", "second"), parts["timeline"], clip.scene["times"], strict=True
        ):
            assert [16 * start, 16 * end] == times
            article, colour, rest = words.split(" ", 2)
            shape, action = rest.split(" ", 1)
            assert (article, colour) == ("an" if colour[0] in "aeiou" else "a", parts["colour"])
            assert shape in world.SHAPES[parts["shape"]]
            assert action in world.ACTIONS[parts[slot]]
            asked.add(action)
    assert asked == {words for choices in world.ACTIONS.values() for words in choices}


def test_times_survive_being_encoded_and_decoded(tmp_path: Path) -> None:
    store = FrameStore.open(prepare(TIMED, root=tmp_path, progress=False))
    assert store.name == "moving_shapes_timed"
    assert "timeline" in store.known
    clips = {clip.id: clip for clip in read_index(TIMED, None).clips}
    assert all(path is not None and path.suffix == ".mp4" and path.exists() for path in store.files)
    for row, name in enumerate(store.clip_ids):
        clip = clips[name]
        assert store.attributes["timeline"][row] == clip.attributes["timeline"]
        halves = {key: value for key, value in clip.scene.items() if key != "times"}
        drawn, other = (drawing.draw(clip.attributes, scene).astype(int) for scene in (clip.scene, halves))
        differs = np.abs(drawn - other).max(-1) > 60
        assert differs.any(), "it is not the same clip in halves"
        wrong, far = (np.abs(store.frames[row] - one)[differs].mean() for one in (drawn, other))
        assert wrong < far / 2
