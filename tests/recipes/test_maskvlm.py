"""MaskVLM: what is hidden on one side is predicted with the other side's help."""

from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench import losses
from workbench.errors import UserError
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipes import maskvlm
from workbench.train.cost import StepCounter
from workbench.train.groups import parameter_groups

CONDITIONS = ("full", "masked", "none")


def tiny(**changes):
    return replace(shrink(maskvlm.Config()), **changes)


def build(vocabulary, **changes):
    torch.manual_seed(0)
    return maskvlm.Recipe(tiny(**changes), frames=FRAMES, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def other_word(batch, vocabulary, place):
    tokens = batch.text.tokens.clone()
    tokens[:, place] = vocabulary.unk
    return batch._replace(text=batch.text._replace(tokens=tokens))


@torch.no_grad()
@pytest.mark.parametrize("condition", CONDITIONS)
def test_pixels_are_predicted_with_the_words_that_the_condition_shows(vocabulary, batch, condition):
    recipe = build(vocabulary, condition=condition).eval()
    words = torch.zeros_like(batch.text.layout.valid)
    words[:, 1] = True
    draw = drawn(recipe, batch)._replace(text_mask=words)
    before = recipe(batch, draw)["mvm"]
    hidden = recipe(other_word(batch, vocabulary, 1), draw)["mvm"]
    shown = recipe(other_word(batch, vocabulary, 0), draw)["mvm"]
    assert torch.equal(shown, before) == (condition == "none")
    assert torch.equal(hidden, before) == (condition != "full")


@torch.no_grad()
@pytest.mark.parametrize("condition", CONDITIONS)
def test_words_are_predicted_with_the_patches_that_the_condition_shows(vocabulary, batch, condition):
    recipe = build(vocabulary, condition=condition).eval()
    slots = torch.zeros(8, 2, 4, dtype=torch.bool)
    slots[:, 1] = True
    draw = drawn(recipe, batch)._replace(video_mask=slots.flatten(1))
    changed = []
    for frames in (slice(0, 2), slice(2, 4)):
        video = batch.video.clone()
        video[:, frames] ^= 255
        after = recipe(batch._replace(video=video), draw)["mlm"]
        changed.append(not torch.equal(after, recipe(batch, draw)["mlm"]))
    assert changed == {"full": [True, True], "masked": [True, False], "none": [False, False]}[condition]


@torch.no_grad()
def test_what_is_predicted_is_what_was_hidden(vocabulary, batch):
    """Sample by sample from the parts, without padding, compared with the terms of the batch."""
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    errors, surprises = [], []
    for i in range(8):
        n = int(batch.text.layout.valid[i].sum())
        one = batch.select(slice(i, i + 1))
        short = type(one.text)(
            one.text.tokens[:, :n], type(one.text.layout)(*(x[:, :n] for x in one.text.layout))
        )
        keep = short.layout.valid
        hidden, unread = draw.video_mask[i : i + 1], draw.text_mask[i : i + 1, :n]
        clip, caption = recipe.video(one.video), recipe.text(short)
        patches = recipe.fusion.look(recipe.video(one.video, hidden).tokens, caption.tokens, keep)
        words = torch.cat([caption.pooled[:, None], caption.tokens], 1)
        pixels = recipe.pixel_head(recipe.decoder(patches, None, words)[0])[0]
        shown = recipe.video.patches(one.video)[0] / 255
        for place in range(8):
            if hidden[0, place]:
                errors += (pixels[place] - shown[place]).abs().tolist()
        read = recipe.fusion.read(recipe.text(short, unread).tokens, keep, clip.tokens)[0]
        for place in range(n):
            if unread[0, place]:
                logits = recipe.word_head(read[place]).log_softmax(0)
                surprises.append(-logits[short.tokens[0, place]].item())
    terms = recipe(batch, draw)
    assert draw.video_mask.sum() == 8 * 4
    assert terms["mvm"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert terms["mlm"].item() == pytest.approx(sum(surprises) / len(surprises), rel=1e-4)


@torch.no_grad()
def test_pairs_are_judged_as_they_are_with_negatives_that_are_hard(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
    scores = recipe.temperature() * video @ text.T
    clips, captions = losses.hard_negatives(scores, torch.eye(8, dtype=torch.bool), draw.chosen["negatives"])
    pairs = [(i, i) for i in range(8)]
    pairs += [(int(clips[i]), i) for i in range(8)] + [(i, int(captions[i])) for i in range(8)]
    surprises = []
    for row, column in pairs:
        caption = batch.text.select(slice(column, column + 1))
        fit = recipe.match(batch.video[row : row + 1], caption)
        sign = 1 if row == column else -1
        surprises.append(torch.nn.functional.softplus(-sign * fit).item())
    assert all(row != column for row, column in pairs[8:])
    assert recipe(batch, draw)["vtm"].item() == pytest.approx(sum(surprises) / 24, rel=1e-4)
    other = recipe(batch, draw._replace(video_mask=None, text_mask=None))
    assert set(other) == {"vtc", "vtm"}
    assert {name: recipe(batch, draw)[name].item() for name in other} == {
        name: term.item() for name, term in other.items()
    }


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, (2, 2, 4)),
        ({"condition": "masked"}, (2, 2, 4)),
        ({"weights": maskvlm.Weights(vtc=0, vtm=0)}, (2, 2, 1)),
        ({"weights": maskvlm.Weights(vtc=0, vtm=0), "condition": "masked"}, (1, 1, 1)),
        ({"weights": maskvlm.Weights(vtc=0, vtm=0, mlm=0)}, (1, 1, 1)),
        ({"weights": maskvlm.Weights(vtc=0, vtm=0, mvm=0)}, (1, 1, 0)),
        ({"weights": maskvlm.Weights(mvm=0, mlm=0, vtm=0)}, (1, 1, 0)),
    ],
)
def test_only_those_passes_run_that_a_term_needs(vocabulary, batch, changes, passes):
    recipe = build(vocabulary, **changes)
    counter = StepCounter(recipe, 8)
    with counter:
        recipe(batch, drawn(recipe, batch))
    # A pass of the fusion is counted where its first stack, the clip's, begins.
    assert tuple(counter.cost.passes(name) for name in ("video", "text", "fusion")) == passes


