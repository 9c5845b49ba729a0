"""The contract of every recipe, found by itself; then what single recipes promise."""

import inspect
import math
import re
from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, recipe_module, recipe_names, shrink

from workbench import targets
from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.models.text import Vocabulary
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch
from workbench.recipe.heads import Temperature
from workbench.serial import from_dict, to_dict

RECIPES = recipe_names()


def test_the_scan_finds_the_recipes_we_know():
    assert {"mac", "simvtp"} <= set(RECIPES)


def build(name, vocabulary, *, frames=FRAMES, config=None, **video):
    torch.manual_seed(0)
    module = recipe_module(name)
    config = config or shrink(module.Config(), **video)
    return module.Recipe(config, frames=frames, size=SIZE, vocabulary=vocabulary)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def total(recipe, terms):
    return sum(recipe.weights()[name] * term for name, term in terms.items())


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
        terms = recipe.losses(batch, seeded())
        assert isinstance(recipe, BaseRecipe)
        assert terms
        assert set(terms) <= set(recipe.weights())
        for term in terms.values():
            assert term.shape == ()
            assert torch.isfinite(term)

    def test_every_trained_parameter_gets_a_gradient(self, name, recipe, batch):
        total(recipe, recipe.losses(batch, seeded())).backward()
        trained = {n: p for n, p in recipe.named_parameters() if p.requires_grad}
        assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
        assert all(torch.isfinite(p.grad).all() for p in trained.values())

    def test_the_generator_alone_decides(self, name, recipe, batch):
        torch.manual_seed(1)
        first = recipe.losses(batch, seeded(5))
        torch.manual_seed(2)
        again = recipe.losses(batch, seeded(5))
        assert {n: t.item() for n, t in again.items()} == {n: t.item() for n, t in first.items()}
        other = recipe.losses(batch, seeded(6))
        assert any(other[n].item() != t.item() for n, t in first.items()), "another seed, another mask"

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
            q, p = recipe.config.video.tubelet, recipe.video.patch
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

    def test_unmasked_losses_draw_no_mask(self, name, recipe, batch, monkeypatch):
        def masked(*arguments):
            raise AssertionError("a mask was drawn")

        monkeypatch.setattr(recipe, "video_mask", masked)
        monkeypatch.setattr(recipe, "text_mask", masked)
        for terms in (
            recipe.losses(batch, seeded(), masked=False),
            recipe.align(batch, seeded(), masked=False),
        ):
            assert all(torch.isfinite(t) for t in terms.values())

    @pytest.mark.parametrize("masked", [True, False])
    def test_the_shared_alignment_stage_reaches_both_sides(self, name, recipe, batch, masked):
        terms = recipe.align(batch, seeded(), masked=masked)
        assert list(terms) == ["vtc"]
        terms["vtc"].backward()
        assert recipe.video.project.weight.grad.any()
        assert any(p.grad is not None and p.grad.any() for p in recipe.text.parameters())

    def test_it_works_on_single_images(self, name, batch, vocabulary):
        recipe = build(name, vocabulary, frames=1, tubelet=1)
        image = Batch(batch.video[:, :1], batch.text)
        assert all(torch.isfinite(t) for t in recipe.losses(image, seeded()).values())
        assert recipe.embed_video(image.video).shape[0] == 8

    def test_the_seed_alone_fixes_the_initial_weights(self, name, recipe, vocabulary):
        again = build(name, vocabulary).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in recipe.state_dict().items())

    def test_a_batch_of_two_is_enough(self, name, recipe, batch):
        pair = Batch(batch.video[:2], batch.text.select(slice(0, 2)))
        assert all(torch.isfinite(t) for t in recipe.losses(pair, seeded()).values())

    def test_an_empty_caption_does_no_harm(self, name, recipe, batch, vocabulary):
        odd = Batch(batch.video, vocabulary.encode([""] + ["red moon"] * 7))
        assert all(torch.isfinite(t) for t in recipe.losses(odd, seeded()).values())
        assert torch.isfinite(recipe.embed_text(odd.text)).all()


