"""LAVENDER: one head for hidden words, matching, answers and captions."""

from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.models.text import vocabulary as train_vocabulary
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipes import lavender


def tiny(**changes):
    return replace(shrink(lavender.Config()), **changes)


@pytest.fixture(scope="module")
def words(store):
    return train_vocabulary(store.splits["train"].captions, lavender.Config().text)


def build(words, **changes):
    torch.manual_seed(0)
    return lavender.Recipe(tiny(**changes), frames=FRAMES, size=SIZE, vocabulary=words)


@pytest.fixture
def batch(store, words):
    """Eight clips with captions that all differ."""
    part = store.splits["train"]
    video = torch.from_numpy(store.frames[:8].copy())
    return Batch.of(video, words.encode([part.captions[int((part.clips == i).argmax())] for i in range(8)]))


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def reached(recipe, terms):
    """Names of the parts that a gradient of the terms reaches."""
    recipe.zero_grad(set_to_none=True)
    sum(terms.values()).backward()
    return {name for name, p in recipe.named_parameters() if p.grad is not None and p.grad.any()}


def test_its_losses_use_only_encoder_fusion_and_word_head(words, batch):
    recipe = build(words)
    found = reached(recipe, recipe(batch, drawn(recipe, batch)))
    assert {name.partition(".")[0] for name in found} == {"video", "text", "fusion", "word_head"}
    rest = {name for name, p in recipe.named_parameters() if p.requires_grad} - found
    aligned = reached(recipe, recipe(batch, drawn(recipe, batch, objective="align"), objective="align"))
    assert rest == {"video_head.weight", "text_head.weight", "temperature.log_scale"}
    assert rest <= aligned


@pytest.mark.parametrize("off", ["mlm", "vtm"])
def test_a_term_of_weight_zero_is_not_computed(words, batch, off):
    recipe = build(words, weights=replace(lavender.Weights(), **{off: 0.0}))
    assert set(recipe(batch, drawn(recipe, batch))) == {"mlm", "vtm"} - {off}


def test_where_nothing_is_left_to_learn_it_says_so(words, batch):
    recipe = build(words, weights=lavender.Weights(vtm=0.0), text_masking=None)
    with pytest.raises(
        UserError,
        match=r"^lavender has nothing to learn where nothing is hidden: nothing but weights\.mlm is above 0$",
    ):
        recipe(batch, drawn(recipe, batch))


def test_swapping_true_and_false_turns_the_ranking_round(words, batch):
    recipe = build(words).eval()
    scores = recipe.match(batch.video, batch.text)
    recipe.true, recipe.false = recipe.false, recipe.true
    turned = recipe.match(batch.video, batch.text)
    assert torch.equal(turned, -scores)
    assert len(scores.unique()) == len(scores)
    assert scores.argsort().tolist() == turned.argsort(descending=True).tolist()


@torch.no_grad()
def test_matching_asks_for_true_or_false_behind_each_caption(words, batch):
    """Pair by pair, without padding, compared with the term of the batch."""
    recipe = build(words).eval()
    draw = drawn(recipe, batch)
    surprises = []
    for i in range(8):
        shifts = [0, *draw.chosen["shift"][i].tolist()]
        assert len(set(shifts)) == 4
        for shift in shifts:
            caption = batch.text.select(slice((i + shift) % 8, (i + shift) % 8 + 1))
            n = int(caption.layout.valid.sum())
            tokens = [*caption.tokens[0, :n].tolist(), words.mask]
            x = recipe.text.bert.embeddings(
                input_ids=torch.tensor([tokens]), position_ids=torch.arange(1, n + 2)[None]
            )
            clip = recipe.video(batch.video[i : i + 1]).tokens
            read = recipe.fusion(clip, x, torch.ones(1, n + 1, dtype=torch.bool))
            logits = recipe.word_head(read.text[0, -1]).log_softmax(0)
            surprises.append(-logits[words.id("false" if shift else "true")].item())
            if not shift:
                score = recipe.match(batch.video[i : i + 1], caption).item()
                difference = logits[words.id("true")] - logits[words.id("false")]
                assert score == pytest.approx(difference.item(), abs=1e-5)
    assert recipe(batch, draw)["vtm"].item() == pytest.approx(sum(surprises) / 32, rel=1e-4)


@torch.no_grad()
def test_hidden_words_are_predicted_where_they_are_hidden(words, batch):
    recipe = build(words, text_masking=TokenMasking(ratio=0.4)).eval()
    draw = drawn(recipe, batch)
    surprises = []
    for i in range(8):
        one = batch.select(slice(i, i + 1))
        hidden = draw.text_mask[i]
        read = recipe._read(recipe.video(one.video).tokens, one.text, hidden[None]).text[0]
        for place in hidden.nonzero()[:, 0].tolist():
            logits = recipe.word_head(read[place]).log_softmax(0)
            surprises.append(-logits[one.text.tokens[0, place]].item())
    assert len(surprises) > 8
    assert recipe(batch, draw)["mlm"].item() == pytest.approx(sum(surprises) / len(surprises), rel=1e-4)


