"""HiTeA: moments and their words, one pair at two resolutions, what a short view sees."""

import math
from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench import losses
from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import RandomMasking
from workbench.recipe.batch import BatchRng
from workbench.recipe.heads import unit
from workbench.recipes import hitea
from workbench.train.cost import StepCounter

NOTHING = hitea.Weights(vtc=0, vtm=0, mlm=0, lm=0, moment=0, relation=0)


def build(vocabulary, *, frames=FRAMES, tubelet=1, **changes):
    torch.manual_seed(0)
    config = replace(shrink(hitea.Config(), tubelet=tubelet), **changes)
    return hitea.Recipe(config, frames=frames, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_moments(clip, words, tokens, keep, count, scale):
    """The contrast in plain Python, of lists of rows."""
    terms, rows, places = [], range(len(clip)), range(len(tokens[0]))
    for i in rows:
        score = {
            (j, k): scale * sum(a * b for a, b in zip(clip[i], words[j][k], strict=True))
            for j in rows
            for k in places
            if keep[j][k]
        }
        own = sorted((k for k in places if keep[i][k]), key=lambda k: -score[i, k])
        for k in own[:count]:
            others = [s for (j, m), s in score.items() if j != i and tokens[j][m] != tokens[i][k]]
            terms.append(math.log(sum(math.exp(s) for s in [score[i, k], *others])) - score[i, k])
    return sum(terms) / max(1, len(terms))


@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_contrast_of_moments_is_that_of_a_loop(count):
    clip, words = unit(random(4, 6)), unit(random(4, 5, 6, seed=1))
    tokens = torch.randint(0, 7, (4, 5), generator=torch.Generator().manual_seed(2))
    keep = torch.rand(4, 5, generator=torch.Generator().manual_seed(3)) < 0.7
    keep[3] = False
    found = losses.moment_nce(clip, words, tokens, keep, count, 5.0)
    arguments = (x.tolist() for x in (clip, words, tokens, keep))
    assert found.item() == pytest.approx(naive_moments(*arguments, count, 5.0), rel=1e-5)


def test_the_same_word_of_another_caption_is_not_pushed_away():
    clip, words = unit(random(2, 6)), unit(random(2, 1, 6, seed=1)).requires_grad_()
    keep = torch.ones(2, 1, dtype=torch.bool)
    same = losses.moment_nce(clip, words, torch.tensor([[5], [5]]), keep, 1, 5.0)
    assert same.item() == 0, "nothing is left to be told from"
    same.backward()
    assert torch.isfinite(words.grad).all()
    assert losses.moment_nce(clip, words, torch.tensor([[5], [6]]), keep, 1, 5.0).item() > 0


def test_relations_have_no_gradient_to_what_is_predicted_and_end_at_minus_one():
    one, other = random(4, 6).requires_grad_(), random(4, 6, seed=1).requires_grad_()
    losses.negative_cosine(one, other).backward()
    assert one.grad.any()
    assert other.grad is None
    assert losses.negative_cosine(one, 3 * one).item() == pytest.approx(-1)
    assert losses.negative_cosine(one, -one).item() == pytest.approx(1)


@torch.no_grad()
def test_both_sides_of_the_relation_predict_each_other(vocabulary, batch):
    recipe = build(vocabulary, weights=replace(NOTHING, relation=1.0)).eval()
    draw = drawn(recipe, batch)
    keep, hidden = batch.text.layout.valid, draw.text_mask
    assert hidden.any()
    start = draw.chosen["start"]
    starts = torch.cat([drawn(recipe, batch, seed).chosen["start"] for seed in range(9)])
    assert starts.unique().tolist() == [0, 1, 2]
    terms = []
    for i, first in enumerate(start.tolist()):
        clip, text, own = batch.video[i : i + 1], batch.text.select(slice(i, i + 1)), slice(i, i + 1)
        outside = torch.tensor([[not first <= n // 4 < first + 2 for n in range(16)]])
        whole = recipe.fusion(recipe.video(clip).tokens, recipe.text(text).tokens, keep[own]).pooled
        short = recipe.video(clip, outside).tokens
        part = recipe.fusion(short, recipe.text(text, hidden[own]).tokens, keep[own]).pooled
        for a, b in ((part, whole), (whole, part)):
            said = recipe.predictor(a)[0]
            terms.append(-float(said @ b[0] / said.norm() / b[0].norm()) / 2)
    assert recipe(batch, draw)["relation"].item() == pytest.approx(sum(terms) / 8, rel=1e-4)


def test_a_short_view_does_not_see_what_is_outside_of_it(vocabulary, batch):
    recipe = build(vocabulary, weights=replace(NOTHING, moment=1.0)).eval()
    draw = drawn(recipe, batch)
    draw = draw._replace(chosen={"start": torch.ones(8, dtype=torch.int64)})
    before = recipe(batch, draw)["moment"].item()
    for frame in range(FRAMES):
        other = batch.video.clone()
        other[:, frame] ^= 255
        changed = recipe(batch._replace(video=other), draw)["moment"].item() != before
        assert changed == (frame in (1, 2)), frame
    assert recipe.outside(torch.arange(3)).sum(1).tolist() == [8, 8, 8], "as many patches everywhere"


def test_only_content_words_are_moments(vocabulary, batch):
    recipe = build(vocabulary, weights=replace(NOTHING, moment=1.0)).eval()
    text = vocabulary.encode(["a on the", *["a red moon on a wall"] * 7])
    recipe(batch._replace(text=text), drawn(recipe, batch))["moment"].backward()
    alone = batch._replace(text=vocabulary.encode(["a on the"] * 8))
    assert recipe(alone, drawn(recipe, alone))["moment"].item() == 0


def test_views_and_words_are_as_many_as_is_said(vocabulary, batch):
    config = hitea.Config()
    assert (config.short, config.words) == (0.5, 3)
    whole = hitea.Recipe(replace(config, weights=hitea.Weights()), frames=8, size=64, vocabulary=vocabulary)
    assert (whole.grid, whole.window) == ((8, 4, 4), 4)
    assert whole.outside(torch.tensor([0, 4])).sum(1).tolist() == [64, 64]
    recipe, valid = build(vocabulary), batch.text.layout.valid
    hidden = drawn(recipe, batch).text_mask
    assert hidden.sum(1).tolist() == [round(0.15 * n) for n in valid.sum(1).tolist()]
    assert drawn(recipe, batch).video_mask is None


@pytest.mark.parametrize(
    ("changes", "masked", "passes"),
    [
        ({}, True, (2, 2, 5, 1)),
        ({}, False, (2, 1, 4, 1)),
        ({"weights": replace(hitea.Weights(), moment=0)}, True, (2, 2, 5, 1)),
        ({"weights": replace(hitea.Weights(), relation=0)}, True, (2, 2, 4, 1)),
        ({"weights": replace(hitea.Weights(), moment=0, relation=0)}, True, (1, 2, 4, 1)),
        ({"weights": replace(NOTHING, vtc=1.0)}, True, (1, 1, 0, 0)),
        ({"weights": replace(NOTHING, lm=1.0)}, True, (1, 0, 0, 1)),
        ({"weights": replace(NOTHING, moment=1.0)}, True, (1, 1, 0, 0)),
        ({"text_masking": None}, True, (2, 1, 4, 1)),
    ],
)
def test_only_those_passes_run_that_a_term_needs(vocabulary, batch, changes, masked, passes):
    recipe = build(vocabulary, **changes)
    counter = StepCounter(recipe, 8)
    with counter:
        terms = recipe(batch, drawn(recipe, batch, masked=masked))
    assert tuple(counter.cost.passes(name) for name in ("video", "text", "fusion", "decoder")) == passes
    expected = {name for name, weight in recipe.weights().items() if weight}
    assert set(terms) == expected - ({"mlm"} if not masked or "text_masking" in changes else set())


def test_of_a_single_frame_both_views_are_the_same(vocabulary, batch):
    still = batch._replace(video=batch.video[:, :1])
    recipe = build(vocabulary, frames=1, text_masking=None)
    assert not recipe.outside(torch.zeros(8, dtype=torch.int64)).any()
    terms = recipe(still, drawn(recipe, still))
    assert all(torch.isfinite(term) for term in terms.values())


def test_captions_are_predicted_from_the_clip_and_the_words_before(vocabulary, batch):
    recipe = build(vocabulary, weights=replace(NOTHING, lm=1.0)).eval()
    memory = recipe.video(batch.video).tokens
    states, tokens, valid = recipe.decoder.words(batch.text)
    logits = recipe.decoder(states[:, :-1], memory).log_softmax(-1)
    surprises = [
        -logits[i, k, tokens[i, k + 1]].item()
        for i in range(8)
        for k in range(logits.shape[1])
        if valid[i, k + 1]
    ]
    found = recipe(batch, drawn(recipe, batch))["lm"].item()
    assert found == pytest.approx(sum(surprises) / len(surprises), rel=1e-4)
    other = recipe.decoder(states[:, :-1], memory.flip(0)).log_softmax(-1)
    assert not torch.allclose(other, logits)
    assert len(recipe.generate(batch.video[:2])) == 2


def test_what_is_not_trained_is_not_asked_for(vocabulary):
    assert build(vocabulary).trained_by("generate") == build(vocabulary).trained_by("match") == ("recipe",)
    assert build(vocabulary, weights=replace(hitea.Weights(), lm=0)).trained_by("generate") == ()
    assert build(vocabulary, weights=replace(hitea.Weights(), vtm=0)).trained_by("match") == ()


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=replace(NOTHING, mlm=1.0))
    with pytest.raises(UserError, match="nothing to learn"):
        recipe(batch, drawn(recipe, batch, masked=False))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"short": 1.0},
        lambda c: {"words": 0},
        lambda c: {"video_masking": RandomMasking(ratio=0.5)},
        lambda c: {"video": replace(c.video, hidden="replace")},
        lambda c: {"text": replace(c.text, hidden="drop"), "text_masking": TokenMasking(ratio=0.5)},
        lambda c: {"text": replace(c.text, words=())},
        lambda c: {"fusion": replace(c.fusion, mode="concat")},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    config = hitea.Config()
    with pytest.raises(UserError):
        replace(config, **change(config))
