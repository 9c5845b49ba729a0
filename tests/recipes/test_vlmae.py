"""VLMAE: pixels of what was dropped, told by the words too, and what a teacher that sees all makes of it."""

from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench import targets
from workbench.errors import UserError
from workbench.recipe.batch import BatchRng
from workbench.recipes import vlmae
from workbench.targets.features import normalised_features
from workbench.train.cost import StepCounter


def tiny(**changes):
    return replace(shrink(vlmae.Config()), **changes)


def build(vocabulary, **changes):
    torch.manual_seed(0)
    return vlmae.Recipe(tiny(**changes), frames=FRAMES, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def moved(recipe):
    """Weights of the encoder that are no longer the teacher's."""
    with torch.no_grad():
        for parameter in recipe.video.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return recipe


def test_attention_means_nothing_where_no_term_reads_both_sides(vocabulary):
    assert build(vocabulary).trained_by("attended") == ("recipe",)
    neither = replace(vlmae.Weights(), vtm=0, mlm=0)
    assert build(vocabulary, weights=neither).trained_by("attended") == ()


def test_half_of_each_slot_is_hidden(vocabulary, batch):
    recipe = build(vocabulary)
    assert vlmae.Config().video_masking.ratio == 0.5
    assert drawn(recipe, batch).video_mask.view(8, 2, 4).sum(2).unique().tolist() == [2]


def test_the_teacher_is_the_moving_average_and_learns_nothing(vocabulary, batch):
    recipe = moved(build(vocabulary, momentum=0.75))
    before = [p.clone() for p in recipe.teacher.parameters()]
    sum(recipe(batch, drawn(recipe, batch)).values()).backward()
    assert all(p.grad is None and not p.requires_grad for p in recipe.teacher.parameters())
    with torch.no_grad():
        recipe.after_step(0.5)
    for old, own, new in zip(before, recipe.video.parameters(), recipe.teacher.parameters(), strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * own, atol=1e-6)
    recipe.prepare(None, torch.Generator())
    assert all(map(torch.equal, recipe.teacher.parameters(), recipe.video.parameters()))


@torch.no_grad()
def test_the_teacher_tells_what_the_student_would_see_if_nothing_were_hidden(vocabulary, batch):
    recipe = build(vocabulary).eval()
    seen = normalised_features(recipe.teacher(batch.video).tokens)
    assert torch.equal(seen, normalised_features(recipe.video(batch.video).tokens))


@torch.no_grad()
def test_features_that_are_predicted_as_the_teacher_has_them_cost_nothing(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    seen = normalised_features(recipe.teacher(batch.video).tokens)
    of_hidden = seen[draw.video_mask].view(len(seen), -1, seen.shape[-1])
    recipe.feature_head.register_forward_hook(lambda module, given, out: of_hidden)
    assert recipe(batch, draw)["features"] == 0
    recipe.feature_head.register_forward_hook(lambda module, given, out: of_hidden.flip(1))
    assert recipe(batch, draw)["features"] > 0


@torch.no_grad()
def test_pixels_and_features_are_those_of_the_hidden_places(vocabulary, batch):
    """Clip by clip from the parts, without padding, compared with the terms of the batch."""
    recipe = moved(build(vocabulary)).eval()
    recipe.teacher.norm.weight.mul_(3)  # whatever the size of its features
    draw = drawn(recipe, batch)
    errors = {"mvm": [], "features": []}
    for i in range(8):
        one, mask = batch.select(slice(i, i + 1)), draw.video_mask[i : i + 1]
        caption = recipe.text(one.text, draw.text_mask[i : i + 1])
        n = int(one.text.layout.valid.sum())
        words = torch.cat([caption.pooled[:, None], caption.tokens[:, :n]], 1)
        hidden = recipe.decoder(recipe.video(one.video, mask).tokens, mask, words)[0]
        pixels = targets.normalised_patches(recipe.video.patches(one.video)[:, mask[0]])[0]
        seen = recipe.teacher(one.video).tokens[0, mask[0]]  # from the whole clip
        seen = (seen - seen.mean(1, keepdim=True)) / seen.std(1, correction=0, keepdim=True)
        errors["mvm"].append((recipe.pixel_head(hidden) - pixels).square().mean().item())
        errors["features"].append((recipe.feature_head(hidden) - seen).square().mean().item())
    terms = recipe(batch, draw)
    for name, each in errors.items():
        assert terms[name].item() == pytest.approx(sum(each) / 8, rel=1e-3), name


@torch.no_grad()
def test_hidden_pixels_reach_the_targets_alone(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw, tokens = drawn(recipe, batch), []
    recipe.decoder.register_forward_hook(lambda module, given, out: tokens.append(out))
    mask = recipe.video.unpatch(draw.video_mask[..., None].expand(-1, -1, recipe.video.pixels))
    before = recipe(batch, draw)
    after = recipe(batch._replace(video=torch.where(mask, batch.video ^ 255, batch.video)), draw)
    assert torch.equal(*tokens)
    same = {name for name, term in before.items() if torch.equal(term, after[name])}
    assert same == {"vtc", "vtm", "mlm"}


@torch.no_grad()
def test_the_words_that_are_shown_help_to_generate(vocabulary, batch):
    recipe = build(vocabulary).eval()
    hidden = torch.zeros_like(batch.text.layout.valid)
    hidden[:, 1] = True
    draw = drawn(recipe, batch)._replace(text_mask=hidden)
    before = recipe(batch, draw)
    for place, changes in ((0, True), (1, False)):
        tokens = batch.text.tokens.clone()
        tokens[:, place] = vocabulary.unk
        after = recipe(batch._replace(text=batch.text._replace(tokens=tokens)), draw)
        for name in ("mvm", "features"):
            assert torch.equal(after[name], before[name]) != changes, (name, place)


@pytest.mark.parametrize(
    ("off", "passes"),
    [
        ((), (1, 1, 3, 1, 1)),
        (("features",), (1, 1, 3, 1)),
        (("mvm",), (1, 1, 3, 1, 1)),
        (("mvm", "features"), (1, 1, 3, 0)),
        (("vtm",), (1, 1, 1, 1, 1)),
        (("vtm", "mlm"), (1, 1, 0, 1, 1)),
    ],
)
def test_only_those_passes_run_that_a_term_needs(vocabulary, batch, off, passes):
    recipe = build(vocabulary, weights=replace(vlmae.Weights(), **dict.fromkeys(off, 0.0)))
    counter = StepCounter(recipe, 8)
    with counter:
        terms = recipe(batch, drawn(recipe, batch))
    assert tuple(counter.cost.passes(name) for name in recipe.encoders()) == passes
    assert set(terms) == {"vtc", "vtm", "mlm", "mvm", "features"} - set(off)
    assert counter.cost.tokens_out == 4, "of eight; the teacher reads all"
    if "features" not in off:
        assert counter.cost.encoders["teacher"].tokens == 8 * 8


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"momentum": 1.0},
        lambda c: {"video": replace(c.video, hidden="replace")},
        lambda c: {"text": replace(c.text, hidden="drop")},
        lambda c: {"fusion": replace(c.fusion, mode="both")},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError) as caught:
        tiny(**change(tiny()))
    assert "\n" not in str(caught.value)


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=vlmae.Weights(vtc=0, vtm=0))
    with pytest.raises(UserError, match="nothing to learn"):
        recipe(batch, drawn(recipe, batch, masked=False))