def test_a_linear_head_judges_the_class_token(words, batch):
    recipe = build(words, match_head="linear")
    terms = recipe(batch, drawn(recipe, batch))
    assert "match_head.weight" in reached(recipe, {"vtm": terms["vtm"]})
    assert (
        not recipe.word_head.words.weight.grad.any()
        if recipe.word_head.words.weight.grad is not None
        else True
    )
    assert recipe.match(batch.video, batch.text).shape == (8,)


def test_negatives_of_a_small_batch(words, batch):
    recipe = build(words)
    for rows in (1, 2, 3):
        some = batch.select(slice(0, rows))
        draw = drawn(recipe, some)
        assert draw.chosen["shift"].shape == (rows, rows - 1)
        assert all(torch.isfinite(term) for term in recipe(some, draw).values())


class TestAnswers:
    def test_choices_of_several_pieces_take_their_mean(self, words, batch):
        recipe = build(words).eval()
        question = words.encode(["red moon"] * 8)
        choices = words.encode(["red", "left blue", "red"])
        found = recipe.answer(batch.video, question, choices)
        assert found.shape == (8, 3)
        red, left, blue = (words.id(w) for w in ("red", "left", "blue"))
        logits = recipe._at_mask(recipe.video(batch.video).tokens, question)
        assert torch.allclose(found[:, 0], logits[:, red], atol=1e-6)
        assert torch.allclose(found[:, 1], (logits[:, left] + logits[:, blue]) / 2, atol=1e-6)
        assert torch.equal(found[:, 2], found[:, 0])

    def test_each_question_may_have_choices_of_its_own(self, words, batch):
        recipe = build(words).eval()
        question = words.encode(["red moon"] * 8)
        choices = words.encode(["red", "left blue"])
        own = choices._replace(
            tokens=choices.tokens.expand(8, -1, -1),
            layout=choices.layout._replace(valid=choices.layout.valid.expand(8, -1, -1)),
        )
        assert torch.equal(
            recipe.answer(batch.video, question, own), recipe.answer(batch.video, question, choices)
        )

    def test_without_training_on_questions_it_beats_the_commonest_answer(self):
        """Clips of one colour, captions that say it among other words: the answer is a hidden word."""
        colours = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220), "white": (220, 220, 220)}
        sentences = ["a wall that is {}", "a plain wall is {}", "this wall looks {}"]
        captions = [s.format(name) for s in sentences for name in colours]
        words = train_vocabulary(captions, lavender.Config().text)
        recipe = build(words, text_masking=TokenMasking(ratio=0.25))
        optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
        made = torch.Generator().manual_seed(0)

        def clips(which):
            base = torch.tensor(list(colours.values()))[which][:, None, None, None]
            noise = torch.randint(0, 30, (len(which), FRAMES, SIZE, SIZE, 3), generator=made)
            return (base + noise).to(torch.uint8)

        for step in range(250):
            which = torch.randint(0, 4, (16,), generator=made)
            said = torch.randint(0, 3, (16,), generator=made)
            text = [sentences[s].format(list(colours)[w]) for s, w in zip(said, which, strict=True)]
            batch = Batch.of(clips(which), words.encode(text))
            optimizer.zero_grad()
            sum(recipe(batch, drawn(recipe, batch, step)).values()).backward()
            optimizer.step()
        recipe.eval()
        which = torch.arange(64) % 4
        question = words.encode(["a wall that is"] * 64)
        found = recipe.answer(clips(which), question, words.encode(list(colours))).argmax(1)
        right = (found == which).float().mean()
        assert right > 0.5, f"{right:.0%} where the commonest answer has 25 %"


class TestQuestions:
    """The phase that trains answers: the last word of each text."""

    def test_it_hides_the_last_word_alone_with_all_its_pieces(self, words, batch):
        recipe = build(words)
        text = words.encode(["red moon turns redder", "blue", "left left left", "a plain wall up"] * 2)
        ends = [tokens[valid].tolist() for tokens, valid in zip(text.tokens, text.layout.valid, strict=True)]
        pieces = [
            int((row[at] == row[at][-1]).sum())
            for row, at in zip(text.layout.word, text.layout.valid, strict=True)
        ]
        assert pieces[0] > 1, "an unknown word is several pieces"
        assert pieces[1:4] == [1, 1, 1]
        seen = []
        recipe.text.bert.embeddings.register_forward_pre_hook(
            lambda module, args, named: seen.append(named["input_ids"]), with_kwargs=True
        )
        draw = drawn(recipe, batch, objective="question")
        loss = recipe(batch._replace(text=text), draw, objective="question")["mlm"]
        for row, own, count in zip(seen[0].tolist(), ends, pieces, strict=True):
            assert row[: len(own)] == own[:-count] + [words.mask] * count
            assert set(row[len(own) :]) <= {words.pad}
        assert torch.isfinite(loss)
        assert recipe.weights("question") == {"mlm": 1.0}
        assert draw.chosen == {}

    def test_it_trains_what_answer_asks(self, words, batch):
        """The loss is that of the word at a [MASK] behind the question."""
        recipe = build(words).eval()
        asked, answers = ["red moon", "blue wall left"] * 4, ["star", "red"] * 4
        text = words.encode([f"{q} {a}" for q, a in zip(asked, answers, strict=True)])
        draw = drawn(recipe, batch, objective="question")
        with torch.no_grad():
            loss = recipe(batch._replace(text=text), draw, objective="question")["mlm"]
            logits = recipe._at_mask(recipe.video(batch.video).tokens, words.encode(asked)).log_softmax(1)
        naive = -torch.stack([row[words.id(a)] for row, a in zip(logits, answers, strict=True)]).mean()
        assert loss.item() == pytest.approx(naive.item(), rel=1e-4)


