"""What is predicted as pixels again: standardisations have inverses, what is visible stays the truth."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small import build, recipe_module, recipes_with, shrink

from workbench import losses, targets
from workbench.errors import UserError
from workbench.masking.video import TubeMasking
from workbench.models.codebook import Codebook
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import BatchRng, Draw
from workbench.recipe.reconstruction import filled

RECIPES = recipes_with("reconstruct")
HEADS = {"simvtp": "decoder", "videomae": "decoder", "vlc": "decoder", "maskvlm": "pixel_head",
         "violet": "code_head", "violetv2": "mvm_head", "smaug": "decoder",
         "vlmae": "pixel_head", "internvideo": "decoder"}  # fmt: skip
"""The part whose output is compared with the target, [..., values or codes of a patch]."""


def clips(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.fixture(params=RECIPES)
def recipe(request, vocabulary):
    return build(request.param, vocabulary).eval()


def drawn(recipe, batch, seed=0):
    return Draw(*recipe.masks(batch, BatchRng.seeded(seed)))


def hidden_pixels(recipe, mask):
    """A mask of tokens [B, N] as one of pixels [B, T, H, W, 3]."""
    every = mask[..., None].expand(-1, -1, recipe.video.pixels)
    return recipe.video.unpatch(every)


def test_the_scan_finds_those_we_know():
    assert set(RECIPES) == set(HEADS)


@pytest.mark.parametrize(("patch", "tubelet"), [(8, 2), (4, 1), (8, 4), (16, 4)])
def test_unpatch_is_the_inverse_of_patches(patch, tubelet):
    config = VideoConfig(width=32, depth=1, heads=2, patch=patch, tubelet=tubelet)
    encoder = VideoEncoder(config, frames=4, size=16)
    video = clips(3, 4, 16, 16, 3)
    assert torch.equal(encoder.unpatch(encoder.patches(video)), video)


@pytest.mark.parametrize("name", ["pixels", "patches"])
@pytest.mark.parametrize("shape", [(2, 3, 128 * 3), (1, 7, 5 * 3), (2, 1, 3)])
def test_what_was_standardised_comes_back(name, shape):
    patches = clips(*shape)
    patches[0] = patches[0] // 64 + 100  # next to no contrast
    values = getattr(targets, f"normalised_{name}")(patches)
    found = getattr(targets, f"denormalised_{name}")(values, patches)
    assert found.shape == patches.shape
    assert found.dtype == torch.float32
    assert (found - patches).abs().max() < 0.01


@pytest.mark.parametrize("name", ["pixels", "patches"])
def test_a_flat_patch_stays_flat_whatever_is_predicted(name):
    patches = torch.full((1, 2, 12), 200, dtype=torch.uint8)
    found = getattr(targets, f"denormalised_{name}")(torch.linspace(-2, 2, 24).view(1, 2, 12), patches)
    assert (found - 200).abs().max() < 1


def test_contrast_is_taken_by_colour_or_over_all_colours():
    """A red patch of even colour stays so by colour only; over all colours, red is told from blue."""
    red = torch.tensor([255, 0, 0] * 16, dtype=torch.uint8).view(1, 48)
    wrong = torch.ones(1, 48)
    assert torch.allclose(targets.denormalised_pixels(wrong, red), red.float(), atol=0.01)
    assert (targets.denormalised_patches(wrong, red) - red).abs().max() > 50


def test_hidden_places_are_filled_in_their_order_also_where_samples_hide_different_numbers():
    encoder = VideoEncoder(VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=2), frames=4, size=16)
    video, other = clips(2, 4, 16, 16, 3), clips(2, 4, 16, 16, 3, seed=1)
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[0, [1, 6]] = mask[1, [0, 2, 5]] = True
    batch = type("Clips", (), {"video": video})
    found = filled(encoder, batch, mask, encoder.patches(other)[mask])
    assert torch.equal(encoder.patches(found)[mask], encoder.patches(other)[mask].float())
    assert torch.equal(encoder.patches(found)[~mask], encoder.patches(video)[~mask].float())


@torch.no_grad()
def test_visible_places_are_the_truth_and_hidden_ones_predicted(recipe, batch):
    draw = drawn(recipe, batch)
    found = recipe.reconstruct(batch, draw)
    assert found.shape == batch.video.shape
    assert found.dtype == torch.float32
    hidden = hidden_pixels(recipe, draw.video_mask)
    assert 0 < hidden.float().mean() < 1
    assert torch.equal(found[~hidden], batch.video.float()[~hidden])
    assert (found[hidden] - batch.video[hidden]).abs().mean() > 5


@torch.no_grad()
def is_the_clip_if_perfect(recipe, batch, monkeypatch):
    """The loss names what would be perfect; the reconstruction of that is the clip, within a grey level."""
    wanted = []
    for name in ("mvm", "mvm_l1", "mvm_codes"):
        monkeypatch.setattr(losses, name, lambda _, target: wanted.append(target) or torch.zeros(()))
    if hasattr(recipe, "codebook"):  # in which every patch is a code of its own
        recipe.codebook.fit(recipe.video.patches(batch.video).flatten(0, 1), torch.Generator().manual_seed(0))
    full = recipe.draw(batch, BatchRng.seeded(0))
    recipe.losses(batch, full)

    def perfect(module, given, out):
        target = wanted[0]  # of pixels or codes; vlmae predicts features too
        return target.view_as(out) if target.is_floating_point() else F.one_hot(target, out.shape[-1])

    getattr(recipe, HEADS[recipe.name]).register_forward_hook(perfect)
    found = recipe.reconstruct(batch, Draw(full.video_mask, full.text_mask))
    assert (found - batch.video).abs().max() < 1


def test_a_perfect_prediction_is_the_true_clip(recipe, batch, monkeypatch):
    is_the_clip_if_perfect(recipe, batch, monkeypatch)


def test_perfect_codes_of_violetv2_are_the_true_clip(vocabulary, batch, monkeypatch):
    config = replace(shrink(recipe_module("violetv2").Config()), target="codes")
    recipe = build("violetv2", vocabulary, config=config).eval()
    is_the_clip_if_perfect(recipe, batch, monkeypatch)
    assert "predicted code" in recipe.reconstruction.drawn


@torch.no_grad()
def test_what_is_hidden_is_predicted_from_what_is_not(recipe, batch):
    """Hidden pixels tell the model nothing; what of the truth is taken to show them, it says."""
    draw = drawn(recipe, batch)
    hidden = hidden_pixels(recipe, draw.video_mask)
    contrast = torch.where(hidden, 255 - batch.video, batch.video)  # same deviation, other mean
    found, other = (recipe.reconstruct(b, draw) for b in (batch, batch._replace(video=contrast)))
    same = torch.allclose(found[hidden], other[hidden], atol=1e-3)
    assert same == ("are taken from the true clip" not in recipe.reconstruction.drawn)


@torch.no_grad()
def says_which_words_count(recipe, batch):
    said = recipe.reconstruction.words
    draw, outs = drawn(recipe, batch), []
    getattr(recipe, HEADS[recipe.name]).register_forward_hook(lambda _, given, out: outs.append(out))
    other = batch._replace(text=batch.text._replace(tokens=batch.text.tokens.roll(1, 0)))
    shown = draw._replace(text_mask=None)
    for pair in ((batch, draw), (other, draw), (batch, shown)):
        recipe.reconstruct(*pair)
    assert torch.equal(outs[0], outs[1]) == (said == "none")
    assert torch.equal(outs[0], outs[2]) == (said != "masked")


def test_it_says_which_words_count(recipe, batch):
    says_which_words_count(recipe, batch)


@pytest.mark.parametrize("condition", ["full", "masked", "none"])
def test_maskvlm_says_so_of_every_condition(condition, vocabulary, batch):
    config = replace(shrink(recipe_module("maskvlm").Config()), condition=condition)
    recipe = build("maskvlm", vocabulary, config=config).eval()
    says_which_words_count(recipe, batch)
    assert recipe.reconstruction.words == condition


def test_where_nothing_is_hidden_or_was_learned_it_is_refused_in_a_sentence(recipe, batch, vocabulary):
    with pytest.raises(UserError, match=f"{recipe.name} hides nothing of these clips"):
        recipe.reconstruct(batch, Draw())
    if recipe.name == "videomae":  # it has no other term
        return
    weights = replace(recipe.config.weights, mvm=0.0)
    config = replace(recipe.config, weights=weights, video_masking=TubeMasking(ratio=0.5))
    other = build(recipe.name, vocabulary, config=config)
    with pytest.raises(UserError, match=f"{recipe.name} has not learned .* weights.mvm is 0"):
        other.reconstruct(batch, drawn(other, batch))


@pytest.mark.parametrize("target", ["hog", "features_ema", "depth"])
def test_what_is_no_picture_of_the_clip_is_refused(target, vocabulary, batch):
    config = shrink(recipe_module("violetv2").Config(), tubelet=1)
    recipe = build("violetv2", vocabulary, config=replace(config, target=target))
    with pytest.raises(
        UserError, match=f"target='{target}' is not an image of the clip; 'pixel' and 'codes'"
    ):
        recipe.reconstruct(batch, drawn(recipe, batch))


def test_likeliest_codes_are_drawn_as_their_centroids():
    book = Codebook(5, 12)
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = book.pixels(logits)
    assert found.shape == (3, 4, 12)
    for place, row in zip(found.flatten(0, 1), logits.flatten(0, 1), strict=True):
        assert torch.equal(place, 255 * book.centroids[int(row.argmax())])
