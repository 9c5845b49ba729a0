"""Weights of published video and image models: what a model makes of an image, ours makes of the still clip.

Small models of the real classes with random weights, saved as those classes save themselves.
"""

import json
import shutil
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEImageProcessor, VideoMAEModel

from workbench.errors import UserError
from workbench.masking.video import RandomMasking
from workbench.models.image import ImageVideoEncoder
from workbench.models.pretrained.source import without_reading
from workbench.models.selectors.sparse import read_frames
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import BatchRng

OWN = VideoConfig(width=0, depth=0, heads=0, patch=0, tubelet=2, pool="own")
VIDEOMAE = {
    "image_size": 32,
    "patch_size": 16,
    "num_frames": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_intermediate_size": 16,
    "decoder_num_attention_heads": 2,
}
FAMILIES = {  # name in timm: whether it has a class token
    "vit_base_patch16_224": True,
    "vit_base_patch16_clip_quickgelu_224": True,  # a norm before the blocks, no bias of patches
    "vit_small_patch14_dinov2": True,
    "vit_small_patch14_reg4_dinov2": True,  # registers, positions of patches alone
    "deit3_small_patch16_224": True,
    "eva_large_patch14_196": True,  # the norm behind the mean
    "vit_base_patch16_gap_224": False,
    "vit_base_patch16_siglip_224": False,  # attention pools
}


def still(size, batch=2, frames=2):
    generator = torch.Generator().manual_seed(1)
    picture = torch.randint(0, 256, (batch, 1, size, size, 3), generator=generator).to(torch.uint8)
    return picture.expand(-1, frames, -1, -1, -1)