class TestCaptions:
    def test_no_word_is_predicted_from_a_later_one(self, words, batch):
        """Each word in turn is another: whatever stands before it is read as it was, to the bit."""
        recipe = build(words).eval()
        clip = recipe.video(batch.video).tokens
        text, _ = batch.text.append(recipe.end)
        attend = lavender.seq2seq(clip.shape[1], text.tokens.shape[1])
        before = recipe._read(clip, text, attend=attend).text
        for i in range(3):
            tokens = text.tokens.clone()
            tokens[:, i] = words.unk
            after = recipe._read(clip, text._replace(tokens=tokens), attend=attend).text
            assert torch.equal(after[:, :i], before[:, :i])
            assert not torch.equal(after[:, i:], before[:, i:])

    def test_in_training_too_a_hidden_word_is_predicted_from_those_before_it(self, words, batch):
        recipe = build(words).eval()
        seen = []
        recipe.word_head.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
        mask = torch.zeros_like(batch.text.layout.valid)
        mask[:, 1] = True
        for place in (0, 1, 2):
            tokens = batch.text.tokens.clone()
            tokens[:, place] = words.unk
            for text in (batch.text, batch.text._replace(tokens=tokens)):
                recipe.caption(batch._replace(text=text), Draw(text_mask=mask))
            before, after = (x.view(8, 2, -1) for x in seen[-2:])  # the hidden word and the end
            assert torch.equal(after[:, 0], before[:, 0]) == (place > 0), place
            assert torch.equal(after[:, 1], before[:, 1]) == (place == 1), place

    def test_the_phase_trains_words_and_always_the_end(self, words, batch):
        recipe = build(words)
        assert recipe.weights("caption") == {"mlm": 1.0}
        draw = drawn(recipe, batch, objective="caption")
        assert draw.chosen == {}
        found = []
        recipe.word_head.register_forward_pre_hook(lambda module, given: found.append(len(given[0])))
        assert torch.isfinite(recipe(batch, draw, objective="caption")["mlm"])
        assert found == [int(draw.text_mask.sum()) + 8]

    def test_it_writes_what_it_has_learnt(self, words, store):
        """One caption for each of two clips, learnt by heart in the phase of its own."""
        recipe = build(words, text_masking=TokenMasking(ratio=0.5))
        captions = ["red square moves left", "blue moon grows on a wall"]
        batch = Batch.of(torch.from_numpy(store.frames[:2].copy()), words.encode(captions))
        optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
        for step in range(150):
            draw = drawn(recipe, batch, step, objective="caption")
            optimizer.zero_grad()
            recipe(batch, draw, objective="caption")["mlm"].backward()
            optimizer.step()
        recipe.eval()
        with torch.no_grad():
            assert recipe.generate(batch.video) == captions
            assert recipe.generate(batch.video, ["red square", "blue"]) == captions
            assert recipe.generate(batch.video[1:]) == captions[1:]


def test_a_longest_caption_has_room_for_the_mask(words, batch, store):
    longest = max(store.splits["train"].captions, key=lambda c: len(c.split()))
    text = words.encode([longest] * 8)
    assert text.layout.valid.all(), "the vocabulary is as long as its longest caption"
    recipe = build(words)
    assert torch.isfinite(recipe.match(batch.video, text)).all()
    assert len(set(recipe.match(batch.video, text).tolist())) == 8, "clips differ"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"text": replace(c.text, depth=1)},
        lambda c: {"text": replace(c.text, hidden="drop")},
        lambda c: {"fusion": replace(c.fusion, mode="xattn")},
        lambda c: {"match_head": "both"},
        lambda c: {"candidates": 1},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError):
        tiny(**change(tiny()))


def test_its_words_have_to_be_in_the_vocabulary():
    plain = train_vocabulary(["a red star"], replace(tiny().text, words=()))
    with pytest.raises(UserError, match="true"):
        build(plain)
