"""The contract of every recipe, found by itself; then what single recipes promise."""

import inspect
import math
import re
from dataclasses import replace

import pytest
import torch
from small import (
    FRAMES,
    SIZE,
    build,
    recipe_module,
    recipe_names,
    recipes_that_align,
    recipes_with,
    shrink,
    step,
)

from workbench import targets
from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.models.text import Vocabulary
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import BatchRng, Masks
from workbench.recipe.heads import Temperature
from workbench.serial import from_dict, to_dict

RECIPES = recipe_names()
PREDICT_ONLY = {("videomae", "recipe")}
"""Objectives that have no term where nothing is hidden, and say so."""


def test_the_scan_finds_the_recipes_we_know():
    assert {"mac", "simvtp"} <= set(RECIPES)


def test_the_scan_finds_what_they_are_able_to_do():
    assert {"mac", "simvtp"} <= set(recipes_with("embed_video", "embed_text"))
    assert {"mac", "simvtp"} <= set(recipes_that_align())
    assert "simvtp" in recipes_with("match")
    assert "mac" not in recipes_with("match")


def total(recipe, terms, objective="recipe"):
    return sum(recipe.weights(objective)[name] * term for name, term in terms.items())


def drawn(draw):
    """Everything in a draw by its name."""
    masks = {"video_mask": draw.video_mask, "text_mask": draw.text_mask}
    return {name: mask for name, mask in masks.items() if mask is not None} | dict(draw.chosen)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def recipe(name, vocabulary):
    return build(name, vocabulary)


@pytest.mark.parametrize("name", RECIPES)
class TestEveryRecipe:
    def test_its_docstring_gives_the_paper_and_what_differs(self, name):
        text = inspect.getdoc(recipe_module(name))
        assert re.search(r"arXiv:\d{4}\.\d{5}", text)
        assert "Differs from the paper" in text.split("\n\n")[-1], "the last paragraph says what differs"

    def test_its_config_is_frozen_and_keyword_only_and_survives_a_file(self, name):
        config = recipe_module(name).Config()
        assert from_dict(to_dict(config)) == config
        with pytest.raises(AttributeError):
            config.weights = None
        with pytest.raises(TypeError):
            type(config)(config.video)

    def test_its_losses_are_finite_scalars_that_its_weights_name(self, name, recipe, batch):
        terms = step(recipe, batch)
        assert isinstance(recipe, BaseRecipe)
        assert terms
        assert set(terms) <= set(recipe.weights())
        for term in terms.values():
            assert term.shape == ()
            assert torch.isfinite(term)

    def test_every_trained_parameter_gets_a_gradient(self, name, recipe, batch):
        """From its own losses, its phases and the alignment together; where a branch begins as nothing, what
        lies inside it learns from the second step on."""
        trained = {n: p for n, p in recipe.named_parameters() if p.requires_grad}
        for _ in range(2):
            for objective in recipe.objectives():
                total(recipe, step(recipe, batch, objective=objective), objective).backward()
            with torch.no_grad():
                for parameter in trained.values():
                    if parameter.grad is not None:
                        parameter -= 1e-3 * parameter.grad
        assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
        assert all(torch.isfinite(p.grad).all() for p in trained.values())

    def test_the_generator_alone_decides(self, name, recipe, batch):
        torch.manual_seed(1)
        draw = recipe.draw(batch, BatchRng.seeded(5))
        first = recipe(batch, draw)
        torch.manual_seed(2)
        again = recipe.draw(batch, BatchRng.seeded(5))
        assert same(drawn(draw), drawn(again))
        assert {n: t.item() for n, t in recipe(batch, again).items()} == {
            n: t.item() for n, t in first.items()
        }
        if not drawn(draw):
            assert name not in ("mac", "simvtp")
            return  # nothing of it is left to chance
        other = step(recipe, batch, 6)
        assert any(other[n].item() != t.item() for n, t in first.items()), "another seed, another mask"

    def test_the_forward_pass_takes_no_generator_and_changes_no_state(self, name, recipe, batch):
        for objective in recipe.objectives():
            draw = recipe.draw(batch, BatchRng.seeded(0), objective=objective)
            before, state = {k: v.clone() for k, v in recipe.state_dict().items()}, torch.get_rng_state()
            first = recipe(batch, draw, objective=objective)
            again = recipe(batch, draw, objective=objective)
            assert {n: t.item() for n, t in first.items()} == {n: t.item() for n, t in again.items()}
            assert same(recipe.state_dict(), before), objective
            assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from the global generator"
        assert not {"rng", "generator"} & set(inspect.signature(recipe.forward).parameters)

    def test_unmasked_losses_draw_no_mask(self, name, recipe, batch, monkeypatch):
        def masked(*arguments):
            raise AssertionError("a mask was drawn")

        monkeypatch.setattr(recipe, "masks", masked)
        for objective in {"recipe", "align"} & set(recipe.objectives()):
            draw = recipe.draw(batch, BatchRng.seeded(0), objective=objective, masked=False)
            assert draw.video_mask is None
            assert draw.text_mask is None
            if (name, objective) in PREDICT_ONLY:
                with pytest.raises(UserError, match="nothing to predict where nothing is hidden"):
                    recipe(batch, draw, objective=objective, masked=False)
                continue
            terms = recipe(batch, draw, objective=objective, masked=False)
            assert all(torch.isfinite(t) for t in terms.values())

    def test_it_works_on_single_images(self, name, batch, vocabulary):
        recipe = build(name, vocabulary, frames=1, tubelet=1)
        image = batch._replace(video=batch.video[:, :1])
        assert all(torch.isfinite(t) for t in step(recipe, image).values())
        if hasattr(recipe, "embed_video"):
            assert recipe.embed_video(image.video).shape[0] == 8

    def test_the_seed_alone_fixes_the_initial_weights(self, name, recipe, vocabulary):
        again = build(name, vocabulary).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in recipe.state_dict().items())

    def test_a_batch_of_two_is_enough(self, name, recipe, batch):
        pair = batch.select(slice(0, 2))
        assert all(torch.isfinite(t) for t in step(recipe, pair).values())

    def test_an_empty_caption_does_no_harm(self, name, recipe, batch, vocabulary):
        odd = batch._replace(text=vocabulary.encode([""] + ["red moon"] * 7))
        assert all(torch.isfinite(t) for t in step(recipe, odd).values())


