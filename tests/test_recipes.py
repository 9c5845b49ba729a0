"""The contract of every recipe, found by itself; then what single recipes promise."""

import inspect
import math
import re
from dataclasses import replace

import pytest
import torch
from small import (
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
from workbench.recipe.batch import Batch, BatchRng, Masks
from workbench.recipe.heads import Temperature
from workbench.testing import recipe_contract

RECIPES = recipe_names()


def test_the_scan_finds_the_recipes_we_know():
    assert {"mac", "simvtp"} <= set(RECIPES)


def test_the_scan_finds_what_they_are_able_to_do():
    assert {"mac", "simvtp"} <= set(recipes_with("embed_video", "embed_text"))
    assert {"mac", "simvtp"} <= set(recipes_that_align())
    assert "simvtp" in recipes_with("match")
    assert "mac" not in recipes_with("match")


@pytest.fixture
def recipe(name, vocabulary):
    return build(name, vocabulary)


TestEveryRecipe = recipe_contract(*RECIPES)


@pytest.mark.parametrize("name", RECIPES)
class TestEveryRecipeOfOurs:
    def test_its_docstring_gives_the_paper_and_what_differs(self, name):
        text = inspect.getdoc(recipe_module(name))
        assert re.search(r"arXiv:\d{4}\.\d{5}", text)
        assert "Differs from the paper" in text.split("\n\n")[-1], "the last paragraph says what differs"

    def test_only_videomae_has_nothing_to_predict_where_nothing_is_hidden(self, name, recipe, batch):
        draw = recipe.draw(batch, BatchRng.seeded(0), masked=False)
        if name != "videomae":
            assert recipe(batch, draw)
            return
        with pytest.raises(UserError, match="nothing to predict where nothing is hidden"):
            recipe(batch, draw)


@pytest.mark.parametrize("name", ["mac", "simvtp"])
def test_the_two_recipes_of_the_first_question_hide_by_chance_and_by_their_own_row_alone(name, recipe, batch):
    def masks(clips):
        draw = recipe.draw(clips, BatchRng.seeded(3))
        return [mask for mask in (draw.video_mask, draw.text_mask) if mask is not None]

    rows = torch.tensor([0, 1, 2, 3, 7, 6, 5, 4])
    found = masks(batch)
    assert found
    for mask, beside in zip(found, masks(Batch.of(batch.video[rows], batch.text.select(rows))), strict=True):
        assert torch.equal(mask[:4], beside[:4])


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


@pytest.mark.parametrize("start", [0.01, 0.001])
def test_a_temperature_at_its_bound_can_rise_again(start):
    temperature = Temperature(start, learned=True)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=1e-3)
    temperature().backward()  # a loss that wants a smaller scale
    optimizer.step()
    assert temperature().item() == pytest.approx(100 * math.exp(-0.1), rel=1e-4)
