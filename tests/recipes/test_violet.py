"""VIOLET: who is hidden by attention, what codes depend on, and each loss sample by sample."""

import math
from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, build, recipe_module, run_config, shrink, step

from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import RandomMasking
from workbench.recipe.batch import BatchRng
from workbench.recipe.joint import wrong_rows
from workbench.train.cost import StepCounter
from workbench.train.loop import train
from workbench.train.session import open_session

violet = recipe_module("violet")


def tiny(**changes):
    return replace(shrink(violet.Config()), **changes)


def made(vocabulary, **changes):
    """A tiny recipe; patches of 4 pixels and single frames, so that 64 tokens make shares finer."""
    config = tiny(**changes)
    return build(
        "violet", vocabulary, config=replace(config, video=replace(config.video, patch=4, tubelet=1))
    )


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def planted(recipe, tokens, monkeypatch):
    """All attention goes to some of the patches and words."""

    def received(video, text, keep):
        weight = torch.zeros(len(video), video.shape[1] + text.shape[1])
        weight[:, tokens] = 1.0
        return weight

    monkeypatch.setattr(recipe.fusion, "received", received)


class TestMasks:
    def test_what_is_hidden_follows_a_planted_attention(self, vocabulary, batch, monkeypatch):
        """Without boxes and words by chance, so that only attended samples hide anything."""
        recipe = made(vocabulary, video_masking=None, text_masking=None)
        tokens = [*range(3, 15), 64, 65]
        planted(recipe, tokens, monkeypatch)
        hidden = torch.cat([torch.cat(tuple(recipe.masks(batch, BatchRng.seeded(s))), 1) for s in range(10)])
        assert set(hidden.any(0).nonzero()[:, 0].tolist()) == set(tokens)
        words = batch.text.layout.valid.sum(1).repeat(10)
        attended = hidden.any(1)
        assert (
            hidden.sum(1)[attended].tolist()
            == (0.15 * (64 + words[attended]).double() + 1e-9).long().tolist()
        )
        assert attended.view(10, 8).sum(1).tolist() == [4] * 10, "half of each batch"
        assert len({tuple(rows) for rows in attended.view(10, 8).tolist()}) > 1, "chosen by chance"
        moved = [*range(30, 42), 64, 65]
        planted(recipe, moved, monkeypatch)
        hidden = torch.cat(tuple(recipe.masks(batch, BatchRng.seeded(0))), 1)
        assert set(hidden.any(0).nonzero()[:, 0].tolist()) <= set(moved)

    def test_the_other_half_hides_boxes_and_words_by_chance(self, vocabulary, batch, monkeypatch):
        recipe = made(vocabulary)
        chance = made(vocabulary, attended=0.0).masks(batch, BatchRng.seeded(1))
        planted(recipe, list(range(20)), monkeypatch)
        masks = recipe.masks(batch, BatchRng.seeded(1))
        attended = ~(masks.video == chance.video).all(1)
        assert attended.sum() == 4
        assert torch.equal(masks.text[~attended], chance.text[~attended])
        assert not masks.video[attended, 20:].any()
        assert chance.video.sum(1).tolist() == [9] * 8

    def test_attended_masks_differ_from_even_ones_on_the_same_seed(self, vocabulary, batch, monkeypatch):
        recipe = made(vocabulary)
        masks = recipe.masks(batch, BatchRng.seeded(1))
        planted(recipe, list(range(64)), monkeypatch)
        assert not torch.equal(recipe.masks(batch, BatchRng.seeded(1)).video, masks.video)

    def test_no_padding_is_hidden_and_attention_is_asked_without_gradients(
        self, vocabulary, batch, monkeypatch
    ):
        recipe, learning = made(vocabulary), []
        true = recipe.fusion.received
        monkeypatch.setattr(
            recipe.fusion, "received", lambda *sides: learning.append(torch.is_grad_enabled()) or true(*sides)
        )
        for seed in range(5):
            assert not (recipe.masks(batch, BatchRng.seeded(seed)).text & ~batch.text.layout.valid).any()
        assert learning == [False] * 5

    def test_without_attended_masking_the_model_is_not_asked(self, vocabulary, batch, monkeypatch):
        recipe = made(vocabulary, attended=0.0)
        monkeypatch.setattr(recipe.fusion, "received", None)
        assert drawn(recipe, batch).video_mask.any()

    @pytest.mark.parametrize(("attended", "video", "fusion"), [(0.15, 1.5, 5.5), (0.0, 1, 5)])
    def test_it_takes_half_a_pass_more_through_both(self, vocabulary, batch, attended, video, fusion):
        """Without it a caption is read as masked, and with every word beside three others."""
        recipe = made(vocabulary, attended=attended)
        with StepCounter(recipe, 8) as counter:
            step(recipe, batch)
        assert counter.cost.passes("video") == video
        assert counter.cost.passes("fusion") == fusion

    def test_each_process_hides_what_is_attended_to_in_half_of_its_rows(self, vocabulary, batch, monkeypatch):
        recipe = made(vocabulary, video_masking=None, text_masking=None)
        planted(recipe, list(range(20)), monkeypatch)
        found = []
        for rank in range(2):
            rng = BatchRng(torch.Generator().manual_seed(0), rank=rank, size=2)
            found.append(recipe.masks(batch.select(slice(4 * rank, 4 * rank + 4)), rng).video)
        assert [mask.any(1).sum().item() for mask in found] == [2, 2]
        assert not torch.equal(*found)


