"""VideoMAE: what is hidden cannot be seen, the loss is that of transformers' own model, tubes are hard."""

from dataclasses import replace

import pytest
import torch
from small import recipe_module, shrink
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from workbench.errors import UserError
from workbench.masking.video import PerFrameMasking, RandomMasking, TubeMasking
from workbench.models.text import TextConfig, vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipes import videomae

CAPTIONS = ["a red moon", "a blue star grows"]
WORDS = vocabulary(CAPTIONS, TextConfig())
TINY = shrink(videomae.Config())


def recipe_of(config=TINY, *, frames=4, size=32, seed=0):
    torch.manual_seed(seed)
    return videomae.Recipe(config, frames=frames, size=size, vocabulary=WORDS).eval()


def batch_of(rows=2, *, frames=4, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(0, 256, (rows, frames, size, size, 3), generator=generator, dtype=torch.uint8)
    return Batch.of(video, WORDS.encode([CAPTIONS[i % 2] for i in range(rows)]))


def pixels_of(mask, grid, video):
    """A mask of tokens as one of pixels, of 2 x 8 x 8 cubes."""
    return mask.view(len(mask), *grid).repeat_interleave(2, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)


@torch.no_grad()
def test_hidden_tubes_cannot_be_seen():
    recipe, batch, other = recipe_of(), batch_of(), batch_of(seed=1)
    mask = recipe.draw(batch, BatchRng.seeded(0)).video_mask
    assert mask.sum(1).tolist() == [2 * int(0.9 * 16)] * 2
    assert torch.equal(mask[:, :16], mask[:, 16:]), "a tube hides one place at all times"
    seen = recipe.video(batch.video, mask).tokens
    hidden = pixels_of(mask, recipe.grid, batch.video)[..., None]
    assert torch.equal(recipe.video(torch.where(hidden, other.video, batch.video), mask).tokens, seen)
    visible = batch.video.clone()
    b, t, y, x, _ = (~hidden).nonzero()[0]
    visible[b, t, y, x] ^= 255
    assert not torch.equal(recipe.video(visible, mask).tokens, seen)


@torch.no_grad()
def same_weights(oracle, recipe):
    """The oracle takes our weights over; it has no bias of keys, and its head's channels vary fastest."""

    def linear(one, other):
        one.weight.copy_(other.weight)
        if one.bias is not None:
            one.bias.copy_(other.bias)

    def block(one, other):
        query, key, value = other.attn.qkv.weight.chunk(3)
        attention = one.attention.attention
        attention.query.weight.copy_(query)
        attention.key.weight.copy_(key)
        attention.value.weight.copy_(value)
        if other.attn.qkv.bias is not None:
            query, key, value = other.attn.qkv.bias.chunk(3)
            key.zero_()
            attention.query.bias.copy_(query)
            attention.value.bias.copy_(value)
        else:
            attention.query.bias.zero_()
            attention.value.bias.zero_()
        linear(one.attention.output.dense, other.attn.proj)
        linear(one.intermediate.dense, other.mlp.fc1)
        linear(one.output.dense, other.mlp.fc2)
        norm(one.layernorm_before, other.norm1)
        norm(one.layernorm_after, other.norm2)

    def norm(one, other):
        linear(one, other)
        one.eps = other.eps

    video, decoder, model = recipe.video, recipe.decoder, oracle.videomae
    cube = video.project.weight.view(-1, 2, 8, 8, 3).permute(0, 4, 1, 2, 3)
    model.embeddings.patch_embeddings.projection.weight.copy_(cube)
    model.embeddings.patch_embeddings.projection.bias.copy_(video.project.bias)
    model.embeddings.position_embeddings = (video.time[:, None] + video.space).flatten(0, 1)[None]
    for one, other in zip(model.encoder.layer, video.blocks, strict=True):
        block(one, other)
    norm(model.layernorm, video.norm)
    decoder.embed.bias.zero_()  # the oracle has none
    oracle.encoder_to_decoder.weight.copy_(decoder.embed.weight)
    oracle.mask_token.copy_(decoder.mask_token)
    oracle.position_embeddings = (decoder.time[:, None] + decoder.space).flatten(0, 1)[None]
    for one, other in zip(oracle.decoder.decoder_layers, decoder.blocks, strict=True):
        block(one, other)
    norm(oracle.decoder.norm, decoder.norm)
    rows = torch.arange(2 * 8 * 8 * 3).view(3, -1).T.flatten()  # ours: channels vary slowest
    oracle.decoder.head.weight.copy_(decoder.head.weight[rows])
    oracle.decoder.head.bias.copy_(decoder.head.bias[rows])


def test_whole_it_has_the_loss_of_transformers_own():
    config = replace(TINY, video=replace(TINY.video, depth=2), decoder=replace(TINY.decoder, depth=2))
    recipe, batch = recipe_of(config), batch_of(3)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in (*recipe.video.parameters(), *recipe.decoder.parameters()):
            parameter.add_(0.05 * torch.randn_like(parameter))  # biases and norms too
    oracle = VideoMAEForPreTraining(
        VideoMAEConfig(
            image_size=32, patch_size=8, num_frames=4, tubelet_size=2, hidden_size=32,
            num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, use_mean_pooling=False,
            decoder_hidden_size=32, decoder_num_hidden_layers=2, decoder_num_attention_heads=2,
            decoder_intermediate_size=128,
        )
    ).eval()  # fmt: skip
    same_weights(oracle, recipe)
    mask = recipe.draw(batch, BatchRng.seeded(0)).video_mask
    pixels = (batch.video.float() / 255 - torch.tensor((0.485, 0.456, 0.406))) / torch.tensor(
        (0.229, 0.224, 0.225)
    )
    theirs = oracle(pixels.permute(0, 1, 4, 2, 3), bool_masked_pos=mask)
    ours = recipe.losses(batch, Draw(mask))["mvm"]
    assert ours.item() == pytest.approx(theirs.loss.item(), abs=1e-5)
    ours.backward()
    theirs.loss.backward()
    grad = oracle.encoder_to_decoder.weight.grad
    assert torch.allclose(recipe.decoder.embed.weight.grad, grad, atol=1e-5)


def still(step):
    """Sixteen-pixel clips of one of two slopes in each patch, the same at all times."""
    turn = torch.randint(0, 2, (32, 2, 2), generator=torch.Generator().manual_seed(step)).bool()
    slope = torch.arange(8) * 30
    patches = torch.where(turn[..., None, None], slope.expand(8, 8), slope[:, None].expand(8, 8))
    image = patches.permute(0, 1, 3, 2, 4).reshape(32, 1, 16, 16, 1)  # [B, 1, H, W, 1] of [B, h, w, p, p]
    return Batch.of(image.expand(-1, 8, -1, -1, 3).to(torch.uint8), WORDS.encode(["a red moon"] * 32))


def short_training(masking, seed=0, steps=280):
    """Loss of the last of some steps on clips that stand still."""
    video, decoder = (replace(part, width=64) for part in (TINY.video, TINY.decoder))
    config = replace(TINY, video=video, decoder=decoder, video_masking=masking)
    recipe = recipe_of(config, frames=8, size=16, seed=seed).train()
    optimizer, found = torch.optim.AdamW(recipe.parameters(), lr=3e-3), []
    for step in range(steps):
        batch = still(step)
        loss = recipe(batch, recipe.draw(batch, BatchRng.seeded(step)))["mvm"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return sum(found[-20:]) / 20


def test_only_without_tubes_can_pixels_be_copied_over_time():
    """With three seeds 0.50 under tubes, which the mean of both slopes gives, and 0.10 without."""
    tube, frame = (short_training(kind(ratio=0.5)) for kind in (TubeMasking, PerFrameMasking))
    assert frame < 0.8 * tube


def test_captions_are_left_to_the_alignment():
    recipe, batch = recipe_of(), batch_of()
    assert list(recipe.weights()) == ["mvm"]
    recipe(batch, recipe.draw(batch, BatchRng.seeded(0)))["mvm"].backward()
    assert all(p.grad is None for p in (*recipe.text.parameters(), *recipe.text_head.parameters()))
    recipe.zero_grad()
    recipe(batch, Draw(), objective="align")["vtc"].backward()
    assert recipe.text_head.weight.grad.any()
    assert all(p.grad is None for p in recipe.decoder.parameters())
    own = {n for n, p in recipe.named_parameters() if p.grad is not None}
    assert "video.project.weight" in own


@pytest.mark.parametrize("kind", [RandomMasking, PerFrameMasking])
def test_the_masking_is_a_switch(kind):
    recipe, batch = recipe_of(replace(TINY, video_masking=kind(ratio=0.75))), batch_of()
    assert torch.isfinite(recipe(batch, recipe.draw(batch, BatchRng.seeded(0)))["mvm"])


def test_what_it_cannot_do_is_refused():
    with pytest.raises(UserError, match="video_masking"):
        replace(TINY, video_masking=None)
    with pytest.raises(UserError, match="hidden"):
        replace(TINY, video=replace(TINY.video, hidden="replace"))
    with pytest.raises(UserError, match="align"):
        recipe_of().losses(batch_of(), Draw())


class TestWithoutAClassToken:
    config = VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=2, cls=False, pool="mean")

    def encoder(self, **changes):
        torch.manual_seed(0)
        return VideoEncoder(replace(self.config, **changes), frames=4, size=32).eval()

    def test_blocks_read_patches_alone(self):
        encoder, seen = self.encoder(), []
        encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        found = encoder(batch_of().video)
        assert seen == [32]
        assert encoder.extra_tokens == 0
        assert torch.allclose(found.pooled, found.tokens.mean(1), atol=1e-6)
        assert "cls" not in encoder.state_dict()
        assert "cls" in self.encoder(cls=True).state_dict()

    def test_padding_is_not_seen_and_nothing_but_padding_is_finite(self):
        encoder = self.encoder()
        tokens = encoder.embed(batch_of().video)
        keep = torch.ones(tokens.shape[:2], dtype=torch.bool)
        keep[:, 20:] = False
        short = encoder.encode(tokens[:, :20]).pooled
        assert torch.allclose(encoder.encode(tokens, keep).pooled, short, atol=1e-5)
        assert torch.isfinite(encoder.encode(tokens, torch.zeros_like(keep)).tokens).all()

    def test_there_is_no_class_token_to_pool(self):
        with pytest.raises(UserError, match="mean"):
            VideoConfig(cls=False)

    def test_it_can_start_from_an_image_model(self, tmp_path):
        import timm
        from safetensors.torch import save_file

        vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=1,
                                num_heads=2, num_classes=0)  # fmt: skip
        save_file(vit.state_dict(), tmp_path / "vit.safetensors")
        encoder = self.encoder(pretrained=str(tmp_path / "vit.safetensors"))
        assert torch.isfinite(encoder(batch_of().video).pooled).all()


def test_its_name():
    assert recipe_module("videomae") is videomae