def test_the_colour_of_a_hidden_part_is_told_by_the_caption(vocabulary):
    """Grey clips with a coloured half that is hidden: its mean colour is known from the words alone."""
    colours = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
    hide = torch.zeros(1, 2, 4, dtype=torch.bool)
    hide[:, 1] = True
    errors = {}
    for condition in ("full", "none"):
        recipe = build(vocabulary, condition=condition, weights=maskvlm.Weights(vtc=0, vtm=0, mlm=0))
        optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
        made = torch.Generator().manual_seed(0)
        late = []
        for step in range(150):
            which = torch.randint(0, 3, (12,), generator=made)
            video = torch.randint(110, 140, (12, FRAMES, SIZE, SIZE, 3), generator=made, dtype=torch.uint8)
            video[:, 2:] = torch.tensor(list(colours.values()), dtype=torch.uint8)[which][:, None, None, None]
            batch = Batch.of(video, vocabulary.encode([f"{list(colours)[w]} moon" for w in which]))
            loss = recipe(batch, Draw(video_mask=hide.expand(12, -1, -1).flatten(1)))["mvm"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            late += [loss.item()] if step >= 130 else []
        errors[condition] = sum(late) / len(late)
    assert errors["full"] < errors["none"] / 3, errors


def test_encoders_learn_more_slowly_than_what_is_new(vocabulary):
    recipe = build(vocabulary, encoder_rate=0.25)
    rates = {id(p): g["rate"] for g in parameter_groups(recipe, 0.1) for p in g["params"]}
    for name, parameter in recipe.named_parameters():
        if parameter.requires_grad:
            slow = name.startswith(("video.", "text."))
            assert rates[id(parameter)] == (0.25 if slow else 1.0), name


def test_every_trained_parameter_learns(vocabulary, batch):
    recipe = build(vocabulary)
    sum(recipe(batch, drawn(recipe, batch)).values()).backward()
    trained = {n: p for n, p in recipe.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []


def test_images_are_clips_of_one_frame(vocabulary, batch):
    torch.manual_seed(0)
    config = shrink(maskvlm.Config(), tubelet=1)
    recipe = maskvlm.Recipe(config, frames=1, size=SIZE, vocabulary=vocabulary)
    image = batch._replace(video=batch.video[:, :1])
    assert all(torch.isfinite(term) for term in recipe(image, drawn(recipe, image)).values())


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=maskvlm.Weights(vtc=0, vtm=0))
    with pytest.raises(UserError, match="nothing to learn"):
        recipe(batch, drawn(recipe, batch, masked=False))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"video": replace(c.video, hidden="drop")},
        lambda c: {"text": replace(c.text, hidden="drop")},
        lambda c: {"fusion": replace(c.fusion, mode="concat")},
        lambda c: {"condition": "half"},
        lambda c: {"encoder_rate": 0.0},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError):
        tiny(**change(tiny()))