def seen(clip, mean, std):
    """Normalised frames [B, T, 3, H, W], as published models read them."""
    return ((clip / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 1, 4, 2, 3)


def randomise(model):
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return model.eval()


def image_model(name, **changes):
    shape = {"embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3} | changes
    return randomise(timm.create_model(name, **shape))


def save(model, folder):
    """The folder as timm publishes it."""
    save_for_hf(model, folder, safe_serialization=True)
    return f"local-dir:{folder}"


def close(a, b):
    return torch.allclose(a, b, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_a_still_clip_gives_what_the_published_model_makes_of_the_image(tmp_path, name):
    side = 16 if "patch16" in name else 14
    model = image_model(name, img_size=4 * side)
    backbone = save(model, tmp_path)
    ours = VideoEncoder(
        replace(OWN, backbone=backbone, pretrained="timm", cls=FAMILIES[name]), frames=2, size=4 * side
    ).eval()
    clip = still(4 * side)
    image = seen(clip, *(model.pretrained_cfg[k] for k in ("mean", "std")))[:, 0]
    features = model.forward_features(image)
    found = ours(clip)
    assert close(found.pooled, model.forward_head(features, pre_logits=True))
    tokens = model.fc_norm(features) if name.startswith("eva") else features
    assert close(found.tokens, tokens[:, model.num_prefix_tokens :])
    assert ours.start.startswith(f"{backbone} (sha256 ")


@pytest.fixture(scope="module")
def registers(tmp_path_factory):
    return save(image_model("vit_small_patch14_reg4_dinov2", img_size=56), tmp_path_factory.mktemp("reg"))


class TestFamilies:
    def test_registers_stand_in_front_and_are_no_tokens_of_the_clip(self, registers):
        config = replace(OWN, backbone=registers, pretrained="timm")
        ours = VideoEncoder(config, frames=4, size=56).eval()
        mask = RandomMasking(ratio=0.5)(ours.grid, 2, BatchRng.seeded(0))
        assert ours.extra_tokens == 5
        assert ours(still(56, frames=4), mask).tokens.shape == (2, 16, 32)
        few = read_frames(
            VideoEncoder(replace(config, tubelet=1), frames=2, size=56).eval(), still(56), keep=0.5
        )
        assert few.tokens.shape == (2, 2, 8, 32)

    def test_padding_is_not_pooled(self, tmp_path):
        backbone = save(image_model("vit_base_patch16_siglip_224", img_size=64), tmp_path)
        ours = VideoEncoder(replace(OWN, backbone=backbone, pretrained="timm", cls=False), frames=2, size=64)
        tokens, keep = torch.randn(2, 6, 32), torch.arange(6).expand(2, 6) < 4
        assert close(ours.encode(tokens, keep).pooled, ours.encode(tokens[:, :4]).pooled)
        assert ours.encode(tokens, keep & False).pooled.isfinite().all()
        assert ours.attn_pool in ours.counted

    def test_positions_are_resampled_to_other_sizes(self, registers):
        config = replace(OWN, backbone=registers, pretrained="timm")
        small, large = (VideoEncoder(config, frames=2, size=size) for size in (56, 112))
        kept = torch.nn.functional.interpolate(large.space.T.view(1, 32, 8, 8), (4, 4), mode="area")
        assert (kept[0].flatten(1).T - small.space).abs().mean() < 0.5 * small.space.abs().mean()

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"backbone": "vit_base_patch16_siglip_224"}, "no class token: set video.cls=False"),
            ({"cls": False, "backbone": "vit_tiny_patch16_224"}, "needs video.cls=True"),
            ({"backbone": "vit_small_patch16_dinov3"}, "not a plain VisionTransformer"),
            ({"backbone": "beit_base_patch16_224"}, "not a plain VisionTransformer"),
            ({"backbone": "deit_tiny_distilled_patch16_224"}, "VisionTransformerDistilled"),
            ({"backbone": "vit_small_patch16_18x2_224"}, "several attentions"),
            ({"backbone": "owner/name"}, "hf-hub:owner/name"),
            ({"backbone": "local-dir:nowhere"}, "no plain ViT"),
            (
                {"backbone": "videomae:nowhere", "pretrained": "timm"},
                "must be 'transformers' or empty, not 'timm'",
            ),
            ({"pretrained": "transformers"}, "videomae:"),
        ],
    )
    def test_what_does_not_fit_is_refused_in_one_sentence(self, changes, word):
        small = VideoConfig(width=32, depth=1, heads=2, patch=16, tubelet=2, pool="own")
        with pytest.raises(UserError, match=word) as caught:
            VideoEncoder(replace(small, **changes), frames=2, size=32)
        assert "\n" not in str(caught.value)

    def test_only_a_pickle_is_refused(self, tmp_path):
        save_for_hf(image_model("vit_base_patch16_224", img_size=32), tmp_path)
        with pytest.raises(UserError, match=r"pickles .* are not read"):
            VideoEncoder(replace(OWN, backbone=f"local-dir:{tmp_path}", pretrained="timm"), frames=2, size=32)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The cache of the hub, without a network: `add(name, folder)` puts a published model there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def add(name, folder):
        place = tmp_path / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, place / "snapshots" / ("0" * 40))
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0" * 40)

    return add


