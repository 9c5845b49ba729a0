"""Fewer tokens: patches that a class token looks at, frames that fit a caption; decoders of some places."""

from dataclasses import replace

import pytest
import torch
from small import SIZE

from workbench.models.attention import attention_kernels
from workbench.models.decoder import DecoderConfig, HiddenDecoder, PixelDecoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.selectors.sparse import (
    FrameSelector,
    KeepAttended,
    ceil_count,
    class_attention,
    read_frames,
)
from workbench.models.video import VideoConfig, VideoEncoder

SMALL = VideoConfig(width=32, depth=3, heads=2, patch=4, tubelet=1)


def encoder(frames=4, **changes):
    torch.manual_seed(0)
    return VideoEncoder(replace(SMALL, **changes), frames=frames, size=SIZE).eval()


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips(batch=2, frames=4):
    made = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, frames, SIZE, SIZE, 3), generator=made, dtype=torch.uint8)


def hidden(batch=2, frames=4, visible=6):
    return tokens(batch, frames, 16).argsort(-1).argsort(-1).ge(visible).flatten(1)


class TestKeepAttended:
    @pytest.mark.parametrize("fused", [False, True])
    def test_attention_is_that_of_the_block(self, fused):
        """Values that name the token they belong to show what a block's own attention gave to each."""
        block, x = encoder().blocks[0], tokens(2, 9, 32)
        with torch.no_grad(), attention_kernels(block, fused=fused):
            plain = block(x)
            y, share = class_attention(block, x)
            names = torch.eye(9)[None, None].expand(2, 2, -1, -1)
            query, key, _ = block.attn.qkv(block.norm1(x)).view(2, 9, 3, 2, 16).permute(2, 0, 3, 1, 4)
            given = torch.nn.functional.scaled_dot_product_attention(query, key, names).mean(1)
        assert torch.equal(y, plain)
        assert torch.allclose(share, given[:, 0, 1:], atol=1e-6)
        assert not block.attn.qkv._forward_hooks

    def test_a_patch_that_the_class_token_looks_for_is_kept(self):
        block = encoder().blocks[0]
        with torch.no_grad():  # asks of every token for the first half of its numbers, added up
            block.attn.qkv.weight.zero_()[32:64] = torch.eye(32)
            block.attn.qkv.bias.zero_()[:32] = 4 * (torch.arange(32) % 16 < 8)
        for place in (0, 3, 7):
            x = tokens(2, 9, 32)
            x[:, 1 + place] = torch.where(torch.arange(32) % 16 < 8, 3.0, -3.0)
            drop = KeepAttended(2)
            with torch.no_grad():
                left = drop(block, x)
            assert (drop.kept == place).any(1).all()
            assert (drop.kept.diff() > 0).all(), "their order is kept"
            whole = block(x)
            expected = torch.stack([whole[i, [0, *(1 + drop.kept[i])]] for i in range(2)])
            assert torch.equal(left, expected)

    def test_keeping_all_changes_no_bit(self):
        model, x = encoder(), tokens(2, 8, 32)
        with torch.no_grad():
            plain, all_kept = model.encode(x), model.encode(x, run={1: KeepAttended(8)})
        assert torch.equal(plain.tokens, all_kept.tokens)
        assert torch.equal(plain.pooled, all_kept.pooled)


class TestReadFrames:
    def test_each_frame_is_read_by_itself(self):
        model, video, mask = encoder(), clips(), hidden()
        read = read_frames(model, video, mask)
        assert torch.equal(read.left, ~mask)
        for t in range(4):
            alone = model.encode(model.embed(video, mask)[:, 6 * t : 6 * t + 6])
            assert torch.allclose(read.tokens[:, t], alone.tokens, atol=1e-5)
            assert torch.allclose(read.vectors[:, t], alone.pooled, atol=1e-5)
        assert torch.equal(read.all[:, :, 0], read.vectors)
        assert torch.equal(read.all[:, :, 1:], read.tokens)

    @pytest.mark.parametrize(("after", "lengths"), [(0.3, [7, 4, 4]), (0.5, [7, 7, 4]), (1.0, [7, 7, 7])])
    def test_what_is_dropped_is_computed_no_further(self, after, lengths):
        model, video, mask, seen = encoder(), clips(), hidden(), []
        for block in model.blocks:
            block.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape[:2])))
        read = read_frames(model, video, mask, keep=0.5, after=after)
        assert seen == [(8, length) for length in lengths], "a class token and the patches of each frame"
        assert read.tokens.shape == (2, 4, 3, 32)
        assert read.left.view(2, 4, 16).sum(2).unique().tolist() == [3]
        assert not (read.left & mask).any(), "what was hidden stays so"

    def test_it_says_which_patches_are_left(self):
        """Dropped behind the last block, the others are what they would be without it."""
        model, video = encoder(depth=1), clips()
        read = read_frames(model, video, keep=0.25, after=1.0)
        whole = read_frames(model, video).tokens.flatten(1, 2)
        expected = torch.stack([whole[i][read.left[i]] for i in range(2)])
        assert torch.equal(read.tokens.flatten(1, 2), expected)


def test_a_share_is_rounded_up_so_that_something_is_left():
    assert [ceil_count(share, 8) for share in (0.01, 0.125, 0.13, 0.5, 1.0)] == [1, 1, 2, 4, 8]
    assert ceil_count(0.29, 100) == 29


