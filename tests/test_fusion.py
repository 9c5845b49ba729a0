"""Clip and caption read together: against transformers' own modules, and who may see whom."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BlipTextConfig, LxmertConfig, ViltConfig
from transformers.models.bert.modeling_bert import BertLMPredictionHead
from transformers.models.blip.modeling_blip_text import BlipTextLayer
from transformers.models.lxmert.modeling_lxmert import LxmertXLayer
from transformers.models.vilt.modeling_vilt import ViltLayer

from workbench import losses
from workbench.errors import UserError
from workbench.models.attention import attention_kernels
from workbench.models.cross import CrossStack
from workbench.models.fusion import FusionConfig, FusionEncoder, seq2seq
from workbench.models.word_head import WordHead

MODES = ("concat", "xattn", "stride", "both")
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 128}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def fusion(mode, depth=3, **widths):
    torch.manual_seed(0)
    config = FusionConfig(mode=mode, width=32, depth=depth, heads=2, stride=2)
    made = FusionEncoder(config, **({"video_width": 32, "text_width": 32} | widths))
    with torch.no_grad():  # at the start, all biases are zero and all norms are alike
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture
def inputs():
    """Three clips of five patches, and captions of four, two and no words."""
    made = torch.Generator().manual_seed(1)
    keep = torch.arange(4)[None] < torch.tensor([4, 2, 0])[:, None]
    return torch.randn(3, 5, 32, generator=made), torch.randn(3, 4, 32, generator=made), keep


@pytest.mark.parametrize("mode", MODES)
class TestEveryMode:
    def test_its_shapes(self, mode, inputs):
        fused = fusion(mode)(*inputs, show=True)
        assert fused.video.shape == (3, 5, 32)
        assert fused.text.shape == (3, 4, 32)
        assert fused.pooled.shape == (3, 32)
        assert fused.attention.shape == (3, 5, 5)
        assert all(torch.isfinite(x).all() for x in fused)
        assert fusion(mode)(*inputs).attention is None

    def test_padding_is_never_seen(self, mode, inputs):
        video, text, keep = inputs
        before = fusion(mode)(video, text, keep, show=True)
        after = fusion(mode)(video, text + 9 * ~keep[..., None], keep, show=True)
        assert torch.equal(after.pooled, before.pooled)
        assert torch.equal(after.video, before.video)
        assert torch.equal(after.text[keep], before.text[keep])

    def test_every_word_and_patch_is_seen(self, mode, inputs):
        video, text, keep = inputs
        before = fusion(mode)(video, text, keep)
        for i in range(5):
            other = video.clone()
            other[:, i] = other[:, i].flip(-1)
            after = fusion(mode)(other, text, keep)
            assert ((after.pooled - before.pooled).abs().amax(1) > 1e-5).all()
            assert ((after.text - before.text).abs().amax(2)[keep] > 1e-6).all()
        for i in range(4):
            other = text.clone()
            other[:, i] = other[:, i].flip(-1)
            after = fusion(mode)(video, other, keep)
            assert ((after.pooled - before.pooled).abs().amax(1) > 1e-5).tolist() == keep[:, i].tolist()

    def test_every_parameter_learns_and_both_kernels_agree(self, mode, inputs):
        made = fusion(mode, depth=4, video_width=16, text_width=24)
        inputs = inputs[0][..., :16], inputs[1][..., :24], inputs[2]
        fused = made(*inputs)
        with attention_kernels(made, fused=False):
            assert torch.allclose(made(*inputs).pooled, fused.pooled, atol=1e-5)
        (fused.pooled.square().sum() + fused.text.square().sum() + fused.video.square().sum()).backward()
        assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_a_row_is_read_alike_alone_and_in_company(self, mode, inputs):
        whole = fusion(mode)(*inputs)
        alone = fusion(mode)(*(x[1:2] for x in inputs))
        assert torch.allclose(alone.pooled, whole.pooled[1:2], atol=1e-5)

    def test_every_block_that_runs_is_among_its_layers(self, mode, inputs):
        made = fusion(mode)
        blocks = [m for m in made.modules() if hasattr(m, "mlp")]
        assert {id(m) for m in blocks} == {id(m) for m in made.layers}
        seen = []
        made.layers[0].register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
        made(*inputs)
        tokens = {"concat": 9, "xattn": 4, "stride": 4, "both": 5}[mode]
        assert seen == [(3, made.extra_tokens + tokens, 32)]


def test_a_stride_lets_the_clip_pass_by_until_the_block_that_reads_both(inputs):
    made = fusion("stride", depth=4)
    assert [block.crosses for block in made.blocks] == [True, False, True, False]
    one = fusion("stride", depth=1)
    assert torch.allclose(one(*inputs).video, one.norm(inputs[0] + one.side[0]))
    assert (fusion("xattn")(*inputs).video == inputs[0] + fusion("xattn").side[0]).all()


def test_under_both_each_side_can_be_had_alone(inputs):
    video, text, keep = inputs
    made = fusion("both")
    plain = made(video, text, keep)
    assert torch.equal(made.look(video, text, keep), plain.video)
    assert torch.equal(made.read(text, keep, video), plain.text)
    assert torch.equal(made.look(video, None, keep), made.look(video, None, ~keep)), "nothing of the caption"
    assert not torch.equal(made.look(video, None, keep), plain.video)
    assert not torch.equal(made.read(text, keep, None), plain.text)


def test_under_seq2seq_no_word_sees_a_later_one_and_no_patch_sees_a_word(inputs):
    video, text, _ = inputs
    made, mask = fusion("concat"), seq2seq(5, 4)
    keep = torch.ones(3, 4, dtype=torch.bool)
    before = made(video, text, keep, attend=mask)
    for i in range(4):
        other = text.clone()
        other[:, i] = other[:, i].flip(-1)
        after = made(video, other, keep, attend=mask)
        assert torch.equal(after.text[:, :i], before.text[:, :i]), i
        assert ((after.text - before.text).abs().amax(2)[:, i:] > 1e-6).all(), i
        assert torch.equal(after.video, before.video)
        assert torch.equal(after.pooled, before.pooled)
    batched = made(video, text, keep, attend=mask.expand(3, -1, -1))
    assert torch.allclose(batched.text, before.text, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_attention_is_the_share_of_each_patch(mode, inputs):
    video, text, keep = inputs
    share = fusion(mode)(video, text, keep, show=True).attention
    total = share.sum(2)
    if mode == "xattn":
        assert torch.allclose(total, torch.ones(3, 5), atol=1e-5)
    else:
        assert ((total > 0) & (total < 1)).all(), "some of it falls on words or on a class token"


def test_what_makes_no_sense_is_refused():
    for wrong in ({"mode": "sideways"}, {"depth": 0}, {"heads": 3}):
        with pytest.raises(UserError, match="fusion"):
            FusionConfig(**wrong)


def copy_attention(ours, query, key, value, out):
    with torch.no_grad():
        for mine, theirs in ((ours.query, query), (ours.out, out)):
            mine.weight.copy_(theirs.weight)
            mine.bias.copy_(theirs.bias)
        ours.key_value.weight.copy_(torch.cat([key.weight, value.weight]))
        ours.key_value.bias.copy_(torch.cat([key.bias, value.bias]))


def copy_mlp(ours, first, second):
    ours.fc1.load_state_dict(first.state_dict())
    ours.fc2.load_state_dict(second.state_dict())


def padding(keep):
    return torch.zeros(keep.shape).masked_fill(~keep, -1e30)[:, None, None]


def test_concat_is_vilts_encoder(inputs):
    """Two of its layers with our weights, over class token, patches and words."""
    video, text, keep = inputs
    made = fusion("concat", depth=2)
    config = ViltConfig(**SIZES, **NO_DROPOUT, qkv_bias=True, layer_norm_eps=1e-6)
    x = torch.cat([made.cls.expand(3, 1, -1), video + made.side[0], text + made.side[1]], 1)
    bias = padding(torch.cat([torch.ones(3, 6, dtype=torch.bool), keep], 1))
    for block in made.blocks:
        theirs = ViltLayer(config).eval()
        own = theirs.attention.attention
        copy_attention(block.attention, own.query, own.key, own.value, theirs.attention.output.dense)
        copy_mlp(block.mlp, theirs.intermediate.dense, theirs.output.dense)
        theirs.layernorm_before.load_state_dict(block.norm1.state_dict())
        theirs.layernorm_after.load_state_dict(block.norm2.state_dict())
        x = theirs(x, bias)[0]
    expected = made.norm(x)
    fused = made(video, text, keep)
    assert torch.allclose(fused.pooled, expected[:, 0], atol=1e-5)
    assert torch.allclose(fused.video, expected[:, 1:6], atol=1e-5)
    assert torch.allclose(fused.text[keep], expected[:, 6:][keep], atol=1e-5)


def without_norms(module):
    """Theirs stand behind a part, ours before it: what is compared is all the rest."""
    for name, part in module.named_children():
        if isinstance(part, nn.LayerNorm):
            setattr(module, name, nn.Identity())
        else:
            without_norms(part)


def test_xattn_is_blips_text_encoder_but_for_the_place_of_the_norms(inputs):
    video, text, keep = inputs
    made = fusion("xattn", depth=2)
    config = BlipTextConfig(**SIZES, **NO_DROPOUT, encoder_hidden_size=32, is_decoder=True)
    x = torch.cat([made.cls.expand(3, 1, -1), text + made.side[1]], 1)
    bias = padding(torch.cat([torch.ones(3, 1, dtype=torch.bool), keep], 1))
    without_norms(made)
    for i, block in enumerate(made.blocks):
        theirs = BlipTextLayer(config, i).eval()
        for ours, part in ((block.attention, theirs.attention), (block.cross, theirs.crossattention)):
            own = part.self
            copy_attention(ours, own.query, own.key, own.value, part.output.dense)
        copy_mlp(block.mlp, theirs.intermediate.dense, theirs.output.dense)
        without_norms(theirs)
        x = theirs(x, encoder_hidden_states=video + made.side[0], attention_mask=bias)
    fused = made(video, text, keep)
    assert torch.allclose(fused.pooled, x[:, 0], rtol=1e-4, atol=1e-5)
    assert torch.allclose(fused.text[keep], x[:, 1:][keep], rtol=1e-4, atol=1e-5)


def test_both_is_a_cross_layer_of_lxmert_but_for_norms_and_order(inputs):
    """Lxmert crosses first and shares one attention between both directions; self-attention is silenced."""
    video, text, keep = inputs
    made = fusion("both", depth=1)
    theirs = LxmertXLayer(LxmertConfig(**SIZES, **NO_DROPOUT)).eval()
    sides = (
        (made.video_stack, theirs.visn_self_att, theirs.visn_inter, theirs.visn_output),
        (made.text_stack, theirs.lang_self_att, theirs.lang_inter, theirs.lang_output),
    )
    for stack, own, first, second in sides:
        block = stack.blocks[0]
        cross = theirs.visual_attention
        copy_attention(block.cross, cross.att.query, cross.att.key, cross.att.value, cross.output.dense)
        copy_mlp(block.mlp, first.dense, second.dense)
        for silent in (own.output.dense, block.attention.out):
            nn.init.zeros_(silent.weight)
            nn.init.zeros_(silent.bias)
    without_norms(made)
    without_norms(theirs)
    patches = torch.cat([made.cls[:1].expand(3, 1, -1), video + made.side[0]], 1)
    words = torch.cat([made.cls[1:].expand(3, 1, -1), text + made.side[1]], 1)
    bias = padding(torch.cat([torch.ones(3, 1, dtype=torch.bool), keep], 1))
    language, vision = theirs(words, bias, patches, None)
    fused = made(video, text, keep)
    assert torch.allclose(fused.video, vision[:, 1:], atol=1e-5)
    assert torch.allclose(fused.text[keep], language[:, 1:][keep], atol=1e-5)
    assert torch.allclose(fused.pooled, vision[:, 0] * language[:, 0], rtol=1e-4, atol=1e-5)


def test_a_stack_reads_other_widths():
    stack = CrossStack(16, 2, 2, reads=32, keys=24)
    tokens, _ = stack(torch.randn(2, 3, 32), None, torch.randn(2, 4, 24))
    assert tokens.shape == (2, 3, 16)


def test_the_word_head_is_berts():
    theirs = BertLMPredictionHead(BertConfig(**SIZES, vocab_size=11, layer_norm_eps=1e-5))
    ours = WordHead(32, 11)
    ours.mlp[0].load_state_dict(theirs.transform.dense.state_dict())
    ours.mlp[2].load_state_dict(theirs.transform.LayerNorm.state_dict())
    with torch.no_grad():
        ours.words.weight.copy_(theirs.decoder.weight)
        ours.words.bias.copy_(theirs.decoder.bias)
    x = torch.randn(2, 3, 32)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


class TestHardNegatives:
    def naive(self, scores, positive, chance):
        found = []
        for row, own, u in zip(scores.tolist(), positive.tolist(), chance.tolist(), strict=True):
            row = torch.tensor(row, dtype=torch.float64).softmax(0) + 1e-4
            weights = [0.0 if mine else w for w, mine in zip(row.tolist(), own, strict=True)]
            so_far, target = 0.0, u * sum(weights)
            for j, weight in enumerate(weights):
                so_far += weight
                if so_far > target:
                    found.append(j)
                    break
        return found

    @pytest.mark.parametrize("seed", range(20))
    def test_it_walks_along_the_cumulated_shares(self, seed):
        made = torch.Generator().manual_seed(seed)
        scores = 3 * torch.randn(7, 7, generator=made)
        positive = torch.eye(7, dtype=torch.bool) | (torch.rand(7, 7, generator=made) < 0.2)
        chance = torch.rand(7, 2, generator=made)
        video, text = losses.hard_negatives(scores, positive, chance)
        assert video.tolist() == self.naive(scores.T, positive.T, chance[:, 0])
        assert text.tolist() == self.naive(scores, positive, chance[:, 1])

    def test_never_a_positive_even_at_the_ends_and_often_what_fits(self):
        scores = torch.tensor([[9.0, 8.0, 0.0], [0.0, 9.0, 0.0], [9.0, 0.0, 9.0]])
        for u in (0.0, 0.5, 1 - 2**-24):
            for drawn in losses.hard_negatives(scores, torch.eye(3, dtype=torch.bool), torch.full((3, 2), u)):
                assert (drawn != torch.arange(3)).all()
        chance = torch.rand(3, 2, 2000, generator=torch.Generator().manual_seed(0))
        seen = [
            losses.hard_negatives(scores, torch.eye(3, dtype=torch.bool), chance[..., i])[1][0].item()
            for i in range(2000)
        ]
        share = scores[0].softmax(0)[1:] + 1e-4
        expected = (share[0] / share.sum()).item()
        assert abs(seen.count(1) / 2000 - expected) < 0.02
        alone = losses.hard_negatives(
            torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 2)
        )
        assert [x.tolist() for x in alone] == [[0], [0]], "a batch of one has no other"


def test_the_absolute_error():
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert losses.mvm_l1(a, b).item() == pytest.approx((a - b).abs().mean().item())
    assert losses.mvm_l1(a[:, :0], b[:, :0]).item() == 0


@torch.no_grad()
def test_the_attention_that_patches_and_words_get_is_that_of_all_tokens_in_all_blocks(inputs):
    """By hand from queries and keys, head by head; words that are padding neither give nor get any."""
    video, text, keep = inputs
    made = fusion("concat", depth=2)
    found = made.received(video, text, keep)
    assert found.shape == (3, 9)
    for i in range(3):
        words = int(keep[i].sum())
        x = torch.cat([made.cls, video[i] + made.side[0], text[i, :words] + made.side[1]])
        expected = torch.zeros(6 + words)
        for block in made.blocks:
            own = block.norm1(x)
            query = block.attention.query(own).view(-1, 2, 16)
            key = block.attention.key_value(own).view(-1, 2, 2, 16)[:, 0]
            for head in range(2):
                share = (query[:, head] @ key[:, head].T / 4).softmax(1)
                expected += share.sum(0) / 2
            x = block(x[None])[0][0]
        assert torch.allclose(found[i, : 5 + words], expected[1:], atol=1e-5)
        assert (found[i, 5 + words :] == 0).all()
        assert expected.sum().item() == pytest.approx(2 * (6 + words), rel=1e-5), (
            "each attends with one in all"
        )
