"""ClipBERT: a few clips of a video in training, all of them in evaluation, their scores joined."""

from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench.errors import UserError
from workbench.masking.video import RandomMasking, TubeMasking
from workbench.recipe.batch import BatchRng
from workbench.recipes import clipbert
from workbench.train.cost import StepCounter

JOINS = ("lse", "mean", "max")


def tiny(**changes):
    return replace(shrink(clipbert.Config(), tubelet=1), **changes)


def build(vocabulary, *, frames=FRAMES, **changes):
    torch.manual_seed(0)
    return clipbert.Recipe(tiny(**changes), frames=frames, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


class TestAggregation:
    def test_one_clip_makes_all_of_them_equal(self, vocabulary, batch):
        scores = torch.randn(8, 1, 2)
        joined = [build(vocabulary, aggregate=name).join(scores) for name in JOINS]
        assert all(torch.allclose(one, scores[:, 0]) for one in joined)

    def test_they_are_what_their_names_say(self, vocabulary):
        scores = torch.randn(3, 4, 2)
        for name in JOINS:
            joined = build(vocabulary, aggregate=name).join(scores)
            for i in range(3):
                for j in range(2):
                    x = scores[i, :, j].tolist()
                    naive = {
                        "lse": torch.tensor(sum(torch.tensor(v).exp().item() for v in x)).log().item(),
                        "mean": sum(x) / 4,
                        "max": max(x),
                    }[name]
                    assert joined[i, j].item() == pytest.approx(naive, abs=1e-5)
        lse, _, most = (build(vocabulary, aggregate=name).join(scores) for name in JOINS)
        assert (lse >= most).all()

    @pytest.mark.parametrize("name", JOINS)
    def test_the_order_of_clips_does_not_matter(self, vocabulary, batch, name):
        recipe = build(vocabulary, aggregate=name).eval()
        swapped = torch.cat([batch.video[:, 2:], batch.video[:, :2]], 1)
        before = recipe.match(batch.video, batch.text)
        assert torch.allclose(recipe.match(swapped, batch.text), before, atol=1e-6)
        assert not torch.allclose(recipe.match(batch.video ^ 255, batch.text), before, atol=1e-6)

    @pytest.mark.parametrize("name", JOINS)
    def test_two_passes_of_a_clip_each_are_one_pass_of_two(self, vocabulary, batch, name):
        recipe = build(vocabulary, aggregate=name).eval()
        one = build(vocabulary, aggregate=name, frames=2).eval()  # knows a video of one clip only
        one.load_state_dict(recipe.state_dict())
        scores = []
        for part in (batch.video[:, :2], batch.video[:, 2:]):
            pooled, _ = one.read(one.encode(one.cut(part)), batch.text)
            scores.append(one.match_head(pooled))
        joined = recipe.join(torch.cat(scores, 1))
        found = recipe.match(batch.video, batch.text)
        assert torch.allclose(found, joined[:, 1] - joined[:, 0], atol=1e-5)


def test_its_features_are_the_tokens_that_its_embedding_averages(vocabulary, batch):
    recipe = build(vocabulary).eval()
    features = recipe.features(batch.video)
    assert features.shape == (8, 2 * 4, 32)  # two clips of four places
    embedded = torch.nn.functional.normalize(recipe.video_head(features.mean(1)), dim=1)
    assert torch.allclose(embedded, recipe.embed_video(batch.video), atol=1e-6)


class TestSparse:
    def test_only_the_drawn_clips_are_read_in_training(self, vocabulary, batch):
        recipe = build(vocabulary, clips=1)
        draw = drawn(recipe, batch)
        assert draw.chosen["clips"].shape == (8, 1)
        assert set(draw.chosen["clips"].flatten().tolist()) == {0, 1}
        terms = recipe(batch, draw)
        for unread in (True, False):
            frames = (draw.chosen["clips"] == 0) if unread else (draw.chosen["clips"] == 1)
            late = torch.cat([~frames.expand(-1, 2), frames.expand(-1, 2)], 1)[..., None, None, None]
            video = torch.where(late, batch.video ^ 255, batch.video)
            again = recipe(batch._replace(video=video), draw)
            assert all(torch.equal(again[name], term) == unread for name, term in terms.items())

    def test_all_clips_are_read_in_evaluation(self, vocabulary, batch):
        recipe = build(vocabulary, clips=1).eval()
        before = recipe.match(batch.video, batch.text), recipe.embed_video(batch.video)
        for frame in range(FRAMES):
            video = batch.video.clone()
            video[:, frame] ^= 255
            assert (recipe.match(video, batch.text) != before[0]).all(), frame
            assert (recipe.embed_video(video) != before[1]).any(1).all(), frame

    def test_no_clip_is_read_twice(self, vocabulary, batch):
        recipe = build(vocabulary, frames=8, clips=3)
        chosen = drawn(recipe, batch).chosen["clips"]
        assert all(len(set(row)) == 3 and set(row) <= {0, 1, 2, 3} for row in chosen.tolist())
        assert len({tuple(row) for row in chosen.tolist()}) > 1

    def test_a_step_costs_the_same_however_long_the_video(self, vocabulary, batch):
        found = {}
        for frames in (4, 8, 16):
            recipe = build(vocabulary, frames=frames)
            video = batch.video.repeat(1, frames // 4, 1, 1, 1)
            counter = StepCounter(recipe, 8)
            draw = drawn(recipe, batch)
            with counter:
                recipe(batch._replace(video=video), draw)
            video_pass, fusion_pass = (counter.cost.encoders[name] for name in ("video", "fusion"))
            found[frames] = video_pass.tokens, fusion_pass.tokens
            assert counter.cost.tokens_in == frames * 4
            assert (counter.cost.passes("video"), counter.cost.passes("fusion")) == (4, 2)
        assert len(set(found.values())) == 1

    def test_the_same_places_are_dropped_in_every_frame(self, vocabulary, batch):
        recipe = build(vocabulary, video_masking=TubeMasking(ratio=0.5))
        draw = drawn(recipe, batch)
        assert draw.video_mask.shape == (8, FRAMES * 4)
        terms = recipe(batch, draw)
        pixels = draw.video_mask.view(8, FRAMES, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
        for where, same in ((pixels, True), (~pixels, False)):
            video = torch.where(where[..., None], batch.video ^ 255, batch.video)
            again = recipe(batch._replace(video=video), draw)
            assert all(torch.equal(again[name], term) == same for name, term in terms.items())


@torch.no_grad()
def test_its_terms_are_those_of_a_naive_walk_through_rows_clips_and_frames(vocabulary, batch):
    recipe = build(vocabulary, aggregate="lse").eval()
    draw = drawn(recipe, batch)
    assert 0 < (draw.chosen["shift"] == 0).sum() < 8
    words, pairs = [], []
    for i in range(8):
        j = (i + int(draw.chosen["shift"][i])) % 8
        caption, hidden = batch.text.select(slice(j, j + 1)), draw.text_mask[j : j + 1]
        place = draw.video_mask[i : i + 1, :4]
        scores = []
        for k in draw.chosen["clips"][i].tolist():
            frames = [batch.video[i : i + 1, 2 * k + f : 2 * k + f + 1] for f in (0, 1)]
            clip = sum(recipe.video(frame, place).tokens for frame in frames) / 2
            fused = recipe.fusion(clip, *recipe.text.embed(caption, hidden))
            scores.append(recipe.match_head(fused.pooled)[0])
            if i == j:
                logits = recipe.word_head(fused.text[0]).log_softmax(1)
                words += [-logits[p, caption.tokens[0, p]].item() for p in hidden[0].nonzero()[:, 0]]
        joint = torch.stack(scores).exp().sum(0).log().log_softmax(0)
        pairs.append(-joint[int(i == j)].item())
    terms = recipe(batch, draw)
    assert terms["vtm"].item() == pytest.approx(sum(pairs) / 8, rel=1e-4)
    assert terms["mlm"].item() == pytest.approx(sum(words) / len(words), rel=1e-4)


def test_half_of_the_captions_are_wrong(vocabulary, batch):
    recipe = build(vocabulary)
    shifts = torch.cat([drawn(recipe, batch, seed).chosen["shift"] for seed in range(200)])
    assert set(shifts.tolist()) == set(range(8))
    assert abs((shifts == 0).float().mean() - 0.5) < 0.06


def test_every_trained_parameter_learns_from_its_objective_or_the_alignment(vocabulary, batch):
    recipe = build(vocabulary)
    recipe(batch, drawn(recipe, batch))["mlm"].backward(retain_graph=True)
    assert recipe.match_head.weight.grad is None
    sum(recipe(batch, drawn(recipe, batch)).values()).backward()
    before = {n for n, p in recipe.named_parameters() if p.requires_grad and p.grad is None}
    assert before == {"video_head.weight", "text_head.weight", "temperature.log_scale"}
    recipe(batch, drawn(recipe, batch, objective="align"), objective="align")["vtc"].backward()
    trained = {n: p for n, p in recipe.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("off", ["mlm", "vtm"])
def test_a_term_of_weight_zero_is_not_computed(vocabulary, batch, off):
    recipe = build(vocabulary, weights=replace(clipbert.Weights(), **{off: 0.0}))
    draw = drawn(recipe, batch)
    assert ("shift" in draw.chosen) == (off != "vtm")
    assert set(recipe(batch, draw)) == {"mlm", "vtm"} - {off}


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=clipbert.Weights(vtm=0))
    with pytest.raises(UserError, match="nothing to learn"):
        recipe(batch, drawn(recipe, batch, masked=False))


def test_a_video_may_be_one_image_or_cut_by_tubelets(vocabulary, batch):
    image = batch._replace(video=batch.video[:, :1])
    recipe = build(vocabulary, frames=1)
    assert all(torch.isfinite(term) for term in recipe(image, drawn(recipe, image)).values())
    config = replace(tiny(), video=replace(tiny().video, tubelet=2))
    recipe = clipbert.Recipe(config, frames=FRAMES, size=SIZE, vocabulary=vocabulary)
    assert recipe.encode(recipe.cut(batch.video)).shape == (8, 2, 4, 32)


def test_what_it_cannot_do_is_refused(vocabulary):
    for change in (
        lambda c: {"text": replace(c.text, depth=1)},
        lambda c: {"fusion": replace(c.fusion, mode="both")},
        lambda c: {"video": replace(c.video, hidden="replace")},
        lambda c: {"video_masking": RandomMasking(ratio=0.5)},
        lambda c: {"aggregate": "median"},
        lambda c: {"clips": 0},
    ):
        with pytest.raises(UserError):
            tiny(**change(tiny()))
    with pytest.raises(UserError, match="divide"):
        build(vocabulary, frames=5)