class TestHub:
    @torch.no_grad()
    def test_an_address_and_a_name_of_timm_are_found_in_the_cache(self, hub, tmp_path):
        model = image_model("vit_base_patch16_clip_224", img_size=32)
        save(model, tmp_path / "clip")
        hub("owner/clip", tmp_path / "clip")
        config = replace(OWN, backbone="hf-hub:owner/clip", pretrained="timm")
        ours = VideoEncoder(config, frames=2, size=32).eval()
        image = seen(still(32), model.pretrained_cfg["mean"], model.pretrained_cfg["std"])[:, 0]
        assert close(
            ours(still(32)).pooled, model.forward_head(model.forward_features(image), pre_logits=True)
        )

        tiny = timm.create_model("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
        save(tiny, tmp_path / "tiny")
        hub("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", tmp_path / "tiny")
        named = replace(OWN, backbone="vit_tiny_patch16_224", pretrained="timm")
        ours = VideoEncoder(named, frames=2, size=64)
        assert torch.equal(ours.blocks[3].mlp.fc1.weight, tiny.blocks[3].mlp.fc1.weight)

    def test_offline_the_sentence_says_how_to_go_on(self, hub):
        for backbone, library in (
            ("hf-hub:owner/other", "timm"),
            ("vit_tiny_patch16_224", "timm"),
            ("videomae:owner/other", "transformers"),
        ):
            with pytest.raises(UserError, match=r"hf download .* random start") as caught:
                VideoEncoder(replace(OWN, backbone=backbone, pretrained=library), frames=2, size=64)
            assert "\n" not in str(caught.value)


class TestVideoMAE:
    CONFIG = replace(OWN, pretrained="transformers", cls=False)

    def save(self, folder, kind=VideoMAEModel, **changes):
        model = randomise(kind(VideoMAEConfig(**VIDEOMAE | changes)))
        model.save_pretrained(folder)
        VideoMAEImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)
        return model

    def ours(self, folder, frames=4, size=32, **changes):
        config = replace(self.CONFIG, backbone=f"videomae:{folder}", **changes)
        return VideoEncoder(config, frames=frames, size=size).eval()

    @torch.no_grad()
    @pytest.mark.parametrize("kind", [VideoMAEModel, VideoMAEForPreTraining])
    @pytest.mark.parametrize("mean", [True, False])
    def test_a_clip_gives_what_the_published_model_makes_of_it(self, tmp_path, kind, mean):
        model = self.save(tmp_path, kind, use_mean_pooling=mean)
        model = getattr(model, "videomae", model)
        ours = self.ours(tmp_path)
        clip = torch.randint(0, 256, (2, 4, 32, 32, 3), generator=torch.Generator().manual_seed(0)).to(
            torch.uint8
        )
        pixels = seen(clip, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
        expected = model(pixels).last_hidden_state
        assert close(ours(clip).tokens, expected)
        assert close(ours(clip).pooled, expected.mean(1))
        mask = RandomMasking(ratio=0.5)(ours.grid, 2, BatchRng.seeded(0))
        assert close(ours(clip, mask).tokens, model(pixels, bool_masked_pos=mask).last_hidden_state)

    def test_another_size_resamples_positions_and_filters(self, tmp_path):
        self.save(tmp_path)
        same, other = self.ours(tmp_path), self.ours(tmp_path, frames=8, size=64, patch=32)
        assert other.grid == (4, 2, 2)
        assert other.project.weight.shape == (32, 2 * 32 * 32 * 3)
        own = same.fixed.view(2, 4, 32)
        assert close(other.fixed.view(4, 4, 32)[[0, 3]], own), "beyond the ends there is nothing between"

    def test_a_single_image_has_the_place_of_the_first_frame(self, tmp_path):
        self.save(tmp_path)
        config = replace(self.CONFIG, backbone=f"videomae:{tmp_path}")
        ours = ImageVideoEncoder(config, frames=4, size=32)
        with torch.no_grad():
            ours.project_image.weight.zero_()
            ours.project_image.bias.zero_()
            assert torch.equal(ours.embed(still(32, frames=1))[0], ours.positions[:4])

    def test_what_does_not_fit_is_refused(self, tmp_path):
        self.save(tmp_path)
        with pytest.raises(UserError, match=r"video\.tubelet=2"):
            self.ours(tmp_path, tubelet=4)
        with pytest.raises(UserError, match=r"video\.width=32"):
            self.ours(tmp_path, width=64)
        tensors = load_file(tmp_path / "model.safetensors")
        gone = {k: v for k, v in tensors.items() if "layer.1.output" not in k}
        save_file(gone, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match="lacks 2 tensors"):
            self.ours(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(UserError, match="of the kind 'bert'"):
            self.ours(tmp_path)


def test_a_model_is_built_in_its_shape_where_only_the_weights_are_gone(tmp_path):
    """As for a trained run that is looked at later: its checkpoint has every weight, and no normalisation."""
    backbone = save(image_model("vit_base_patch16_clip_224", img_size=32), tmp_path)
    config = replace(OWN, backbone=backbone, pretrained="timm")
    before = VideoEncoder(config, frames=2, size=32).eval()
    (tmp_path / "model.safetensors").unlink()
    with without_reading():
        after = VideoEncoder(config, frames=2, size=32).eval()
    after.load_state_dict(before.state_dict())
    assert torch.equal(after(still(32)).pooled, before(still(32)).pooled)
