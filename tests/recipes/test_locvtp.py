"""LocVTP: soft targets, parts that fit parts, the same at another place, and seams that are found."""

import math
from dataclasses import replace

import overfit
import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench import losses
from workbench.errors import UserError
from workbench.recipe.batch import BatchRng
from workbench.recipe.correspondence import Shift, best_fits
from workbench.recipe.heads import unit
from workbench.recipes import locvtp
from workbench.train.cost import StepCounter

NOTHING = locvtp.Weights(vtc=0, fine=0, shifted=0, splice=0)


def build(vocabulary, *, frames=FRAMES, tubelet=1, **changes):
    torch.manual_seed(0)
    config = replace(shrink(locvtp.Config(), tubelet=tubelet), **changes)
    return locvtp.Recipe(config, frames=frames, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def log_softmax(values, at):
    top = max(values)
    return values[at] - top - math.log(sum(math.exp(v - top) for v in values))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_soft_targets_are_the_formula_and_similar_samples_share_them(scale):
    video, text = (unit(random(5, 6, seed=s)) for s in (0, 1))
    v, t, rows, total = video.tolist(), text.tolist(), range(5), 0.0
    for i in rows:
        alike = [scale * (dot(v[i], v[j]) + dot(t[i], t[j])) / 2 for j in rows]
        for j in rows:
            share = math.exp(log_softmax(alike, j))
            total -= share * log_softmax([scale * dot(v[i], t[k]) for k in rows], j) / 10
            total -= share * log_softmax([scale * dot(v[k], t[i]) for k in rows], j) / 10
    assert losses.vtc_soft(video, text, scale).item() == pytest.approx(total, rel=1e-5)
    twins = torch.cat([video, video]), torch.cat([text, text])
    apart = losses.vtc_soft(video, text, 200.0) - losses.vtc(video, text, 200.0)
    assert apart.abs() < 1e-3, "samples that differ share nothing"
    assert losses.vtc_soft(*twins, 200.0) - losses.vtc_soft(video, text, 200.0) == pytest.approx(
        math.log(2), abs=1e-3
    )


def test_targets_have_no_gradient():
    video = unit(random(4, 6)).requires_grad_()
    losses.vtc_soft(video, unit(random(4, 6, seed=1)), 0.0 * video.sum() + 20).backward()
    logits_only = video.grad.clone()
    alike = (10 * (video @ video.T + unit(random(4, 6, seed=1)) @ unit(random(4, 6, seed=1)).T)).softmax(1)
    logits = 20 * video @ unit(random(4, 6, seed=1)).T
    video.grad = None
    held = alike.detach()
    loss = -(held * logits.log_softmax(1)).sum() / 8 - (held * logits.T.log_softmax(1)).sum() / 8
    loss.backward()
    assert torch.allclose(video.grad, logits_only, atol=1e-5)


@pytest.mark.parametrize("kind", ["words", "steps"])
def test_the_fine_contrast_is_that_of_a_loop_and_negatives_are_never_the_positive(kind):
    """Every candidate is a negative or the positive, so that the loop need not know which were drawn."""
    anchors, others = unit(random(3, 4, 6)), unit(random(3, 5, 6, seed=1))
    valid = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    kept = torch.ones(3, 4, dtype=torch.bool)
    if kind == "steps":
        kept[0, 2:] = False
    chance = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(2))
    fits = best_fits(anchors, others, (kept, valid), chance, 9)
    terms = []
    for b, row in enumerate(anchors.tolist()):
        there = [other for other, real in zip(others[b].tolist(), valid[b].tolist(), strict=True) if real]
        for anchor, real in zip(row, kept[b].tolist(), strict=True):
            if real and there:
                scores = [dot(anchor, other) / 0.07 for other in there]
                terms.append(-log_softmax(scores, scores.index(max(scores))))
    found = losses.own_negatives_nce(fits.positive, fits.negatives, fits.counts, 0.07)
    assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert fits.counts.sum() == len(terms)
    for few in (1, 2):
        some = best_fits(anchors, others, (kept, valid), chance, few)
        real = some.negatives.isfinite()
        assert real[0].sum(1).tolist() == [few] * 4
        assert real[1].sum(1).tolist() == [1] * 4, "of a caption of two words one is left"
        assert (some.negatives < some.positive[..., None])[some.counts].all()
        assert all(len(set(row)) == few for row in some.negatives[0].tolist()), "none twice"


def test_which_negatives_are_drawn_is_left_to_chance(vocabulary, batch):
    recipe = build(vocabulary, weights=replace(NOTHING, fine=1.0), negatives=1)
    found = {round(recipe(batch, drawn(recipe, batch, seed))["fine"].item(), 6) for seed in range(4)}
    assert len(found) == 4


