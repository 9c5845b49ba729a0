"""Cost is measured: held against the closed formula, and against counts one can do by hand."""

from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, recipe_module, recipe_names, shrink

from workbench.masking.video import PerFrameMasking, RandomMasking
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import BatchRng
from workbench.train import cost

WIDTH, DEPTH = 768, 12
"""ViT-B/16. Its blocks are alike, so one is run and counted twelve times."""


@pytest.fixture(scope="module")
def base():
    """One block of ViT-B/16 on 4 x 196 tokens."""
    config = VideoConfig(backbone="vit_base_patch16_224", width=0, depth=1, heads=0, patch=0, tubelet=1)
    return VideoEncoder(config, frames=4, size=224)


@pytest.fixture(scope="module")
def block_macs(base):
    """Multiply-adds of one block at a mask ratio, without the projection of patches."""
    video = torch.zeros(1, 4, 224, 224, 3, dtype=torch.uint8)

    def measure(ratio):
        masking = RandomMasking(ratio=ratio)
        mask = masking(base.grid, 1, BatchRng.seeded(0)) if ratio else None
        visible = base.grid.tokens - masking.hidden(base.grid)
        flops = cost.encoder_flops(base, video, mask) - 2 * visible * base.pixels * WIDTH
        return flops / 2, visible + 1

    return {ratio: measure(ratio) for ratio in (0, 0.25, 0.5, 0.6, 0.75, 0.9)}


@pytest.mark.parametrize("ratio", [0, 0.5, 0.75, 0.9])
def test_forward_flops_are_those_of_the_closed_formula(block_macs, ratio):
    measured, n = block_macs[ratio]
    assert measured == pytest.approx(12 * n * WIDTH**2 + 2 * n**2 * WIDTH, rel=0.02)


def test_an_unmasked_vit_b_on_four_frames_takes_78_gmac(block_macs):
    assert DEPTH * block_macs[0][0] / 1e9 == pytest.approx(78.0, rel=0.02)


@pytest.mark.parametrize(
    ("ratio", "share"), [(0.25, 0.723), (0.5, 0.464), (0.6, 0.366), (0.75, 0.224), (0.9, 0.087)]
)
def test_masking_saves_what_the_formula_says(block_macs, ratio, share):
    assert block_macs[ratio][0] / block_macs[0][0] == pytest.approx(share, rel=0.02)


def measure(vocabulary, batch, name, **changes):
    """Cost of one training step of a tiny recipe."""
    torch.manual_seed(0)
    config = replace(shrink(recipe_module(name).Config()), **changes)
    recipe = recipe_module(name).Recipe(config, frames=FRAMES, size=SIZE, vocabulary=vocabulary)
    return recipe, step(recipe, batch)


def step(recipe, batch):
    """Cost of one step, forward and backward."""
    draw = recipe.draw(batch, BatchRng.seeded(0))
    with cost.StepCounter(recipe, len(batch.video)) as counter:
        sum(recipe(batch, draw).values()).backward()
    return counter.cost


def masking(ratio):
    return PerFrameMasking(ratio=ratio)


class TestPasses:
    def test_mac_encodes_each_side_once(self, vocabulary, batch):
        recipe, found = measure(vocabulary, batch, "mac", video_masking=masking(0.5))
        assert (found.passes("video"), found.passes("text")) == (1, 1)
        assert found.tokens_in == recipe.video.grid.tokens == 8
        assert found.tokens_out == 4

    @pytest.mark.parametrize(
        ("weights", "passes"),
        [
            ({}, 5),  # both together, video, text, and twice as many pairs to match
            ({"vtm": 0.0}, 3),
            ({"vtc": 0.0, "vtm": 0.0}, 1),
            ({"mvm": 0.0, "mlm": 0.0, "vtm": 0.0}, 2),
        ],
    )
    def test_simvtp_reads_everything_with_its_one_encoder(self, vocabulary, batch, weights, passes):
        default = recipe_module("simvtp").Weights()
        _, found = measure(
            vocabulary, batch, "simvtp", weights=replace(default, **weights), video_masking=masking(0.5)
        )
        assert found.passes("video") == passes
        assert found.passes("text") == 0
        video, words = 4, vocabulary.length
        sequences = {5: 4 * video + 4 * words, 3: 2 * (video + words), 2: video + words, 1: video + words}
        assert found.tokens_out == sequences[passes]


