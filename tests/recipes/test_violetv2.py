"""VIOLETv2: each target against a loop, where it counts, and where it comes from."""

from dataclasses import replace

import numpy as np
import overfit
import pytest
import torch
from drawn import write_drawn
from real_runs import real_run
from small import recipe_module, shrink

from workbench import data, losses
from workbench.config import Budget, DataConfig, InitFrom, OptimConfig, RunConfig, Stage
from workbench.data import moving_shapes
from workbench.errors import UserError
from workbench.masking.video import CellMasking, CellOrBoxMasking
from workbench.models.text import vocabulary as train_vocabulary
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.targets.features import normalised_features
from workbench.targets.hog import hog_image
from workbench.targets.motion import patch_depth, patch_flow
from workbench.train.loop import train
from workbench.train.session import open_session, try_to_build

violetv2 = recipe_module("violetv2")
TARGETS = violetv2.TARGETS
CPU = torch.device("cpu")
SEEN = DataConfig(name="moving_shapes", frames=8, size=64)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_drawn(tmp_path_factory.mktemp("drawn") / "frames")


@pytest.fixture(scope="module")
def words(store):
    return train_vocabulary(store.splits["train"].captions, violetv2.Config().text)


@pytest.fixture(scope="module")
def batch(store, words):
    """Six training clips with their rows."""
    rows = store.splits["train"].clips[:6]
    plain = Batch.of(torch.from_numpy(store.frames[rows]), words.encode(store.splits["train"].captions[:6]))
    return plain._replace(index=torch.from_numpy(rows))


def tiny(target="pixel", **changes):
    """Narrow, but with patches of 16 pixels of single frames: 8 x 4 x 4 tokens."""
    return replace(shrink(violetv2.Config(target=target), patch=16, tubelet=1), **changes)


def made(store, words, target="pixel", **changes):
    torch.manual_seed(0)
    recipe = violetv2.Recipe(tiny(target, **changes), frames=8, size=64, vocabulary=words)
    if target in ("features_2d", "features_3d"):
        for weight in recipe.teacher.parameters():
            torch.nn.init.normal_(weight, std=0.2)
    recipe.attach([data.truth_of(store)])
    recipe.prepare(store, torch.Generator().manual_seed(0))
    return recipe.eval()


def drawn(recipe, batch, seed=0):
    return recipe.draw(batch, BatchRng.seeded(seed))


def only(*tokens, rows=6):
    """A mask that hides the same few tokens of each clip."""
    mask = torch.zeros(rows, 128, dtype=torch.bool)
    mask[:, list(tokens)] = True
    return mask


def token_pixels(picture, token):
    """What a token sees of a clip's pictures [8, 64, 64, ...]."""
    t, row, column = token // 16, token % 16 // 4, token % 4
    return picture[t, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]


def truth(store):
    parts = (
        torch.from_numpy(np.concatenate(part))
        for part in zip(*data.truth_of(store).motion(np.arange(len(store.clip_ids))), strict=True)
    )
    return tuple(parts)