@pytest.mark.parametrize("name", recipes_with("embed_video", "embed_text"))
class TestEveryRecipeThatEmbeds:
    def test_embeddings_are_unit_vectors_of_one_space(self, name, recipe, batch):
        video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
        assert video.shape == text.shape
        assert video.dtype == text.dtype == torch.float32
        for side in (video, text):
            assert torch.allclose(side.norm(dim=1), torch.ones(len(side)), atol=1e-5)

    def test_embedding_shows_every_patch_and_every_word(self, name, recipe, batch, vocabulary):
        """Unmasked evaluation, seen from outside: whatever is changed, the embedding changes."""
        recipe.eval()
        with torch.no_grad():
            video, text = batch.video[:1], batch.text.select(slice(0, 1))
            before = recipe.embed_video(video)
            encoder = recipe.encoders()["video"]
            q, p = encoder.config.tubelet, encoder.patch
            for t in range(0, FRAMES, q):
                for h in range(0, SIZE, p):
                    for w in range(0, SIZE, p):
                        other = video.clone()
                        other[:, t : t + q, h : h + p, w : w + p] ^= 255
                        assert not torch.equal(recipe.embed_video(other), before), (t, h, w)
            before = recipe.embed_text(text)
            for place in range(int(text.layout.valid.sum())):
                tokens = text.tokens.clone()
                tokens[0, place] = vocabulary.unk
                assert not torch.equal(recipe.embed_text(text._replace(tokens=tokens)), before), place

    def test_a_clip_is_embedded_alike_alone_and_in_company(self, name, recipe, batch):
        recipe.eval()
        with torch.no_grad():
            video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
            alone = batch.text.select(slice(2, 3))
            assert torch.allclose(recipe.embed_video(batch.video[2:3]), video[2:3], atol=1e-5)
            assert torch.allclose(recipe.embed_text(alone), text[2:3], atol=1e-5)

    def test_an_empty_caption_is_embedded_as_something_finite(self, name, recipe, vocabulary):
        assert torch.isfinite(recipe.embed_text(vocabulary.encode(["", "red moon"]))).all()


@pytest.mark.parametrize("name", recipes_that_align())
@pytest.mark.parametrize("masked", [True, False])
def test_the_shared_alignment_stage_reaches_both_sides(name, recipe, batch, masked):
    terms = step(recipe, batch, objective="align", masked=masked)
    assert list(terms) == ["vtc"]
    terms["vtc"].backward()
    encoders = recipe.encoders()
    assert encoders["video"].project.weight.grad.any()
    for side in {"video", "text"} & set(encoders):
        assert any(p.grad is not None and p.grad.any() for p in encoders[side].parameters()), side