class TestCodes:
    def test_a_code_is_unchanged_by_pixels_outside_its_patch(self, vocabulary, batch):
        recipe = made(vocabulary)
        before = recipe.codebook(recipe.video.patches(batch.video))
        other = batch.video ^ 255
        other[:, 1, 4:8, 8:12] = batch.video[:, 1, 4:8, 8:12]  # token 16 + 4 + 2
        after = recipe.codebook(recipe.video.patches(other))
        assert torch.equal(after[:, 22], before[:, 22])
        assert (after != before).float().mean() > 0.5

    def test_the_loss_of_a_fresh_model_is_about_that_of_guessing(self, vocabulary, batch):
        found = [step(made(vocabulary), batch, seed)["mvm"].item() for seed in range(4)]
        assert sum(found) / 4 == pytest.approx(math.log(256), rel=0.03)

    def test_training_fits_the_codebook_first(self, store):
        session = open_session(run_config("violet", steps=1), store, device=torch.device("cpu"))
        before = session.recipe.codebook.centroids.clone()
        list(train(session))
        found = session.recipe.codebook
        assert not torch.equal(found.centroids, before)
        patches = session.recipe.video.patches(torch.from_numpy(store.frames[:24].copy())).flatten(0, 1)
        assert torch.allclose(found.centroids[found(patches)], patches / 255, atol=1e-6), "192 patches, all"

    def test_without_the_term_there_is_no_codebook(self, vocabulary, store):
        recipe = made(vocabulary, weights=violet.Weights(mvm=0.0))
        assert recipe.prepare(store, torch.Generator()) == 0
        assert not [name for name in recipe.state_dict() if "code" in name]


