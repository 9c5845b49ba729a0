"""Encoders: what is dropped is never computed, what is kept is untouched, weights are those asked for."""

import pickle
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import Grid, PerFrameMasking
from workbench.models.attention import attention_kernels, set_attention_kernels
from workbench.models.decoder import DecoderConfig, PixelDecoder
from workbench.models.pretrained.source import without_reading
from workbench.models.text import TextConfig, TextEncoder, Vocabulary, vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import BatchRng, Text

SMALL = VideoConfig(width=32, depth=2, heads=2, patch=8, tubelet=2)


def encoder(*, frames=4, size=16, seed=0, **changes):
    torch.manual_seed(seed)
    model = VideoEncoder(replace(SMALL, **changes), frames=frames, size=size).eval()
    torch.nn.init.normal_(model.cls)
    if model.mask_token is not None:
        torch.nn.init.normal_(model.mask_token)
    return model


def clips(batch=3, frames=4, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, frames, size, size, 3), generator=generator).to(torch.uint8)


def mask_of(model, batch=3, ratio=0.5):
    mask = PerFrameMasking(ratio=ratio)(model.grid, batch, BatchRng.seeded(1))
    assert len({tuple(row) for row in mask.tolist()}) == batch, "a mask for each sample"
    return mask


def close(a, b, atol=1e-5):
    return torch.allclose(a, b, atol=atol, rtol=1e-4)


class TestPatches:
    def test_a_token_is_its_cube_of_pixels_with_the_channel_fastest(self):
        model, video = encoder(), clips()
        patches = model.patches(video)
        assert patches.shape == (3, model.grid.tokens, 2 * 8 * 8 * 3)
        assert patches.dtype == torch.uint8
        number = 0
        for t in range(2):
            for h in range(2):
                for w in range(2):
                    cube = video[1, 2 * t : 2 * t + 2, 8 * h : 8 * h + 8, 8 * w : 8 * w + 8]
                    assert torch.equal(patches[1, number], cube.reshape(-1))
                    number += 1

    @pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
    def test_the_patches_of_some_places_are_those_of_all_places_gathered(self, ratio):
        model, video = encoder(size=32), clips(size=32)
        where = mask_of(model, ratio=ratio)
        everything = model.patches(video)
        expected = torch.stack([everything[i][where[i]] for i in range(3)])
        assert torch.equal(model.patches(video, where), expected)

    def test_frames_that_do_not_divide_are_refused(self):
        with pytest.raises(UserError, match="tubelets of 2"):
            encoder(frames=3)
        with pytest.raises(UserError, match="patches of 8"):
            encoder(size=20)


class TestDropping:
    def test_dropping_is_encoding_the_visible_tokens_alone(self):
        model, video = encoder(), clips()
        mask = mask_of(model)
        everything = model.embed(video)
        visible = torch.stack([everything[i][~mask[i]] for i in range(3)])
        assert close(model.embed(video, mask), visible)
        assert close(model(video, mask).pooled, model.encode(visible).pooled)

    def test_hidden_pixels_cannot_be_seen(self):
        model, video = encoder(), clips()
        mask = mask_of(model)
        pixels = mask.view(3, 2, 1, 2, 1, 2, 1, 1).expand(3, 2, 2, 2, 8, 2, 8, 3).reshape(video.shape)
        other = torch.where(pixels, clips(seed=9), video)
        assert not torch.equal(other, video)
        assert torch.equal(model(other, mask).pooled, model(video, mask).pooled)

    def test_no_mask_is_a_mask_that_hides_nothing(self):
        model, video = encoder(), clips()
        nothing = torch.zeros(3, model.grid.tokens, dtype=torch.bool)
        assert close(model(video).pooled, model(video, nothing).pooled)
        assert close(model(video).tokens, model(video, nothing).tokens)

    def test_samples_of_a_batch_do_not_mix(self):
        model, video = encoder(), clips()
        mask = mask_of(model)
        alone = model(video[1:2], mask[1:2]).pooled
        assert close(model(video, mask).pooled[1:2], alone)

    def test_a_still_clip_tells_its_order_only_by_positions(self):
        model, video = encoder(), clips()
        turned = video.flip(1)
        assert not close(model(video).pooled, model(turned).pooled), "order in time matters"
        tokens = model.embed(video)
        shuffled = tokens[:, torch.randperm(tokens.shape[1])]
        assert close(model.encode(tokens).pooled, model.encode(shuffled).pooled), "positions carry the order"

    def test_gradients_reach_every_parameter(self):
        model, video = encoder(), clips()
        pooled = model(video, mask_of(model)).pooled
        (pooled * torch.linspace(-1, 1, pooled.shape[1])).sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


