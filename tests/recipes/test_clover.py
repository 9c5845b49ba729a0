"""Clover: three kinds of positives that are no negatives of each other, and a margin over masked ones."""

import math
from dataclasses import replace

import overfit
import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench import losses
from workbench.errors import UserError
from workbench.masking.video import Grid
from workbench.models.text import vocabulary as tokenizer
from workbench.recipe.batch import Batch, BatchRng, Layout, Text
from workbench.recipes import clover
from workbench.train.cost import StepCounter

ONLY_RANK = clover.Weights(mlm=0, vtc=0)


def build(vocabulary, *, seed=0, **changes):
    torch.manual_seed(seed)
    config = replace(shrink(clover.Config()), **changes)
    return clover.Recipe(config, frames=FRAMES, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def units(*shape, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)


def log_softmax(values, at):
    top = max(values)
    return values[at] - top - math.log(sum(math.exp(v - top) for v in values))


def naive_nce(anchor, positives, scale, exclusive):
    """The contrast in plain Python, of lists of rows."""

    def score(a, p):
        return scale * sum(x * y for x, y in zip(a, p, strict=True))

    rows, kinds, total = range(len(anchor)), range(len(positives)), 0.0
    for i in rows:
        for k in kinds:
            kept = [(j, m) for m in kinds for j in rows if not exclusive or j != i or m == k]
            forth = log_softmax([score(anchor[i], positives[m][j]) for j, m in kept], kept.index((i, k)))
            back = log_softmax([score(anchor[j], positives[k][i]) for j in rows], i)
            total -= forth + back / len(positives)
    return total / len(anchor)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("batch", "kinds"), [(1, 3), (2, 2), (7, 3), (5, 1)])
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_the_contrast_is_that_of_a_loop(batch, kinds, scale, exclusive):
    anchor, positives = units(batch, 6), [units(batch, 6, seed=1 + k) for k in range(kinds)]
    expected = naive_nce(anchor.tolist(), [p.tolist() for p in positives], scale, exclusive)
    found = losses.multi_positive_nce(anchor, positives, scale, exclusive=exclusive)
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    if kinds == 1:
        assert found.item() == pytest.approx(2 * losses.vtc(anchor, positives[0], scale).item(), rel=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_moving_one_positive_leaves_the_terms_of_the_others_alone_where_it_is_excluded(exclusive):
    scores = torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = losses.multi_positive_terms(scores, exclusive=exclusive)
    scores[2, 1, 2] += 3  # how well the third anchor fits its second positive
    change = losses.multi_positive_terms(scores, exclusive=exclusive) - before
    assert change[2, 1] < -0.5
    assert not change[[0, 1, 3]].any(), "of other anchors"
    assert (change[2, [0, 2]] == 0).all() == exclusive
    if not exclusive:
        assert (change[2, [0, 2]] > 0.1).all()


def test_the_contrast_stays_exact_under_autocast_and_has_gradients_for_a_single_pair():
    anchor, positives = units(5, 6), [units(5, 6, seed=1 + k) for k in range(3)]
    exact = losses.multi_positive_nce(anchor, positives, 100.0, exclusive=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.multi_positive_nce(anchor, positives, 100.0, exclusive=True)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=1e-6)
    one = units(1, 6).requires_grad_()
    losses.multi_positive_nce(one, [p[:1] for p in positives], 20.0, exclusive=True).backward()
    assert torch.isfinite(one.grad).all()


def test_ranking_is_zero_where_the_margin_holds():
    worse = torch.tensor([-3.0, 0.0, 4.0])
    assert losses.ranking(worse + 5, worse, 5.0).item() == 0
    assert losses.ranking(worse + torch.tensor([4.0, 6.0, -1.0]), worse, 5.0).item() == pytest.approx(7 / 3)
    better = (worse + torch.tensor([4.0, 6.0, -1.0])).requires_grad_()
    losses.ranking(better, worse, 5.0).backward()
    assert better.grad.tolist() == pytest.approx([-1 / 3, 0, -1 / 3])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_is_its_formula(gamma):
    logits, tokens = 3 * units(5, 11), torch.tensor([0, 3, 10, 3, 7])
    expected = 0.0
    for row, right in zip(logits.tolist(), tokens.tolist(), strict=True):
        p = math.exp(log_softmax(row, right))
        expected -= (1 - p) ** gamma * math.log(p) / 5
    assert losses.mlm_focal(logits, tokens, gamma).item() == pytest.approx(expected, rel=1e-6)
    if not gamma:
        assert losses.mlm_focal(logits, tokens, 0.0).item() == losses.mlm(logits, tokens).item()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("rows", [0, 1])
def test_the_focal_loss_has_finite_gradients_where_all_is_known_and_where_nothing_is_hidden(gamma, rows):
    logits = torch.tensor([[1000.0, 0.0]])[:rows].requires_grad_()
    loss = losses.mlm_focal(logits, torch.zeros(rows, dtype=torch.long), gamma)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"fused_hides": "other"}, {"exclusive": False}, {"margin": 1.0}])