def expected(recipe, store, batch, row, token):
    """The target of one token of one clip, from its definition."""
    clip, index = batch.video[row], int(batch.index[row])
    match recipe.target:
        case "pixel":
            return token_pixels(clip, token).flatten() / 255
        case "hog":
            std = torch.tensor([0.229, 0.224, 0.225])
            return token_pixels(hog_image(clip / 255 / std), token).flatten()
        case "codes":
            far = recipe.codebook.centroids - token_pixels(clip, token).flatten() / 255
            return far.square().sum(1).argmin()
        case "depth":
            return patch_depth(truth(store)[1], (4, 4))[index, token]
        case "flow":
            return patch_flow(*truth(store), 64, (4, 4))[index, token, :2]
        case "features_2d":
            return normalised_features(recipe.teacher(clip[None, token // 16, None]).tokens[0, token % 16])
        case _:
            return normalised_features(recipe.teacher(clip[None]).tokens[0, token])


@pytest.mark.parametrize("target", TARGETS)
class TestEveryTarget:
    @torch.no_grad()
    def test_it_is_what_its_definition_says_at_the_hidden_places(
        self, store, words, batch, target, monkeypatch
    ):
        recipe, found = made(store, words, target), []
        name = "mvm_codes" if target == "codes" else "mvm_l1"
        monkeypatch.setattr(losses, name, lambda made, wanted: found.append((made, wanted)) or made.sum() * 0)
        recipe._mvm(batch, torch.zeros(6, 128, 32), only(5, 22, 41))
        # Flow is also told of the same places in the frame before, 6 and 25; token 5 is of the first frame.
        tokens = (5, 6, 22, 25, 41) if target == "flow" else (5, 22, 41)
        (_, wanted) = found[0]
        each = [(row, token) for row in range(6) for token in tokens]
        if target == "flow":
            known = patch_flow(*truth(store), 64, (4, 4))[batch.index][..., 2]
            each = [(row, token) for row, token in each if known[row, token]]
        assert len(wanted) == len(each)
        for value, (row, token) in zip(wanted, each, strict=True):
            assert torch.allclose(value, expected(recipe, store, batch, row, token), atol=2e-4)
        assert torch.isfinite(wanted).all()
        assert len(wanted.float().unique()) > 2

    @torch.no_grad()
    def test_a_perfect_prediction_has_no_loss_and_any_other_has_one(
        self, store, words, batch, target, monkeypatch
    ):
        recipe, found = made(store, words, target), []
        name = "mvm_codes" if target == "codes" else "mvm_l1"
        true = getattr(losses, name)
        monkeypatch.setattr(losses, name, lambda made, wanted: found.append(wanted) or true(made, wanted))
        draw = drawn(recipe, batch)
        assert recipe(batch, draw)["mvm"] > 0.01
        wanted = found[0]
        perfect = 1e4 * torch.nn.functional.one_hot(wanted, 256) if target == "codes" else wanted
        monkeypatch.setattr(recipe.mvm_head, "forward", lambda tokens: perfect.float())
        assert recipe(batch, draw)["mvm"] == 0

    def test_the_loss_ignores_what_is_not_hidden(self, store, words, batch, target):
        recipe = made(store, words, target)
        mask = only(5, 22, 41)
        counted = mask.clone()
        if target == "flow":  # it is predicted from both frames
            counted[:, 16:] |= mask[:, :-16]
            counted[:, :-16] |= mask[:, 16:]
        tokens = torch.randn(6, 128, 32, generator=torch.Generator().manual_seed(0))
        before = recipe._mvm(batch, tokens, mask)
        assert before > 0
        assert recipe._mvm(batch, tokens + 5 * ~counted[..., None], mask) == before
        for token in (5, 22, 41):
            assert recipe._mvm(batch, tokens + 5 * only(token)[..., None], mask) != before

    def test_it_teaches_the_head_and_the_encoders(self, store, words, batch, target):
        recipe = made(store, words, target)
        recipe(batch, drawn(recipe, batch))["mvm"].backward()
        for part in (recipe.mvm_head, recipe.video, recipe.fusion, recipe.text):
            assert any(p.grad is not None and p.grad.any() for p in part.parameters())
        if target.startswith("features"):
            assert not any(p.requires_grad for p in recipe.teacher.parameters())


def run(recipe, *, steps, **changes):
    defaults = {
        "data": SEEN,
        "stages": (Stage(budget=Budget(unit="steps", amount=steps)),),
        "optim": OptimConfig(batch_size=6, lr=3e-3),
        "evaluations": 1,
    }
    return RunConfig(recipe=recipe, **(defaults | changes))


@pytest.mark.parametrize("target", [t for t in TARGETS if t not in ("features_2d", "features_3d")])
def test_a_run_learns_it(store, target):
    session = overfit.session_of(run(tiny(target, codes=8), steps=12), store)
    found = [row["train/mvm"] for _, row in train(session) if "train/mvm" in row]
    assert sum(found[-4:]) < 0.95 * sum(found[:4])


@torch.no_grad()
def test_the_l1_loss_is_a_mean_over_hidden_places_and_values(store, words, batch):
    """sum(m |y - t|) / sum(m) / C"""
    recipe = made(store, words)
    draw = drawn(recipe, batch)
    mask = draw.video_mask
    read = recipe._read(recipe.video(batch.video, mask).tokens, batch.text, draw.text_mask).video
    error = (recipe.mvm_head(read) - recipe.video.patches(batch.video) / 255).abs()
    by_formula = (error * mask[..., None]).sum() / mask.sum() / error.shape[-1]
    assert recipe(batch, draw)["mvm"].item() == pytest.approx(by_formula.item(), rel=1e-5)


class TestMotion:
    def test_flow_is_told_where_either_of_two_frames_is_hidden(self, store, words, batch, monkeypatch):
        recipe = made(store, words, "flow")
        recipe.known.values[..., 2] = 1  # known everywhere
        seen = []
        recipe.mvm_head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        tokens = torch.arange(128.0)[None, :, None].expand(6, -1, 32).contiguous()
        for hidden, counted in (((37,), (21, 37)), ((5,), (5,)), ((117,), (101,)), ((21, 37), (5, 21, 37))):
            recipe._mvm(batch, tokens, only(*hidden))
            assert seen[-1][:, 0].view(6, -1).tolist() == [list(map(float, counted))] * 6
            assert (seen[-1][:, 32] - seen[-1][:, 31] == 16).all(), "beside the token of the next frame"

    def test_where_flow_is_not_known_nothing_is_asked(self, store, words, batch):
        recipe = made(store, words, "flow")
        recipe.known.values[..., 2] = 0
        loss = recipe(batch, drawn(recipe, batch))["mvm"]
        assert loss == 0
        loss.backward()

    def test_clips_are_found_by_their_row_and_their_data_set(self, store, words, batch):
        recipe = made(store, words, "depth")
        table = recipe.known.values.clone()
        recipe.attach([data.truth_of(store)] * 2)
        assert len(recipe.known.values) == 2 * len(table)
        other = batch._replace(source=torch.tensor([0, 1, 0, 1, 0, 1]))
        recipe.known.values[len(table) :] += 1
        assert torch.isfinite(table[batch.index]).all()
        assert torch.equal(recipe.known(other)[::2], table[batch.index[::2]])
        assert torch.equal(recipe.known(other)[1::2], table[batch.index[1::2]] + 1)

    @pytest.mark.parametrize("target", ["flow", "depth"])
    def test_filmed_clips_are_refused_in_a_sentence_that_names_what_is_possible(self, store, target):
        other = replace(store, name="folder")
        with pytest.raises(
            UserError, match="moving_shapes; with folder the target must be pixel, hog, codes"
        ) as caught:
            open_session(run(tiny(target), steps=1), other, device=CPU)
        assert str(caught.value).endswith("features_3d or features_ema")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("target", ["flow", "depth"])
    @pytest.mark.parametrize(
        ("seen", "said"),
        [
            (replace(SEEN, name="folder"), "with folder the target must be"),
            (replace(SEEN, stored=16), "must be 0"),
        ],
    )
    def test_both_are_refused_before_there_are_data_where_the_target_is_trained(self, target, seen, said):
        config = run(tiny(target), steps=1, data=seen)
        with pytest.raises(UserError, match=said) as caught:
            try_to_build(config)
        assert "\n" not in str(caught.value)
        try_to_build(run(tiny(target, weights=violetv2.Weights(mvm=0.0)), steps=1, data=seen))
        aligned = Stage(objective="align", budget=config.stages[0].budget, data=seen)
        try_to_build(run(tiny(target), steps=1, stages=(*config.stages, aligned)))

    def test_flow_is_of_the_same_places_as_a_mask_would_pick_them(self, store, words, batch):
        recipe = made(store, words, "flow")
        mask = drawn(recipe, batch).video_mask
        tokens = torch.randn(6, 128, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
        flow, known = recipe.known(batch).split([2, 1], -1)
        at = (mask[:, :-16] | mask[:, 16:]) & known[..., 0].bool()
        pairs = torch.cat([tokens[:, :-16], tokens[:, 16:]], -1)[at]
        expected = losses.mvm_l1(recipe.mvm_head(pairs), flow[at])
        found = recipe._mvm(batch, tokens, mask)
        assert torch.equal(found, expected)
        assert torch.equal(*(torch.autograd.grad(loss, tokens)[0] for loss in (found, expected)))

    def test_data_that_are_only_aligned_need_no_truth(self, store, tmp_path):
        other = replace(store, name="folder")
        filmed = replace(SEEN, name="folder")
        budget = Budget(unit="steps", amount=2)
        stages = (Stage(objective="align", budget=budget, data=filmed), Stage(budget=budget))
        session = open_session(
            run(tiny("depth"), steps=1, stages=stages), {SEEN: store, filmed: other}, device=CPU
        )
        rows = [row for _, row in train(session)]
        assert all(np.isfinite(row["train/mvm"]) for row in rows if "train/mvm" in row)
        assert any("train/mvm" in row for row in rows)

    def test_only_training_clips_are_drawn(self, store, words, monkeypatch):
        drawn = []
        true = moving_shapes.motion
        monkeypatch.setattr(
            moving_shapes, "motion", lambda store, rows: drawn.append(rows.tolist()) or true(store, rows)
        )
        training = sorted(set(store.splits["train"].clips.tolist()))
        recipe = made(store, words, "depth")
        assert drawn == [training]
        assert len(training) < len(store.clip_ids)
        known = torch.isfinite(recipe.known.values).flatten(1)
        assert known.all(1).nonzero()[:, 0].tolist() == training
        assert known.any(1).nonzero()[:, 0].tolist() == training, "any other clip would spoil the loss"

    def test_frames_that_are_only_sampled_are_refused(self, tmp_path, words):
        whole = write_drawn(tmp_path / "frames", frames=16)
        with pytest.raises(UserError, match=r"data\.stored must be 0"):
            made(whole, words, "flow")

    def test_no_checkpoint_holds_it_and_a_resumed_run_knows_it_again(self, store, tmp_path):
        stages = tuple(Stage(budget=Budget(unit="steps", amount=n)) for n in (3, 2))
        config = run(tiny("flow"), steps=1, stages=stages)
        session = overfit.session_of(config, store)
        assert not [name for name in session.recipe.state_dict() if name.startswith("known")]
        list(train(session))
        again = overfit.stopped_and_resumed(config, store, tmp_path, stops=(2, 4))
        one, other = overfit.weights(session), overfit.weights(again)
        assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []

    def test_a_clip_of_one_frame_has_no_flow(self, words):
        with pytest.raises(UserError, match="two frames"):
            violetv2.Recipe(tiny("flow"), frames=1, size=64, vocabulary=words)


class TestTeachers:
    def test_one_of_single_frames_knows_no_other_frame_and_one_of_clips_does(self, store, words, batch):
        other = batch.video.clone()
        other[:, 4] ^= 255
        for target, alone in (("features_2d", True), ("features_3d", False)):
            recipe = made(store, words, target)
            mask = only(*range(16))  # the first frame
            before = recipe._targets(batch, mask)
            assert (
                torch.allclose(recipe._targets(batch._replace(video=other), mask), before, atol=1e-5) == alone
            )

    def test_a_moving_average_follows_the_student_after_each_step(self, store, words):
        recipe = made(store, words, "features_ema", momentum=0.9)
        before = {name: value.clone() for name, value in recipe.teacher.named_parameters()}
        with torch.no_grad():
            for weight in recipe.video.parameters():
                weight += 1.0
        recipe.after_step(0.5)
        for name, value in recipe.teacher.named_parameters():
            assert torch.allclose(value, before[name] + 0.1, atol=1e-5), name
        recipe.prepare(store, torch.Generator())
        assert all(
            torch.equal(value, dict(recipe.video.named_parameters())[name])
            for name, value in recipe.teacher.named_parameters()
        )

    def test_other_targets_leave_the_teacher_out(self, store, words):
        recipe = made(store, words, "hog")
        assert "teacher" not in recipe.encoders()
        assert not [name for name in recipe.state_dict() if name.startswith(("teacher", "codebook", "known"))]

    def test_without_a_run_there_is_no_teacher(self, store):
        config = run(tiny("features_3d"), steps=1)
        with pytest.raises(UserError, match="init_from") as caught:
            try_to_build(config)
        assert "\n" not in str(caught.value)
        try_to_build(replace(config, init_from=(InitFrom(part="teacher", source="video", run="a/b"),)))
        with pytest.raises(UserError, match="init_from"):
            try_to_build(replace(config, init_from=(InitFrom(part="video", run="a/b"),)))
        recipe = violetv2.Recipe(
            config.recipe, frames=8, size=64, vocabulary=train_vocabulary(["a"], config.recipe.text)
        )
        with pytest.raises(UserError, match="init_from"):
            recipe.prepare(store, torch.Generator())

    def test_the_weights_of_a_run_become_the_teacher(self, tmp_path, monkeypatch, store):
        source = run(shrink(recipe_module("mac").Config(), patch=16, tubelet=1), steps=1)
        other, code = real_run(monkeypatch, tmp_path, source, store)
        assert code == 0
        config = run(
            tiny("features_3d"),
            steps=3,
            init_from=(InitFrom(part="teacher", source="video", run=f"test/{other.path.name}"),),
        )
        session = open_session(config, store, device=CPU, runs=other.path.parents[1])
        before = {name: value.clone() for name, value in session.recipe.teacher.named_parameters()}
        rows = [row for _, row in train(session)]
        assert rows[0]["train/mvm"] > 0
        for name, value in session.recipe.teacher.named_parameters():
            assert torch.equal(value, before[name]), "it learns nothing"
        assert session.costs["cost/teacher_passes"] == 1


class TestMasks:
    def test_cells_or_boxes_of_three_tenths_and_no_model_is_asked(self, store, words, batch):
        recipe = made(store, words)
        assert recipe.config.video_masking == CellOrBoxMasking(ratio=0.3)
        draw = drawn(recipe, batch)
        assert draw.video_mask.sum(1).tolist() == [38] * 6
        assert set(draw.chosen) == {"shift"}

    def test_one_side_is_hidden_without_a_look_at_the_other(self, store, words, batch):
        """Or the choice of the caption, as masked, would be one of the mask that fits."""
        recipe = made(store, words)
        before = drawn(recipe, batch)
        after = drawn(recipe, batch._replace(text=batch.text.select(torch.tensor([3, 1, 5, 0, 2, 4]))))
        assert torch.equal(after.video_mask, before.video_mask)
        after = drawn(recipe, batch._replace(video=batch.video ^ 255))
        assert torch.equal(after.text_mask, before.text_mask)

    def test_any_other_masking_will_do(self, store, words, batch):
        recipe = made(store, words, video_masking=CellMasking(ratio=0.5))
        assert drawn(recipe, batch).video_mask.sum(1).tolist() == [64] * 6

    @pytest.mark.parametrize("off", ["mlm", "mvm", "vtm"])
    def test_a_term_of_weight_zero_is_not_computed(self, store, words, batch, off):
        recipe = made(store, words, weights=replace(violetv2.Weights(), **{off: 0.0}))
        assert set(recipe(batch, drawn(recipe, batch))) == {"mlm", "mvm", "vtm"} - {off}

    def test_where_nothing_is_left_to_learn_it_says_so(self, store, words, batch):
        recipe = made(store, words, weights=violetv2.Weights(vtm=0.0))
        with pytest.raises(UserError, match="nothing to learn"):
            recipe(batch, Draw())


@pytest.mark.parametrize(
    ("target", "change"),
    [
        ("sound", lambda c: {}),
        ("pixel", lambda c: {"momentum": 1.0}),
        ("pixel", lambda c: {"codes": 0}),
        ("pixel", lambda c: {"video": replace(c.video, hidden="drop")}),
        ("flow", lambda c: {"video": replace(c.video, tubelet=2)}),
        ("features_2d", lambda c: {"video": replace(c.video, tubelet=4)}),
    ],
)
def test_what_it_cannot_do_is_refused(target, change):
    with pytest.raises(UserError):
        tiny(target, **change(tiny()))


@pytest.mark.parametrize("target", ["pixel", "hog", "codes", "features_3d", "features_ema"])
def test_these_may_be_of_tubelets(words, batch, store, target):
    config = tiny(target)
    config = replace(config, video=replace(config.video, tubelet=2))
    recipe = violetv2.Recipe(config, frames=8, size=64, vocabulary=words)
    assert torch.isfinite(recipe(batch, drawn(recipe, batch))["mvm"])