class TestReplacing:
    def test_hidden_tokens_become_the_mask_token_in_their_place(self):
        model, video = encoder(hidden="replace"), clips()
        mask = mask_of(model)
        plain, masked = model.embed(video), model.embed(video, mask)
        position = (model.time[:, None] + model.space[None]).flatten(0, 1)
        assert masked.shape == plain.shape
        assert close(masked[~mask], plain[~mask])
        assert close(masked[mask], (model.mask_token + position).expand(3, -1, -1)[mask])

    def test_hidden_pixels_cannot_be_seen(self):
        model = encoder(hidden="replace")
        everything = torch.ones(3, model.grid.tokens, dtype=torch.bool)
        assert close(model(clips(), everything).pooled, model(clips(seed=5), everything).pooled)


class TestPooling:
    def test_mean_pooling_leaves_padding_and_the_class_token_out(self):
        model, video = encoder(pool="mean"), clips()
        tokens = model.embed(video)
        keep = torch.ones(tokens.shape[:2], dtype=torch.bool)
        keep[:, 5:] = False
        rubbish = torch.cat([tokens[:, :5], torch.full_like(tokens[:, 5:], 100.0)], 1)
        found = model.encode(rubbish, keep)
        assert close(found.pooled, model.encode(tokens[:, :5]).pooled)
        assert close(found.pooled, found.tokens[:, :5].mean(1))

    def test_a_sample_of_nothing_but_padding_is_finite(self):
        model = encoder(pool="mean")
        keep = torch.zeros(3, model.grid.tokens, dtype=torch.bool)
        assert torch.isfinite(model.encode(model.embed(clips()), keep).pooled).all()


def test_one_frame_is_an_image():
    model = encoder(frames=1, tubelet=1)
    assert model.grid == Grid(1, 2, 2)
    assert model(clips(frames=1)).pooled.shape == (3, 32)
    assert model(clips(frames=1), mask_of(model)).tokens.shape == (3, 2, 32)


@pytest.mark.parametrize("name", ["vit_enormous", "", "resnet18", "swin_tiny_patch4_window7_224"])
def test_a_backbone_that_is_no_plain_vit_is_refused(name):
    with pytest.raises(UserError, match="vit_"):
        encoder(backbone=name)