def test_every_term_is_what_its_parts_give(vocabulary, batch, changes):
    """Sample by sample and without padding, whole and masked, against the terms of the batch."""
    recipe = build(vocabulary, **changes).eval()
    draw = drawn(recipe, batch)
    parts, surprises = [], []
    for i in range(8):
        n = int(batch.text.layout.valid[i].sum())
        text = Text(batch.text.tokens[i : i + 1, :n], Layout(*(x[i : i + 1, :n] for x in batch.text.layout)))
        keep, unseen, unread = text.layout.valid, draw.video_mask[i : i + 1], draw.text_mask[i : i + 1, :n]
        v, v_m = recipe.video(batch.video[i : i + 1]), recipe.video(batch.video[i : i + 1], unseen)
        t, t_m = recipe.text(text), recipe.text(text, unread)
        f_v, f_t = recipe.fusion(v_m.tokens, t.tokens, keep), recipe.fusion(v.tokens, t_m.tokens, keep)
        heads = [recipe.video_head] * 2 + [recipe.text_head] * 2
        heads += [recipe.masked_video_head, recipe.masked_text_head]
        vectors = [h(x.pooled)[0] for h, x in zip(heads, (v, v_m, t, t_m, f_v, f_t), strict=True)]
        parts.append([(x / x.norm()).tolist() for x in vectors])
        for place in unread[0].nonzero()[:, 0]:
            row = recipe.word_head(f_t.text[0, place]).tolist()
            surprises.append(-log_softmax(row, int(text.tokens[0, place])))
    v, v_m, t, t_m, f_v, f_t = ([row[k] for row in parts] for k in range(6))
    if changes.get("fused_hides") == "other":
        f_v, f_t = f_t, f_v
    exclusive = changes.get("exclusive", True)
    vtc = naive_nce(v, [t, t_m, f_v], 20, exclusive) + naive_nce(t, [v, v_m, f_t], 20, exclusive)
    margin, rank = changes.get("margin", 5.0), 0.0
    for i in range(8):
        right, *wrong = (
            20 * sum(a * b for a, b in zip(x[i], y[i], strict=True)) for x, y in ((v, t), (v, t_m), (v_m, t))
        )
        rank += sum(max(0, margin + score - right) for score in wrong) / 8
    mlm = sum((1 - math.exp(-s)) ** 2 * s for s in surprises) / len(surprises)
    terms = {name: term.item() for name, term in recipe(batch, draw).items()}
    assert draw.video_mask.any()
    assert terms == pytest.approx({"mlm": mlm, "vtc": vtc, "rank": rank}, rel=1e-4)


def test_it_hides_blocks_in_every_slot_alike_and_content_words(vocabulary, batch):
    config = clover.Config()
    grid = Grid(2, 8, 8)  # of 8 frames of 64 x 64 in the shared core
    mask = config.video_masking(grid, 5, BatchRng.seeded(0)).view(5, 2, 64)
    assert mask.sum(2).tolist() == [[12, 12]] * 5, "20 % of 64 places"
    assert torch.equal(mask[:, 0], mask[:, 1])
    assert config.video.hidden == config.text.hidden == "replace"
    recipe, valid = build(vocabulary), batch.text.layout.valid
    draw = drawn(recipe, batch)
    assert draw.text_mask.sum(1).tolist() == [round(0.3 * n) for n in valid.sum(1).tolist()]
    assert not (draw.text_mask & ~batch.text.layout.content).any()
    assert draw.video_mask.sum(1).tolist() == [2 * 2] * 8, "the tiny recipe hides two of four places"