class TestLosses:
    @torch.no_grad()
    def test_each_sample_by_sample(self, vocabulary, batch):
        """One pass over both sides as masked; then captions of the batch with all words for each clip."""
        recipe = made(vocabulary, text_masking=TokenMasking(ratio=0.4)).eval()
        draw = drawn(recipe, batch)
        words, codes, choices = [], [], []
        for i in range(8):
            clip = batch.video[i].clone().view(FRAMES, 4, 4, 4, 4, 3)  # t, row, y, column, x
            for token in draw.video_mask[i].nonzero()[:, 0].tolist():
                clip[token // 16, token % 16 // 4, :, token % 4] = 0
            tokens = recipe.video(clip.view(1, FRAMES, SIZE, SIZE, 3)).tokens
            scores = []
            for shift in (0, *draw.chosen["shift"][i].tolist()):
                j = (i + shift) % 8
                caption = batch.text.select(slice(j, j + 1))
                x, keep = recipe.text.embed(caption)
                n = int(keep.sum())
                read = recipe.fusion(tokens, x[:, :n], keep[:, :n])
                scores.append(recipe.match_head(read.pooled).item() / 0.05)
                if shift:
                    continue
                x, _ = recipe.text.embed(caption, draw.text_mask[j : j + 1])
                read = recipe.fusion(tokens, x[:, :n], keep[:, :n])
                for place in draw.text_mask[i].nonzero()[:, 0].tolist():
                    surprise = recipe.word_head(read.text[0, place]).log_softmax(0)
                    words.append(-surprise[caption.tokens[0, place]].item())
                for token in draw.video_mask[i].nonzero()[:, 0].tolist():
                    pixels = recipe.video.patches(batch.video[i : i + 1])[0, token] / 255
                    code = (recipe.codebook.centroids - pixels).square().sum(1).argmin()
                    codes.append(-recipe.code_head(read.video[0, token]).log_softmax(0)[code].item())
            assert len(scores) == 4
            choices.append(-torch.tensor(scores).log_softmax(0)[0].item())
        terms = recipe(batch, draw)
        for name, found in (("mlm", words), ("mvm", codes), ("vtm", choices)):
            assert len(found) >= 8
            assert terms[name].item() == pytest.approx(sum(found) / len(found), rel=1e-3), name

    def test_which_words_are_hidden_does_not_tell_the_caption(self, vocabulary, batch):
        """Of an attended clip and its caption together a fixed number is hidden: it fits no other caption."""
        recipe = made(vocabulary).eval()
        draw = drawn(recipe, batch)
        chosen = recipe(batch, draw)
        for hidden in (None, batch.text.layout.valid, draw.text_mask.flip(0) & batch.text.layout.valid):
            other = recipe(batch, draw._replace(text_mask=hidden))
            assert torch.equal(other["vtm"], chosen["vtm"])
            assert other.get("mlm") != chosen["mlm"]

    def test_the_shared_alignment_hides_by_chance_alone(self, vocabulary, batch):
        """What attention hides of a clip tells how much it hides of the caption, which could be found so."""
        recipe, even = made(vocabulary), made(vocabulary, attended=0.0)
        aligned = drawn(recipe, batch, objective="align")
        by_chance = drawn(even, batch, objective="align")
        assert torch.equal(aligned.video_mask, by_chance.video_mask)
        assert torch.equal(aligned.text_mask, by_chance.text_mask)
        assert not torch.equal(aligned.video_mask, drawn(recipe, batch).video_mask)
        shown = drawn(recipe, batch, objective="align", masked=False)
        assert shown.video_mask is None
        assert shown.text_mask is None

    def test_hidden_pixels_are_black_and_seen_by_nobody(self, vocabulary, batch):
        recipe = made(vocabulary)
        mask = drawn(recipe, batch).video_mask
        before = recipe.video(batch.video, mask).tokens
        pixels = (
            mask.view(8, FRAMES, 4, 1, 4, 1, 1).expand(-1, -1, -1, 4, -1, 4, 3).reshape(batch.video.shape)
        )
        assert torch.equal(recipe.video(batch.video ^ (255 * pixels), mask).tokens, before)
        assert torch.equal(recipe.video(batch.video * ~pixels).tokens, before)
        shown = (~pixels).to(torch.uint8)
        assert not torch.equal(recipe.video(batch.video ^ shown, mask).tokens, before)

    @pytest.mark.parametrize(
        ("off", "passes"), [(("mlm",), 5), (("mvm",), 5), (("vtm",), 1), (("mlm", "mvm"), 4)]
    )
    def test_a_term_of_weight_zero_is_not_computed(self, vocabulary, batch, off, passes):
        weights = replace(violet.Weights(), **dict.fromkeys(off, 0.0))
        recipe = made(vocabulary, weights=weights, attended=0.0)
        with StepCounter(recipe, 8) as counter:
            assert set(step(recipe, batch)) == {"mlm", "mvm", "vtm"} - set(off)
        assert counter.cost.passes("fusion") == passes

    def test_where_nothing_is_left_to_learn_it_says_so(self, vocabulary, batch):
        recipe = made(vocabulary, weights=violet.Weights(vtm=0.0))
        with pytest.raises(UserError, match="nothing to learn"):
            step(recipe, batch, masked=False)

    def test_wrong_captions_of_a_clip_are_others_and_none_twice(self, vocabulary, batch):
        recipe = made(vocabulary)
        for rows in (1, 2, 3, 8):
            some = batch.select(slice(0, rows))
            draw = drawn(recipe, some)
            other = wrong_rows(draw.chosen["shift"])
            assert other.shape == (rows, min(3, rows - 1))
            for i, row in enumerate(other.tolist()):
                assert i not in row
                assert len(set(row)) == len(row)
            assert all(torch.isfinite(term) for term in recipe(some, draw).values())

    def test_hidden_patches_may_be_a_learned_token_and_masked_in_any_way(self, vocabulary, batch):
        config = tiny(video_masking=RandomMasking(ratio=0.5))
        config = replace(config, video=replace(config.video, hidden="replace"))
        recipe = build("violet", vocabulary, config=config)
        sum(step(recipe, batch).values()).backward()
        assert recipe.video.mask_token.grad.any()

    def test_its_projections_learn_in_the_alignment_alone(self, vocabulary, batch):
        recipe = made(vocabulary)
        sum(step(recipe, batch).values()).backward()
        trained = {name: p for name, p in recipe.named_parameters() if p.requires_grad}
        idle = {name for name, p in trained.items() if p.grad is None or not p.grad.any()}
        assert idle == {"video_head.weight", "text_head.weight", "temperature.log_scale"}
        assert set(dict(recipe.named_parameters())) - set(trained) == {"match_head.2.bias"}, "decides nothing"
        step(recipe, batch, objective="align")["vtc"].backward()
        assert recipe.video_head.weight.grad.any()
        assert recipe.text_head.weight.grad.any()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"video": replace(c.video, hidden="drop")},
        lambda c: {"attended": 1.0},
        lambda c: {"attended": -0.1},
        lambda c: {"codes": 1},
        lambda c: {"candidates": 1},
        lambda c: {"text": replace(c.text, depth=1)},
        lambda c: {"fusion": replace(c.fusion, mode="both")},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError):
        tiny(**change(tiny()))


def test_a_question_is_answered_at_a_mask_behind_it(vocabulary, batch):
    recipe = build("violet", vocabulary).eval()
    question, choices = vocabulary.encode(["red moon"] * 8), vocabulary.encode(["red", "left blue"])
    found = recipe.answer(batch.video, question, choices)
    longer = vocabulary.longer(1).encode(["red moon"] * 8)
    longer.tokens[:, 2] = vocabulary.mask
    longer.layout.valid[:, 2] = True
    read = recipe._read(recipe.video(batch.video).tokens, longer).text[:, 2]
    logits = recipe.word_head(read)
    assert torch.allclose(found[:, 0], logits[:, vocabulary.id("red")], atol=1e-5)