@pytest.mark.parametrize("name", recipes_with("match"))
class TestEveryRecipeThatMatches:
    def test_a_pair_is_judged_alike_alone_and_in_company(self, name, recipe, batch):
        recipe.eval()
        with torch.no_grad():
            logits = recipe.match(batch.video, batch.text)
            assert logits.shape == (8,)
            assert torch.isfinite(logits).all()
            alone = recipe.match(batch.video[2:3], batch.text.select(slice(2, 3)))
            assert torch.allclose(alone, logits[2:3], atol=1e-5)

    def test_the_judgement_depends_on_both_sides(self, name, recipe, batch):
        recipe.eval()
        with torch.no_grad():
            logits = recipe.match(batch.video, batch.text)
            assert not torch.equal(recipe.match(batch.video.flip(0), batch.text), logits)
            assert not torch.equal(
                recipe.match(batch.video, batch.text.select(torch.arange(7, -1, -1))), logits
            )


class TestMac:
    def test_hiding_is_what_the_config_says(self, vocabulary, batch):
        config = shrink(recipe_module("mac").Config())
        recipe = build("mac", vocabulary)
        mask = recipe.masks(batch, BatchRng.seeded(0)).video
        assert mask.sum(1).tolist() == [config.video_masking.hidden(recipe.video.grid)] * 8
        shown = build("mac", vocabulary, config=replace(config, video_masking=None, text_masking=None))
        assert shown.masks(batch, BatchRng.seeded(0)) == Masks(None, None)

    def test_words_may_be_dropped_instead_of_replaced(self, vocabulary, batch):
        config = shrink(recipe_module("mac").Config())
        config = replace(
            config,
            text=replace(config.text, hidden="drop"),
            text_masking=replace(config.text_masking, ratio=0.5),
        )
        recipe = build("mac", vocabulary, config=config)
        mask = recipe.masks(batch, BatchRng.seeded(0)).text
        assert len(set(mask.sum(1).tolist())) == 1
        assert torch.isfinite(step(recipe, batch)["vtc"])

    def test_without_masking_the_loss_is_the_contrast_of_the_embeddings(self, vocabulary, batch):
        config = replace(shrink(recipe_module("mac").Config()), video_masking=None, text_masking=None)
        recipe = build("mac", vocabulary, config=config)
        video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
        scores = video @ text.T / 0.05
        right = torch.arange(8)
        loss = torch.nn.functional.cross_entropy
        expected = (loss(scores, right) + loss(scores.T, right)) / 2
        assert step(recipe, batch)["vtc"].item() == pytest.approx(expected.item(), rel=1e-4)