@pytest.mark.parametrize(
    ("changes", "masked", "passes"),
    [
        ({}, True, (2, 2, 2)),
        ({"weights": clover.Weights(mlm=0)}, True, (2, 2, 2)),
        ({"weights": clover.Weights(rank=0)}, True, (2, 2, 2)),
        ({"weights": clover.Weights(vtc=0)}, True, (2, 2, 1)),
        ({"weights": clover.Weights(mlm=1, vtc=0, rank=0)}, True, (1, 1, 1)),
        ({"weights": ONLY_RANK}, True, (2, 2, 0)),
        ({"text_masking": None}, True, (2, 1, 2)),
        ({"video_masking": None}, True, (1, 2, 2)),
        ({"video_masking": None, "weights": ONLY_RANK}, True, (1, 2, 0)),
        ({}, False, (1, 1, 1)),
    ],
)
def test_only_those_passes_run_that_a_term_needs(vocabulary, batch, changes, masked, passes):
    recipe = build(vocabulary, **changes)
    counter = StepCounter(recipe, 8)
    with counter:
        terms = recipe(batch, drawn(recipe, batch, masked=masked))
    assert tuple(counter.cost.passes(name) for name in ("video", "text", "fusion")) == passes
    expected = {name for name, weight in recipe.weights().items() if weight}
    if not masked:
        expected = {"vtc"}
    elif changes.get("text_masking", ...) is None:
        expected = {"vtc", "rank"}
    assert set(terms) == expected


def test_hidden_patches_may_be_dropped_instead(vocabulary, batch):
    config = shrink(clover.Config())
    tokens = {}
    for hidden in ("replace", "drop"):
        recipe = build(vocabulary, video=replace(config.video, hidden=hidden))
        counter = StepCounter(recipe, 8)
        with counter:
            terms = recipe(batch, drawn(recipe, batch))
        assert all(torch.isfinite(term) for term in terms.values())
        tokens[hidden] = counter.cost.tokens_out
    assert tokens == {"replace": 8 + 8, "drop": 8 + 4}


@torch.no_grad()
def lead(recipe, batch):
    """By how much clips fit captions better than masked captions, and captions better than masked clips."""
    draw = drawn(recipe, batch, seed=99)
    video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
    right = (video * text).sum(1)
    masked_text = (video * recipe.embed_text(batch.text, draw.text_mask)).sum(1)
    masked_video = (recipe.embed_video(batch.video, draw.video_mask) * text).sum(1)
    return torch.stack([(right - masked_text).mean(), (right - masked_video).mean()])


def test_the_lead_over_masked_pairs_grows_with_the_ranking_only(tmp_path):
    store = overfit.write_pairs(tmp_path / "pairs")
    captions = store.splits["train"].captions
    words = tokenizer(captions, clover.Config().text)
    batch = Batch.of(torch.from_numpy(store.frames[:8].copy()), words.encode(captions[:8]))
    found = {}
    for rank in (0.0, 1.0):
        recipe = build(words, weights=clover.Weights(mlm=0, rank=rank))
        optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
        for step in range(100):
            loss = sum(recipe(batch, drawn(recipe, batch, seed=step)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[rank] = lead(recipe, batch)
    assert (found[1.0] > 0.2).all(), found
    assert (found[1.0] - found[0.0] > 0.1).all(), found


def test_its_embeddings_are_trained_by_its_own_contrast(vocabulary):
    assert build(vocabulary).trained_by("embed_video") == ("recipe", "align")
    alone = build(vocabulary, weights=clover.Weights(vtc=0))
    assert alone.trained_by("embed_text") == ("align",)


@pytest.mark.parametrize("fused_hides", ["own", "other"])
def test_every_trained_parameter_learns(vocabulary, batch, fused_hides):
    recipe = build(vocabulary, fused_hides=fused_hides)
    sum(recipe(batch, drawn(recipe, batch)).values()).backward()
    trained = {n: p for n, p in recipe.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
    assert "temperature.log_scale" not in trained


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=clover.Weights(vtc=0))
    with pytest.raises(
        UserError,
        match=r"nothing to learn .* nothing but weights\.mlm and weights\.rank is above 0",
    ):
        recipe(batch, drawn(recipe, batch, masked=False))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"text": replace(c.text, hidden="drop")},
        lambda c: {"fusion": replace(c.fusion, mode="both")},
        lambda c: {"fused_hides": "both"},
        lambda c: {"margin": -1.0},
        lambda c: {"gamma": math.inf},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    config = clover.Config()
    with pytest.raises(UserError):
        replace(config, **change(config))