def test_with_shift_0_the_shifted_term_is_the_fine_term(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    still = {name: 0 * values if "shift" in name else values for name, values in draw.chosen.items()}
    plain, same = recipe(batch, draw), recipe(batch, draw._replace(chosen=still))
    assert same["shifted"].item() == pytest.approx(same["fine"].item(), abs=1e-5)
    assert abs(plain["shifted"] - plain["fine"]) > 0.01


def test_shifts_are_never_0_and_stay_within_the_caption(vocabulary, batch, monkeypatch):
    recipe, told = build(vocabulary, shift=3), []
    values = torch.cat([drawn(recipe, batch, seed).chosen["word_shift"].flatten() for seed in range(9)])
    assert values.unique().tolist() == [-3, -2, -1, 1, 2, 3]
    monkeypatch.setattr(recipe.word_shift, "forward", lambda v, shift: told.append((v, shift)) or v)
    recipe(batch, drawn(recipe, batch))
    words = unit(recipe.text_head(recipe.text(batch.text).tokens))
    ((further, shift),) = told
    assert (shift == 0).any(), "a shift that would leave the caption ends there"
    near = (further[:, :, None] - words[:, None]).abs().sum(-1).argmin(2)  # [B, T], which word it is
    assert (near < batch.text.layout.valid.sum(1, keepdim=True)).all()


def test_which_way_and_how_far_are_told():
    shift = Shift(8, 3)
    vectors = unit(random(1, 7, 8))[:, :1].expand(-1, 7, -1)
    told = shift(vectors, torch.arange(-3, 4)[None])[0]
    assert torch.allclose(told[3], vectors[0, 0], atol=1e-6), "what was not shifted stays"
    assert torch.cdist(told, told).fill_diagonal_(1).min() > 0.01, "seven different vectors"


def test_the_tail_of_another_clip_begins_at_the_seam(vocabulary, batch, monkeypatch):
    recipe, seen = build(vocabulary, tubelet=2, weights=replace(NOTHING, splice=1.0)), []
    steps = recipe.steps
    monkeypatch.setattr(recipe, "steps", lambda video: seen.append(video) or steps(video))
    draw = drawn(recipe, batch)
    assert draw.chosen["seam"].unique().tolist() == [0, 1]
    recipe(batch, draw)
    for row, (seam, tail) in enumerate(zip(draw.chosen["seam"], draw.chosen["tail"], strict=True)):
        other = (row + int(tail)) % 8
        assert other != row
        from_other = [torch.equal(seen[0][row, t], batch.video[other, t]) for t in range(FRAMES)]
        assert from_other == [bool(seam) and t // 2 >= seam for t in range(FRAMES)]
        assert torch.equal(seen[0][row, :2], batch.video[row, :2])


def test_it_learns_to_find_seams(tmp_path):
    """Clips of one colour each, so that a seam is to be seen; chance is a quarter."""
    from workbench.models.text import vocabulary as tokenizer
    from workbench.recipe.batch import Batch

    store = overfit.write_pairs(tmp_path / "pairs")
    captions = store.splits["train"].captions
    words = tokenizer(captions, locvtp.Config().text)
    first = torch.from_numpy(store.frames[:32, :1].copy())
    batch = Batch.of(first.expand(-1, FRAMES, -1, -1, -1), words.encode(captions))
    video = replace(shrink(locvtp.Config(), tubelet=1).video, width=64)  # no luck decides how fast it learns
    recipe = build(words, video=video, weights=replace(NOTHING, splice=1.0))
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=1e-3)
    for step in range(120):
        loss = recipe(batch, drawn(recipe, batch, step))["splice"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    said, hits = [], []
    recipe.splice_head.register_forward_hook(lambda module, given, out: said.append(out[..., 0].argmax(1)))
    for i in range(8):
        draw = drawn(recipe, batch, 1000 + i)  # which it has not been trained on
        recipe(batch, draw)
        hits.append((said[-1] == draw.chosen["seam"]).float().mean())
    assert torch.stack(hits).mean() > 0.6


@pytest.mark.parametrize(
    ("weights", "passes"),
    [
        (locvtp.Weights(), (2, 1)),
        (locvtp.Weights(splice=0), (1, 1)),
        (replace(NOTHING, splice=1.0), (1, 0)),
        (replace(NOTHING, shifted=1.0), (1, 1)),
    ],
)
def test_only_those_passes_run_that_a_term_needs(vocabulary, batch, weights, passes):
    recipe = build(vocabulary, weights=weights)
    counter = StepCounter(recipe, 8)
    with counter:
        terms = recipe(batch, drawn(recipe, batch))
    assert tuple(counter.cost.passes(name) for name in ("video", "text")) == passes
    assert set(terms) == {name for name, weight in recipe.weights().items() if weight}


@torch.no_grad()
def test_a_clip_is_the_mean_of_its_steps_and_each_step_sees_its_own_frames_most(vocabulary, batch):
    recipe = build(vocabulary).eval()
    steps = recipe.embed_steps(batch.video)
    assert steps.shape == (8, FRAMES, 16)
    assert torch.allclose(recipe.embed_video(batch.video), unit(steps.mean(1)), atol=1e-6)
    other = batch.video.clone()
    other[:, 2] ^= 255
    moved = (recipe.embed_steps(other) - steps).norm(dim=2).mean(0)
    assert moved.argmax() == 2


def test_of_a_single_frame_nothing_is_spliced(vocabulary, batch):
    still = batch._replace(video=batch.video[:, :1])
    recipe = build(vocabulary, frames=1)
    assert set(recipe(still, drawn(recipe, still))) == {"vtc", "fine", "shifted"}
    with pytest.raises(UserError, match="cannot splice clips of one step"):
        build(vocabulary, frames=1, weights=replace(NOTHING, splice=1.0))


@pytest.mark.parametrize(
    "change",
    [
        {"targets": "both"},
        {"negatives": 0},
        {"shift": 0},
        {"fine_temperature": 0.0},
        {"weights": NOTHING},
        {"video": replace(locvtp.Config().video, cls=True, pool="cls")},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError):
        replace(locvtp.Config(), **change)
