"""True motion of drawn clips: against a loop over places, and against the frames themselves."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from drawn import write_drawn

from workbench import data
from workbench.config import DataConfig
from workbench.data.digests import Digests
from workbench.data.moving_shapes import index
from workbench.data.moving_shapes.drawing import actor, draw
from workbench.data.moving_shapes.world import COLOURS
from workbench.errors import UserError
from workbench.targets.motion import patch_depth, patch_flow

CELLS = 4, 4
ACTIONS = ("left", "right", "up", "down", "grows", "shrinks", "spins", "blinks")


@pytest.fixture(scope="module")
def clips():
    """One clip of the drawn world for each first action."""
    found = {}
    for clip in index(DataConfig(clips=400), None, Digests()).clips:
        found.setdefault(clip.attributes["first"], clip)
    return found


def truth(clip):
    """Pose [1, 8, 4] and cover [1, 8, 64, 64] of the frames that a run sees."""
    return tuple(torch.from_numpy(x[1::2])[None] for x in actor(clip.attributes, clip.scene))


def flow_of_places(pose, cover):
    """The definition, place by place in float64: into the actor's coordinates by one pose, out of them by the
    next. Flow [T - 1, 64, 64, 2] and where it is known."""
    flow = np.zeros((7, 64, 64, 2))
    known = np.zeros((7, 64, 64), bool)
    inside = cover[0].numpy() > 0.5
    for t in range(7):
        (x, y, r, a), (x1, y1, r1, a1) = (pose[0, i].double().tolist() for i in (t, t + 1))
        for row in range(64):
            for column in range(64):
                if not inside[t, row, column]:
                    known[t, row, column] = not inside[t + 1, row, column]
                    continue
                known[t, row, column] = inside[t + 1].any()
                dx, dy = (column + 0.5 - x) / r, (row + 0.5 - y) / r
                u = math.cos(a) * dx + math.sin(a) * dy
                v = math.cos(a) * dy - math.sin(a) * dx
                to_x = x1 + r1 * (math.cos(a1) * u - math.sin(a1) * v)
                to_y = y1 + r1 * (math.sin(a1) * u + math.cos(a1) * v)
                flow[t, row, column] = to_x - column - 0.5, to_y - row - 0.5
    return torch.from_numpy(flow).float(), torch.from_numpy(known)


@pytest.fixture(scope="module")
def flows(clips):
    return {action: flow_of_places(*truth(clip)) for action, clip in clips.items()}


@pytest.mark.parametrize("action", ACTIONS)
def test_the_next_frame_taken_back_along_the_flow_is_the_frame(clips, flows, action):
    """Noise apart, whose mean difference is 4.5 grey levels."""
    clip, (flow, known) = clips[action], flows[action]
    frames = torch.from_numpy(draw(clip.attributes, clip.scene)[1::2].copy()).float()
    cover = truth(clip)[1][0]
    place = torch.stack(torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="xy"), -1)
    pictures = torch.cat([frames, 255 * cover[..., None]], -1)[1:].permute(0, 3, 1, 2)
    back = torch.nn.functional.grid_sample(
        pictures, (place + flow) / 32 - 1, align_corners=False, padding_mode="border"
    ).permute(0, 2, 3, 1)
    differs = (back[..., :3] - frames[:-1]).abs().mean(-1)
    inner = (cover[:-1] > 0.99) & (back[..., 3] > 250) & known
    still = (cover[:-1] < 0.01) & (cover[1:] < 0.01)
    assert inner.sum() > 300
    assert differs[inner].mean() < 6.5
    assert differs[still].mean() < 5
    if action != "blinks":
        assert inner.sum() > 0.7 * ((cover[:-1] > 0.99) & known).sum(), "the actor's places are its own again"


def test_the_flow_of_a_move_is_its_step_inside_the_actor_and_nothing_outside(clips, flows):
    flow, known = flows["right"]
    inside = truth(clips["right"])[1][0, :-1] > 0.5
    assert torch.allclose(flow[:3][inside[:3]], torch.tensor([5.5, 0.0]), atol=1e-3)  # 22 pixels in 4 steps
    assert (flow[~inside] == 0).all()
    assert known[:3].float().mean() < 1, "newly covered background is unknown"
    assert flows["down"][0][0].amax((0, 1)).tolist() == pytest.approx([0, 5.5], abs=1e-3)


@pytest.mark.parametrize("action", ACTIONS)
def test_patches_have_the_mean_over_what_is_known_of_them(clips, flows, action):
    flow, known = flows[action]
    found = patch_flow(*truth(clips[action]), 64, CELLS)
    assert found.shape == (1, 7 * 16, 3)
    assert torch.isfinite(found).all()
    for t in range(7):
        for row in range(4):
            for column in range(4):
                place = t, slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
                mine = found[0, 16 * t + 4 * row + column]
                sure = known[place]
                assert mine[2] == (sure.float().mean() >= 0.5)
                if sure.any():
                    expected = flow[place][sure].mean(0)
                    assert torch.allclose(mine[:2], expected, atol=1e-3)


def test_an_actor_that_disappears_while_it_moves_tells_nothing_of_its_move(clips):
    pose, cover = truth(clips["up"])
    cover = cover.clone()
    cover[:, [2, 3, 6]] = 0
    flow, known = flow_of_places(pose, cover)
    found = patch_flow(pose, cover, 64, (1, 1))[0]
    for t in range(7):
        assert torch.allclose(found[t, :2], flow[t][known[t]].mean(0), atol=1e-3)
    assert (found[[1, 2, 5, 6], :2] == 0).all()
    assert found[0, 1] < -0.1


def test_an_actor_that_is_gone_moves_nowhere_known(clips, flows):
    """Blinking, it is seen in the even ones of the first four frames that a run sees."""
    seen = truth(clips["blinks"])[1][0].flatten(1).any(1)[:4]
    assert len(set(seen.tolist())) == 2
    known = patch_flow(*truth(clips["blinks"]), 64, (8, 8))[0, :, 2].view(7, 64)
    for t in range(3):
        if seen[t] != seen[t + 1]:
            assert (known[t] == 0).any()


def test_depth_is_the_share_of_the_actor_in_each_patch(clips):
    _, cover = truth(clips["spins"])
    found = patch_depth(cover, CELLS)
    assert found.shape == (1, 128, 1)
    for token in (0, 21, 42, 69, 127):
        t, row, column = token // 16, token % 16 // 4, token % 4
        patch = cover[0, t, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert found[0, token, 0].item() == pytest.approx((patch > 0.5).float().mean().item(), abs=1e-6)
    assert found.amax() > 0.5
    assert found.amin() == 0


def test_smaller_frames_move_by_fewer_pixels(clips):
    pose, cover = truth(clips["left"])
    half = pose * torch.tensor([0.5, 0.5, 0.5, 1.0])
    whole = patch_flow(pose, cover, 64, CELLS)
    assert torch.allclose(patch_flow(half, cover, 32, CELLS)[..., :2], whole[..., :2] / 2, atol=1e-4)


def test_a_grid_that_cuts_places_takes_those_it_touches():
    cover = torch.zeros(1, 2, 64, 64)
    cover[..., :32] = 1
    found = patch_depth(cover, (3, 3)).view(2, 3, 3)
    assert found[0].amin(0).tolist() == found[0].amax(0).tolist()
    assert found[0, 0].tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_drawn(tmp_path_factory.mktemp("drawn") / "frames")


class TestStores:
    def test_motion_belongs_to_the_clips_of_the_store_row_by_row(self, store):
        known = data.truth_of(store)
        assert known.data == "moving_shapes"
        poses, covers = (np.concatenate(part) for part in zip(*known.motion(np.arange(16)), strict=True))
        assert poses.shape == (16, 8, 4)
        assert covers.shape == (16, 8, 64, 64)
        for row in (0, 7, 15):
            colour = np.array(COLOURS[store.attributes["colour"][row]], float)
            seen = store.frames[row][covers[row] > 0.99]
            assert abs(seen.mean(0) - colour).max() < 6

    def test_poses_are_in_pixels_of_the_stored_frames(self, tmp_path, store):
        small = write_drawn(tmp_path / "frames", frames=4, shrink=2)
        (poses, covers), (whole, seen) = (
            next(data.truth_of(small).motion(np.arange(16))),
            next(data.truth_of(store).motion(np.arange(16))),
        )
        assert covers.shape == (16, 4, 64, 64)
        assert np.array_equal(poses[0, :, :3], actor_frames(small)[0][:, :3] / 2)
        assert whole[0, 0, 3] == pytest.approx(poses[0, 0, 3], abs=1)
        assert len(seen) == 16

    def test_clips_of_another_world_have_no_known_motion(self, store):
        other = dataclasses.replace(store, digest="0" * 64)
        with pytest.raises(UserError, match="made by another version"):
            next(data.truth_of(other).motion(np.arange(16)))

    def test_clips_that_were_left_out_are_counted(self, tmp_path, store):
        skipped = [{"video": "train/00011.mp4", "reason": "broken", "split": "train"}]
        part = store.splits["train"]
        fewer = dataclasses.replace(part, clips=part.clips[:-1], groups=part.groups[:-1])
        left = dataclasses.replace(
            store, splits=store.splits | {"train": fewer}, clip_ids=store.clip_ids[:-1], skipped=skipped
        )
        known = data.truth_of(left)
        assert known.training.tolist() == fewer.clips.tolist()
        assert sum(len(pose) for pose, _ in known.motion(np.arange(15))) == 15

    def test_of_some_rows_it_is_what_it_is_of_all(self, store):
        motion = data.truth_of(store).motion
        (whole, _), (some, _) = next(motion(np.arange(16))), next(motion(np.array([2, 9])))
        assert np.array_equal(some, whole[[2, 9]])

    def test_of_filmed_clips_nothing_is_known(self, store):
        for name in ("random", "folder"):
            assert data.truth_of(dataclasses.replace(store, name=name)).motion is None


def actor_frames(store):
    """Pose and cover of the first clip, of four frames."""
    clip = index(DataConfig(clips=12), None, Digests()).clips[0]
    assert clip.id == store.clip_ids[0]
    return actor(clip.attributes, clip.scene, [2, 6, 10, 14])