class TestFrameSelector:
    def selector(self, count=2):
        torch.manual_seed(0)
        return FrameSelector(32, 24, count=count)

    def test_the_best_are_taken_as_they_are(self):
        made, video, text = self.selector(), tokens(3, 5, 4, 32), tokens(3, 24)
        share = made.share(video, text)
        taken, weight = made(video, text)
        assert torch.allclose(share.sum(1), torch.ones(3))
        assert torch.equal(weight, torch.ones(3, 8)), "exactly"
        for i in range(3):
            best = sorted(share[i].topk(2).indices.tolist())
            assert torch.equal(taken[i], video[i, best].flatten(0, 1))

    def test_its_weight_has_the_gradient_of_the_share(self):
        made, video, text = self.selector(), tokens(3, 5, 4, 32), tokens(3, 24)
        share = made.share(video, text)
        (share.gather(1, made.choose(share)) * 4).sum().backward()
        wanted = [p.grad.clone() for p in made.parameters()]
        made.zero_grad()
        made(video, text)[1].sum().backward()
        assert all(
            torch.allclose(p.grad, w, atol=1e-7) for p, w in zip(made.parameters(), wanted, strict=True)
        )
        assert all(p.grad.any() for p in made.parameters())

    def test_another_caption_may_choose_other_frames(self):
        made, video = self.selector(count=1), tokens(1, 5, 4, 32).expand(30, -1, -1, -1)
        torch.nn.init.normal_(made.mlp[0].weight)
        assert len({tuple(row.tolist()) for row in made.choose(made.share(video, 3 * tokens(30, 24)))}) > 1

    def test_chance_draws_by_share_without_putting_back(self):
        made = self.selector()
        share = torch.tensor([[0.5, 0.3, 0.1, 0.06, 0.04]]).expand(20_000, -1)
        chance = torch.rand(20_000, 5, generator=torch.Generator().manual_seed(0))
        chance[0] = 0.0  # as unlikely as it is
        taken = made.choose(share, chance)
        assert (taken.diff() > 0).all()
        often = torch.zeros(20_000, 5).scatter(1, taken, 1.0).mean(0)
        p = share[0].tolist()
        expected = [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(5) if j != i) for i in range(5)]
        assert torch.allclose(often, torch.tensor(expected), atol=0.02)


class TestWeightsOfPatches:
    def test_a_patch_of_weight_nought_tells_nothing_and_one_changes_no_bit(self):
        torch.manual_seed(0)
        fusion = FusionEncoder(FusionConfig(mode="xattn", width=32), video_width=32, text_width=32).eval()
        video, text = tokens(2, 5, 32), tokens(2, 3, 32)
        keep = torch.tensor([[True] * 3, [True, False, False]])
        mute = torch.tensor([1.0, 0, 1, 1, 1]).expand(2, -1)
        told = []
        for block in fusion.blocks:
            block.cross.register_forward_hook(lambda module, given, out: told.append(out[0]))
        with torch.no_grad():
            plain = fusion(video, text, keep)
            ones = fusion(video, text, keep, weight=torch.ones(2, 5))
            fusion.blocks[0].cross.key_value.weight[:32] = 0  # every key is looked at alike
            told.clear()
            fusion(video, text, keep, weight=mute)
            key, value = fusion.blocks[0].cross.key_value(fusion.blocks[0].norm_keys(video)).chunk(2, -1)
            mean = (value * mute[..., None]).sum(1, keepdim=True) / 5
        assert torch.equal(ones.text, plain.text)
        assert torch.equal(ones.pooled, plain.pooled)
        assert not key.any()
        assert torch.allclose(told[0], fusion.blocks[0].cross.out(mean).expand(-1, 4, -1), atol=1e-5)

    def test_their_gradient_does_not_vanish_in_a_norm(self):
        torch.manual_seed(0)
        fusion = FusionEncoder(FusionConfig(mode="xattn", width=32), video_width=32, text_width=32)
        weight = torch.ones(2, 1, requires_grad=True)
        fused = fusion(tokens(2, 1, 32), tokens(2, 3, 32), torch.ones(2, 3, dtype=torch.bool), weight=weight)
        (fused.pooled * tokens(2, 32, seed=3)).sum().backward()
        assert weight.grad.abs().min() > 1e-4
        with pytest.raises(AssertionError, match="words query"):
            FusionEncoder(FusionConfig(width=32), video_width=32, text_width=32)(
                tokens(2, 1, 32), tokens(2, 3, 32), torch.ones(2, 3, dtype=torch.bool), weight=weight
            )


class TestDecoders:
    def test_some_of_the_hidden_places_are_those_of_all(self):
        torch.manual_seed(0)
        model = encoder()
        decoder = PixelDecoder(DecoderConfig(width=32), grid=model.grid, encoder_width=32, pixels=48).eval()
        mask = hidden(visible=4)
        asked = mask & (mask.view(2, 4, 16).cumsum(2) <= 5).flatten(1)
        visible = tokens(2, 16, 32)
        with torch.no_grad():
            every, some = decoder(visible, mask), decoder(visible, mask, asked=asked)
        assert some.shape == (2, 20, 48)
        for i in range(2):
            assert torch.allclose(some[i], every[i][asked[i][mask[i]]], atol=1e-6)

    def test_words_are_looked_at_but_no_padding(self):
        torch.manual_seed(0)
        model = encoder()
        decoder = HiddenDecoder(DecoderConfig(width=16), grid=model.grid, encoder_width=32, words=24).eval()
        mask, visible, words = hidden(), tokens(2, 24, 32), tokens(2, 5, 24)
        keep = torch.arange(5) < torch.tensor([[5], [2]])
        with torch.no_grad():
            before = decoder(visible, mask, words, keep)
            after = decoder(visible, mask, words + 9 * ~keep[..., None], keep)
            other = decoder(visible, mask, words.flip(0), keep)
        assert before.shape == (2, 40, 16)
        assert torch.equal(before, after)
        assert ((other - before).abs().amax(2) > 1e-6).all()
        parts = [part for module in decoder.counted for part in module.modules()]
        assert decoder.enter_words in parts
        assert set(decoder.layers) <= set(parts)