class TestSimvtp:
    def config(self, **changes):
        return replace(shrink(recipe_module("simvtp").Config()), **changes)

    @pytest.mark.parametrize("off", [{"vtc", "vtm"}, {"mvm", "mlm"}, {"mlm"}, {"mvm", "mlm", "vtm"}])
    def test_a_term_of_weight_zero_is_not_computed(self, vocabulary, batch, off):
        weights = replace(self.config().weights, **dict.fromkeys(off, 0.0))
        recipe = build("simvtp", vocabulary, config=self.config(weights=weights))
        assert set(step(recipe, batch)) == {"mvm", "mlm", "vtc", "vtm"} - off

    def test_it_predicts_hidden_places_only(self, vocabulary, batch):
        recipe = build("simvtp", vocabulary)
        text = step(recipe, batch)["mlm"]
        mask = recipe.draw(batch, BatchRng.seeded(0)).text_mask
        assert 0 < text.item() < 3 * math.log(vocabulary.size)
        assert not (mask & ~batch.text.layout.valid).any()

    @torch.no_grad()
    def test_it_predicts_the_pixels_and_words_of_the_hidden_places(self, vocabulary, batch):
        """Sample by sample, from the parts: one pass over what is visible, compared with what was hidden."""
        recipe = build("simvtp", vocabulary)
        draw = recipe.draw(batch, BatchRng.seeded(3))
        terms = recipe(batch, draw)
        video_mask, text_mask = draw.video_mask, draw.text_mask
        squares, surprises = [], []
        for i in range(8):
            hidden, words_hidden = video_mask[i], text_mask[i]
            caption = batch.text.select(slice(i, i + 1))
            video = recipe.video.embed(batch.video[i : i + 1])[:, ~hidden]
            words, keep = recipe.text.embed(caption, words_hidden[None])
            n, length = video.shape[1], int(keep.sum())
            both = recipe.video.encode(torch.cat([video, words[:, :length]], 1)).tokens
            pixels = recipe.decoder(both[:, :n], hidden[None])[0]
            target = targets.normalised_pixels(recipe.video.patches(batch.video[i : i + 1]))[0, hidden]
            squares += (pixels - target).square().flatten().tolist()
            logits = recipe.word_head(both[0, n:]).log_softmax(-1)
            for place in words_hidden.nonzero()[:, 0].tolist():
                surprises.append(-logits[place, caption.tokens[0, place]].item())
        assert terms["mvm"].item() == pytest.approx(sum(squares) / len(squares), rel=1e-3)
        assert terms["mlm"].item() == pytest.approx(sum(surprises) / len(surprises), rel=1e-3)

    @torch.no_grad()
    def test_padding_changes_no_term(self, vocabulary, store, batch):
        long = Vocabulary(vocabulary.tokenizer, vocabulary.length + 5)
        recipe = build("simvtp", long)
        captions = store.splits["train"].captions[:8]
        drawn = recipe.draw(batch, BatchRng.seeded(0))
        found = []
        for words in (vocabulary, long):
            text = words.encode(captions)
            hidden = TokenMasking(ratio=0.5)(
                vocabulary.encode(captions).layout, BatchRng.seeded(1), equal=False
            )
            hidden = torch.nn.functional.pad(hidden, (0, words.length - vocabulary.length))
            found.append(recipe(batch._replace(text=text), drawn._replace(text_mask=hidden)))
        for name, term in found[0].items():
            assert term.item() == pytest.approx(found[1][name].item(), rel=1e-4), name

    def test_a_wrong_pair_is_never_the_right_one(self, vocabulary, batch, monkeypatch):
        """Whatever is drawn, each caption meets its own clip first and then another one."""
        recipe, seen = build("simvtp", vocabulary), []
        judge = recipe._judge
        monkeypatch.setattr(recipe, "_judge", lambda *parts: seen.append(parts) or judge(*parts))
        pair = batch.select(slice(0, 2))
        for rows, among in ((2, {1}), (8, set(range(1, 8)))):
            shifts = set()
            for seed in range(20):
                shift = recipe.draw(batch.select(slice(0, rows)), BatchRng.seeded(seed)).chosen["shift"]
                assert shift.shape == (rows,)
                shifts |= set(shift.tolist())
            assert shifts == among, "every other clip, never its own"
        draw = recipe.draw(pair, BatchRng.seeded(0))
        recipe(pair, draw)
        [(video, words, _)] = seen
        own = recipe.video.embed(pair.video, draw.video_mask)
        assert torch.equal(video, own[[0, 1, 1, 0]])
        assert torch.equal(words[:2], words[2:])

    def test_a_pair_is_judged_by_how_much_better_it_matches(self, vocabulary, batch):
        recipe = build("simvtp", vocabulary).eval()
        with torch.no_grad():
            before = recipe.match(batch.video, batch.text)
            recipe.match_head.bias += torch.tensor([0.0, 3.0])
            assert torch.allclose(recipe.match(batch.video, batch.text), before + 3, atol=1e-5)

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: {"text": replace(c.text, depth=2)},
            lambda c: {"text": replace(c.text, hidden="drop")},
            lambda c: {"text": replace(c.text, width=64)},
            lambda c: {"video": replace(c.video, hidden="replace")},
            lambda c: {"video_masking": None},
            lambda c: {"text_masking": None},
        ],
    )
    def test_what_it_cannot_do_is_refused(self, change):
        with pytest.raises(UserError, match="simvtp"):
            self.config(**change(self.config()))


def test_a_temperature_starts_where_it_is_told_and_never_falls_below_a_hundredth():
    assert Temperature(0.05, learned=True)().item() == pytest.approx(20)
    fixed = Temperature(0.05, learned=False)
    assert not fixed.log_scale.requires_grad
    hot = Temperature(0.05, learned=True)
    torch.nn.init.constant_(hot.log_scale, 10.0)
    assert hot().item() == pytest.approx(100)