class TestStep:
    def test_training_takes_about_three_times_the_forward_pass(self, vocabulary, batch):
        _, found = measure(vocabulary, batch, "mac")
        forward = found.encoders["video"].flops + found.encoders["text"].flops
        assert 2.6 * forward < found.flops < 3.2 * forward

    def test_the_forward_flops_of_the_encoders_are_told_apart(self, vocabulary, batch):
        recipe, found = measure(vocabulary, batch, "mac", video_masking=None)
        alone = cost.encoder_flops(recipe.video, batch.video, None)
        assert found.encoders["video"].flops == pytest.approx(alone, rel=1e-6)
        n, d = vocabulary.length + 1, recipe.text.width
        assert found.encoders["text"].flops == pytest.approx(8 * 2 * (12 * n * d**2 + 2 * n**2 * d), rel=0.02)

    def test_the_attention_kernel_does_not_change_the_count(self, vocabulary, batch):
        recipe, found = measure(vocabulary, batch, "mac", video_masking=None)
        assert recipe.video.blocks[0].attn.fused_attn, "put back afterwards"
        from workbench.models.attention import set_attention_kernels

        set_attention_kernels(recipe, fused=False)
        again = step(recipe, batch)
        assert again == found
        assert not recipe.video.blocks[0].attn.fused_attn

    def test_hooks_are_gone_afterwards_even_after_an_error(self, vocabulary, batch):
        recipe, _ = measure(vocabulary, batch, "mac")

        with pytest.raises(ArithmeticError), cost.StepCounter(recipe, 8):
            raise ArithmeticError
        assert recipe.video.blocks[0].attn.fused_attn, "put back"
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in recipe.modules())

    def test_metrics_are_per_clip(self, vocabulary, batch):
        _, found = measure(vocabulary, batch, "mac")
        out = found.metrics()
        assert out["cost/train_gflops_per_clip"] == pytest.approx(found.flops / 8e9)
        assert all(isinstance(value, float) for value in out.values())

    def test_blocks_of_a_step_add_up_and_what_runs_between_them_does_not_count(self, vocabulary, batch):
        """As in training: the optimiser steps between the pass and what the recipe does afterwards."""
        recipe, whole = measure(vocabulary, batch, "mac")
        draw = recipe.draw(batch, BatchRng.seeded(0))
        left, right = torch.ones(3, 5), torch.ones(5, 7)
        counter = cost.StepCounter(recipe, 8)
        with counter:
            sum(recipe(batch, draw).values()).backward()
        left @ right
        assert counter.cost == whole
        with counter:
            left @ right
        assert counter.cost.flops == whole.flops + 2 * 3 * 5 * 7
        assert counter.cost.encoders == whole.encoders

    @pytest.mark.parametrize("name", recipe_names())
    def test_every_encoder_is_counted_by_its_name(self, vocabulary, batch, name):
        recipe, found = measure(vocabulary, batch, name)
        assert set(found.encoders) == {"video", "text", *recipe.encoders()}
        assert sum(one.flops for one in found.encoders.values()) <= found.flops
        for side in found.encoders:
            assert found.metrics()[f"cost/{side}_passes"] == found.passes(side)
            assert found.metrics()[f"cost/{side}_gflops_per_clip"] * 8e9 == pytest.approx(
                found.encoders[side].flops
            )

    def test_what_simvtp_decodes_is_the_decoders(self, vocabulary, batch):
        recipe, found = measure(vocabulary, batch, "simvtp", video_masking=masking(0.5))
        assert found.passes("decoder") == 1
        assert found.encoders["decoder"].tokens == 8 * recipe.video.grid.tokens
        assert found.encoders["decoder"].flops > 0

    def test_the_step_that_is_measured_is_a_real_one(self, vocabulary, batch):
        recipe, _ = measure(vocabulary, batch, "mac")
        assert recipe.video_head.weight.grad.any()


def test_memory_and_speed_are_plausible():
    device = torch.device("cpu")
    assert 0.05 < cost.peak_memory_gb(device) < 1000
    assert 1e8 < cost.matmul_flops_per_s(device, torch.float32, side=256) < 1e15


class TestTypicalStep:
    def rows(self, *seconds, stage=0, start=0):
        return [{"step": start + i, "stage": stage, "seconds": s} for i, s in enumerate(seconds, start=1)]

    def test_a_pause_and_a_slow_first_step_do_not_count(self):
        assert cost.typical_step_seconds(self.rows(9.0, 10.0, 11.0, 99.0, 100.0)) == pytest.approx(1.0)

    def test_stages_count_by_their_steps(self):
        rows = self.rows(5.0, 6.0, 7.0) + self.rows(10.0, stage=1, start=3)
        assert cost.typical_step_seconds(rows) == pytest.approx((3 * 1.0 + 1 * 3.0) / 4)

    def test_rows_may_lie_several_steps_apart(self):
        rows = [{"step": s, "stage": 0, "seconds": 2.0 * s} for s in (1, 3, 6, 9)]
        assert cost.typical_step_seconds(rows) == pytest.approx(2.0)

    def test_a_single_step_is_all_there_is(self):
        assert cost.typical_step_seconds(self.rows(3.0)) == pytest.approx(3.0)