@pytest.fixture(scope="module")
def image_model():
    torch.manual_seed(5)
    model = timm.create_model("vit_tiny_patch16_224", embed_dim=32, depth=2, num_heads=2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def weights(image_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(image_model.state_dict(), path)
    return path


class TestPretrained:
    """Weights of a published image model, stood in for by a small one of random numbers."""

    def load(self, weights, **changes):
        options = {"patch": 0, "pretrained": str(weights)} | changes
        size = options.pop("size", 224)
        return VideoEncoder(replace(SMALL, **options), frames=2, size=size).eval()

    @torch.no_grad()
    def test_a_still_clip_gives_what_the_image_gave(self, image_model, weights):
        model = self.load(weights)
        picture = clips(1, 1, 224)[0]
        mean, std = (torch.tensor(image_model.pretrained_cfg[k]) for k in ("mean", "std"))
        image = ((picture / 255 - mean) / std).permute(0, 3, 1, 2)
        tokens = model.embed(picture.expand(2, -1, -1, -1)[None])
        assert close(tokens, image_model.patch_embed(image) + image_model.pos_embed[:, 1:], atol=1e-4)
        features = image_model.forward_features(image)
        assert close(model.encode(tokens).pooled, features[:, 0], atol=1e-3)
        assert close(model.encode(tokens).tokens, features[:, 1:], atol=1e-3)

    @torch.no_grad()
    def test_another_patch_size_resamples_the_filter(self, weights):
        model = self.load(weights, patch=8, size=32)
        assert model.grid == Grid(1, 4, 4)
        assert model.project.weight.shape == (32, 2 * 8 * 8 * 3)

    def test_weights_that_do_not_fit_are_refused(self, weights):
        with pytest.raises(UserError, match="could not be loaded"):
            self.load(weights, width=64)
        with pytest.raises(UserError, match="could not be loaded"):
            self.load(weights, depth=3)

    def test_a_file_of_other_tensors_is_refused_and_not_taken_for_a_start(self, tmp_path):
        save_file({"other.weight": torch.ones(3)}, tmp_path / "other.safetensors")
        with pytest.raises(UserError, match="could not be loaded"):
            self.load(tmp_path / "other.safetensors")

    def test_missing_weights_are_named_in_one_sentence(self, tmp_path):
        with pytest.raises(UserError, match=r"nowhere\.safetensors") as caught:
            self.load(tmp_path / "nowhere.safetensors")
        assert "\n" not in str(caught.value)

    def test_a_truncated_file_is_refused(self, weights, tmp_path):
        path = tmp_path / "half.safetensors"
        path.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(UserError, match="could not be loaded"):
            self.load(path)

    @pytest.mark.parametrize("name", ["evil.safetensors", "evil.bin", "evil.npz"])
    def test_a_pickle_is_refused_and_not_run(self, tmp_path, name):
        (tmp_path / name).write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
        with pytest.raises(UserError):
            self.load(tmp_path / name)
        assert not (tmp_path / "touched").exists()

    @pytest.mark.parametrize("name", ["resnet18", "vit_small_patch16_dinov3", "vit_small_patch16_18x2_224"])
    def test_a_backbone_whose_weights_would_not_all_be_used_is_refused(self, weights, name):
        with pytest.raises(UserError, match="plain Vi"):
            self.load(weights, backbone=name)

    def test_published_weights_are_not_bent_into_another_shape(self, monkeypatch):
        def own(name, **options):
            return timm.models.create_model(name, embed_dim=32, depth=2, num_heads=2, **options)

        monkeypatch.setattr("timm.create_model", own)
        with without_reading():
            assert self.load("timm").width == 32
            for changes in ({"heads": 4}, {"depth": 3}, {"width": 64}):
                with pytest.raises(UserError, match=f"video.{next(iter(changes))}"):
                    self.load("timm", **changes)


class Touch:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


# Text

CAPTIONS = ["a red square moves left", "the moon", "a blue star turns and then grows on a dotted wall"]


@pytest.fixture(scope="module")
def words():
    return vocabulary(CAPTIONS, TextConfig())


def text_encoder(words, **changes):
    torch.manual_seed(0)
    return TextEncoder(replace(TextConfig(width=32, depth=2), **changes), words).eval()


class TestVocabulary:
    def test_the_same_captions_give_the_same_tokens(self, words):
        for _ in range(5):  # the trainer's hash tables are seeded anew each time
            again = vocabulary(CAPTIONS, TextConfig())
            assert again.tokenizer.to_str() == words.tokenizer.to_str()

    def test_special_tokens_come_first_and_cannot_be_written_in_a_caption(self, words):
        assert (words.pad, words.unk, words.cls, words.mask) == (0, 1, 2, 3)
        tokens = words.encode(["a [MASK] moon [PAD]"])
        n = int(tokens.layout.valid.sum())
        assert not {words.pad, words.cls, words.mask} & set(tokens.tokens[0, :n].tolist())

    def test_it_comes_back_from_its_file(self, words, tmp_path):
        words.tokenizer.save(str(tmp_path / "tokenizer.json"))
        again = Vocabulary.load(tmp_path / "tokenizer.json", words.length)
        assert torch.equal(again.encode(CAPTIONS).tokens, words.encode(CAPTIONS).tokens)
        assert (again.pad, again.cls, again.mask, again.size) == (
            words.pad,
            words.cls,
            words.mask,
            words.size,
        )

    def test_a_caption_is_padded_to_the_longest(self, words):
        text = words.encode(CAPTIONS)
        assert words.length == text.layout.valid.sum(1).max()
        assert (text.tokens[~text.layout.valid] == words.pad).all()
        assert (text.tokens[text.layout.valid] != words.pad).all()

    def test_a_long_caption_is_cut(self):
        short = vocabulary(CAPTIONS, TextConfig(max_tokens=4))
        assert short.encode(CAPTIONS).tokens.shape == (3, 4)

    def test_words_and_content_words_are_marked(self, words):
        text = Vocabulary(words.tokenizer, 32).encode(["The red atlas, with stars"])
        n = int(text.layout.valid.sum())
        numbers = text.layout.word[0, :n].tolist()
        assert numbers == sorted(numbers)
        assert n > len(set(numbers)) == 6, "some words have several pieces"
        pairs = set(zip(numbers, text.layout.content[0, :n].tolist(), strict=True))
        assert sorted(pairs) == [(0, False), (1, True), (2, True), (3, False), (4, False), (5, True)]

    @pytest.mark.parametrize("caption", ["", "   ", "☃ 漢字 🎬", "x" * 500, "a\u200bb\x00c"])
    def test_odd_captions_are_encoded(self, words, caption):
        assert words.encode([caption]).tokens.shape == (1, words.length)

    def test_no_captions_are_refused(self):
        with pytest.raises(UserError, match="captions"):
            vocabulary([], TextConfig())


class TestTextEncoder:
    def test_padding_changes_nothing(self, words):
        model = text_encoder(words)
        text = words.encode(CAPTIONS)
        n = int(text.layout.valid[1].sum())
        short = Text(text.tokens[1:2, :n], type(text.layout)(*(x[1:2, :n] for x in text.layout)))
        assert close(model(text).pooled[1:2], model(short).pooled)

    def test_replacing_hides_the_word_but_not_its_place(self, words):
        model = text_encoder(words)
        text = words.encode(["a red square moves left", "a blue square moves left"])
        mask = torch.zeros_like(text.layout.valid)
        assert not close(model(text).pooled[0], model(text).pooled[1])
        mask[:, 1] = True
        hidden = model(text, mask)
        assert close(hidden.pooled[0], hidden.pooled[1])
        assert hidden.tokens.shape[1] == words.length

    def test_dropping_keeps_the_places_of_what_remains(self, words):
        model = text_encoder(words, hidden="drop")
        text = words.encode(CAPTIONS)
        mask = TokenMasking(ratio=0.5)(text.layout, BatchRng.seeded(0), equal=True)
        found = model(text, mask)
        assert found.tokens.shape[1] == int((~mask)[0].sum())
        for row in range(3):
            index = (~mask[row] & text.layout.valid[row]).nonzero()[:, 0]
            states = model.bert(
                input_ids=torch.cat([torch.tensor([words.cls]), text.tokens[row, index]])[None],
                position_ids=torch.cat([torch.tensor([0]), index + 1])[None],
            ).last_hidden_state
            assert close(found.pooled[row], states[0, 0])

    def test_no_mask_is_a_mask_that_hides_nothing(self, words):
        text = words.encode(CAPTIONS)
        nothing = torch.zeros_like(text.layout.valid)
        for hidden in ("drop", "replace"):
            model = text_encoder(words, hidden=hidden)
            assert close(model(text).pooled, model(text, nothing).pooled)


# Decoder and attention


class TestPixelDecoder:
    def decoder(self, grid):
        torch.manual_seed(0)
        model = PixelDecoder(
            DecoderConfig(width=16, depth=1, heads=2), grid=grid, encoder_width=32, pixels=12
        )
        torch.nn.init.normal_(model.mask_token)
        return model.eval()

    def test_every_hidden_place_is_predicted_from_tokens_put_back_in_their_places(self):
        grid = Grid(2, 2, 3)
        model, visible = self.decoder(grid), torch.randn(2, 6, 32)
        mask = PerFrameMasking(ratio=0.5)(grid, 2, BatchRng.seeded(0))
        position = (model.time[:, None] + model.space[None]).flatten(0, 1)
        for row in range(2):
            full, seen = [], iter(model.embed(visible[row]))
            for place in range(12):
                full.append((model.mask_token if mask[row, place] else next(seen)) + position[place])
            x = torch.stack(full)[None]
            for block in model.blocks:
                x = block(x)
            expected = model.head(model.norm(x[0, mask[row]]))
            assert close(model(visible, mask)[row], expected)


def test_attention_kernels_agree_and_are_put_back(words):
    model, video = encoder(), clips()
    plain_text = text_encoder(words)
    text = words.encode(CAPTIONS)
    set_attention_kernels(model, fused=False)
    set_attention_kernels(plain_text, fused=False)
    plain = model(video).pooled, plain_text(text).pooled
    with attention_kernels(model, fused=True), attention_kernels(plain_text, fused=True):
        assert model.blocks[0].attn.fused_attn
        assert close(model(video).pooled, plain[0])
        assert close(plain_text(text).pooled, plain[1])
    assert not model.blocks[0].attn.fused_attn
    with pytest.raises(RuntimeError), attention_kernels(model, fused=True):
        raise RuntimeError
    assert not model.blocks[0].attn.fused_attn


@pytest.mark.parametrize(("patch", "size"), [(4, 32), (8, 64), (14, 56), (16, 64)])
def test_patches_of_bytes_are_those_of_numbers_whatever_their_width(patch, size):
    encoder = VideoEncoder(VideoConfig(patch=patch, width=32, depth=1), frames=8, size=size)
    video = torch.randint(0, 256, (3, 8, size, size, 3), dtype=torch.uint8)
    found = encoder.patches(video)
    assert found.dtype == torch.uint8
    assert torch.equal(found.float(), encoder.patches(video.float()))
    assert torch.equal(encoder.unpatch(found), video)
    where = torch.rand(3, encoder.grid.tokens).argsort(1) < 5
    assert torch.equal(encoder.patches(video, where), found[where].view(3, 5, -1))