class TestMac:
    def test_hiding_is_what_the_config_says(self, vocabulary, batch):
        config = shrink(recipe_module("mac").Config())
        recipe = build("mac", vocabulary)
        mask = recipe.video_mask(batch, seeded())
        assert mask.sum(1).tolist() == [config.video_masking.hidden(recipe.video.grid)] * 8
        shown = build("mac", vocabulary, config=replace(config, video_masking=None, text_masking=None))
        assert shown.video_mask(batch, seeded()) is None
        assert shown.text_mask(batch, seeded()) is None

    def test_words_may_be_dropped_instead_of_replaced(self, vocabulary, batch):
        config = shrink(recipe_module("mac").Config())
        config = replace(
            config,
            text=replace(config.text, hidden="drop"),
            text_masking=replace(config.text_masking, ratio=0.5),
        )
        recipe = build("mac", vocabulary, config=config)
        mask = recipe.text_mask(batch, seeded())
        assert len(set(mask.sum(1).tolist())) == 1
        assert torch.isfinite(recipe.losses(batch, seeded())["vtc"])

    def test_without_masking_the_loss_is_the_contrast_of_the_embeddings(self, vocabulary, batch):
        config = replace(shrink(recipe_module("mac").Config()), video_masking=None, text_masking=None)
        recipe = build("mac", vocabulary, config=config)
        video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
        scores = video @ text.T / 0.05
        right = torch.arange(8)
        loss = torch.nn.functional.cross_entropy
        expected = (loss(scores, right) + loss(scores.T, right)) / 2
        assert recipe.losses(batch, seeded())["vtc"].item() == pytest.approx(expected.item(), rel=1e-4)


class TestSimvtp:
    def config(self, **changes):
        return replace(shrink(recipe_module("simvtp").Config()), **changes)

    @pytest.mark.parametrize("off", [{"vtc", "vtm"}, {"mvm", "mlm"}, {"mlm"}, {"mvm", "mlm", "vtm"}])
    def test_a_term_of_weight_zero_is_not_computed(self, vocabulary, batch, off):
        weights = replace(self.config().weights, **dict.fromkeys(off, 0.0))
        recipe = build("simvtp", vocabulary, config=self.config(weights=weights))
        assert set(recipe.losses(batch, seeded())) == {"mvm", "mlm", "vtc", "vtm"} - off

    def test_it_predicts_hidden_places_only(self, vocabulary, batch):
        recipe = build("simvtp", vocabulary)
        text = recipe.losses(batch, seeded())["mlm"]
        mask = recipe.text_mask(batch, seeded())
        assert 0 < text.item() < 3 * math.log(vocabulary.size)
        assert not (mask & ~batch.text.layout.valid).any()

    @torch.no_grad()
    def test_it_predicts_the_pixels_and_words_of_the_hidden_places(self, vocabulary, batch):
        """Sample by sample, from the parts: one pass over what is visible, compared with what was hidden."""
        recipe = build("simvtp", vocabulary)
        terms = recipe.losses(batch, seeded(3))
        rng = seeded(3)
        video_mask, text_mask = recipe.video_mask(batch, rng), recipe.text_mask(batch, rng)
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
    def test_padding_changes_no_term(self, vocabulary, store, batch, monkeypatch):
        long = Vocabulary(vocabulary.tokenizer, vocabulary.length + 5)
        recipe = build("simvtp", long)
        captions = store.splits["train"].captions[:8]
        masks = recipe.video_mask(batch, seeded()), TokenMasking(ratio=0.5)
        found = []
        for words in (vocabulary, long):
            text = words.encode(captions)
            hidden = masks[1](vocabulary.encode(captions).layout, seeded(1), equal=False)
            hidden = torch.nn.functional.pad(hidden, (0, words.length - vocabulary.length))
            monkeypatch.setattr(recipe, "video_mask", lambda *_: masks[0])
            monkeypatch.setattr(recipe, "text_mask", lambda *_, h=hidden: h)
            found.append(recipe.losses(Batch(batch.video, text), seeded(2)))
        for name, term in found[0].items():
            assert term.item() == pytest.approx(found[1][name].item(), rel=1e-4), name

    def test_a_wrong_pair_is_never_the_right_one(self, vocabulary, batch, monkeypatch):
        recipe = build("simvtp", vocabulary)
        seen = []
        monkeypatch.setattr(recipe, "_joint", lambda video, words, keep: seen.append(video) or video)
        keep = torch.ones(2, 5, dtype=torch.bool)
        video = torch.arange(2.0).view(2, 1, 1).expand(2, 3, 32)
        for seed in range(20):
            seen.clear()
            with pytest.raises(
                RuntimeError
            ):  # the stub's tokens lack the words; the pairs were built by then
                recipe._match(video, torch.zeros(2, 5, 32), keep, seeded(seed))
            assert seen[0][:, 0, 0].tolist() == [0, 1, 1, 0]

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
