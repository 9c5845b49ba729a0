"""VLC: one stream for both sides, transport between words and patches, a start from an autoencoder.

The transport itself is tested in `tests/test_transport.py`. Tested against transformers 5.23.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from real_runs import quick, real_run
from small import FRAMES, SIZE, run_config, shrink
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from workbench import losses, targets, transport
from workbench.config import InitFrom
from workbench.errors import UserError
from workbench.models.text import Vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipes import videomae, vlc
from workbench.train import checkpoint
from workbench.train.cost import StepCounter
from workbench.train.session import open_session


def tiny(**changes):
    return replace(shrink(vlc.Config()), **changes)


def weights(**named):
    return vlc.Weights(**(dict.fromkeys(("mlm", "mvm", "vtm", "wpa"), 0.0) | named))


def build(vocabulary, config=None, *, frames=FRAMES, size=SIZE, **changes):
    torch.manual_seed(0)
    config = config or tiny(**changes)
    return vlc.Recipe(config, frames=frames, size=size, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def test_pixels_are_standardised_as_transformers_vitmae_does():
    """One loss for the oracle's own prediction and mask; its channels vary fastest."""
    config = ViTMAEConfig(
        image_size=32, patch_size=8, norm_pix_loss=True, mask_ratio=0.6, hidden_size=32,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, decoder_hidden_size=32,
        decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=64,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (3, 1, 32, 32, 3), generator=generator, dtype=torch.uint8)
    video[1, 0, :16] //= 64  # nearly flat, where the 1e-6 counts
    torch.manual_seed(0)
    theirs = ViTMAEForPreTraining(config)(
        video[:, 0].permute(0, 3, 1, 2) / 255, noise=torch.rand(3, 16, generator=generator)
    )
    mask = theirs.mask.bool()
    encoder = VideoEncoder(VideoConfig(width=32, depth=1, tubelet=1), frames=1, size=32)
    target = targets.normalised_patches(encoder.patches(video, mask))  # [3, 10, 192]
    ours = theirs.logits.unflatten(2, (64, 3)).mT.flatten(2)[mask].view_as(target)
    assert losses.mvm(ours, target).item() == pytest.approx(theirs.loss.item(), rel=1e-5)


def test_it_hides_what_the_paper_hides_and_drops_patches_in_both_passes(vocabulary):
    """The recipe as it comes, on eight frames of 4 x 4 patches."""
    config = vlc.Config()
    recipe = build(vocabulary, config, frames=8, size=64)
    video = torch.zeros(4, 8, 64, 64, 3, dtype=torch.uint8)
    captions = ["red square moves up", "blue", "a green moon turns left on a wall", "star grows on a wall"]
    batch = Batch.of(video, vocabulary.encode(captions))
    draw = drawn(recipe, batch)
    frames = draw.video_mask.view(4, 8, 16)
    assert (frames.sum(2) == 9).all(), "60 % of 16, rounded down"
    assert not (frames == frames[:, :1]).all(), "other places in every frame"
    lengths = batch.text.layout.valid.sum(1)
    assert draw.text_mask.sum(1).tolist() == [round(0.15 * n) for n in lengths.tolist()]
    counter = StepCounter(recipe, 4)
    with counter:
        recipe(batch, draw)
    assert counter.cost.passes("video") == 2
    assert counter.cost.tokens_out == 2 * (vocabulary.length + 8 * 7)
    assert recipe.weights() == {"mlm": 1, "mvm": 1, "vtm": 1, "wpa": 0.1}
    assert recipe.video.cls is not None, "pairs are judged by the class token"


def read(recipe, video, caption, hidden, unread=None):
    """Class token, words and patches of one clip and one caption without padding, from the parts."""
    n = int(caption.layout.valid.sum())
    patches = recipe.video.embed(video)[:, ~hidden] + recipe.side[0]
    words, _ = recipe.text.embed(caption, unread)
    pooled, tokens = recipe.video.encode(torch.cat([words[:, :n] + recipe.side[1], patches], 1))
    return pooled, tokens[:, :n], tokens[:, n:]


@torch.no_grad()
def test_what_is_predicted_is_what_was_hidden_and_pairs_are_judged_with_all_words(vocabulary, batch):
    """Sample by sample, compared with the terms of the batch."""
    recipe = build(vocabulary).eval()
    recipe.side += 0.1 * torch.randn_like(recipe.side)
    draw = drawn(recipe, batch)
    squares, surprises, judged, distances = [], [], [], []
    for i in range(8):
        clip, caption = batch.video[i : i + 1], batch.text.select(slice(i, i + 1))
        hidden, unread = draw.video_mask[i], draw.text_mask[i]
        _, words, patches = read(recipe, clip, caption, hidden, unread[None])
        pixels = recipe.decoder(patches, hidden[None])[0]
        target = targets.normalised_patches(recipe.video.patches(clip))[0, hidden]
        squares += (pixels - target).square().flatten().tolist()
        for place in unread.nonzero()[:, 0].tolist():
            logits = recipe.word_head(words[0, place]).log_softmax(0)
            surprises.append(-logits[caption.tokens[0, place]].item())
        j = (i + int(draw.chosen["shift"][i])) % 8
        pooled, words, patches = read(recipe, batch.video[j : j + 1], caption, draw.video_mask[j])
        judged.append(-recipe.match_head(pooled)[0].log_softmax(0)[int(i == j)].item())
        sign = 1 if i == j else -1
        distances.append(
            sign * transport.distance(words, patches, torch.ones(words.shape[:2], dtype=torch.bool)).item()
        )
    terms = {name: term.item() for name, term in recipe(batch, draw).items()}
    assert len(surprises) > 3
    assert terms["mvm"] == pytest.approx(np.mean(squares), rel=1e-4)
    assert terms["mlm"] == pytest.approx(np.mean(surprises), rel=1e-4)
    assert terms["vtm"] == pytest.approx(np.mean(judged), rel=1e-4)
    assert terms["wpa"] == pytest.approx(np.mean(distances), abs=1e-5)


@torch.no_grad()
def test_no_pass_sees_a_dropped_patch_and_the_first_no_hidden_word(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    before = recipe(batch, draw)
    grid = draw.video_mask.view(8, *recipe.grid)
    pixels = grid.repeat_interleave(2, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)[..., None]
    other = torch.where(pixels, 255 - batch.video // 2, batch.video)
    after = recipe(batch._replace(video=other), draw)
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["mvm"]
    tokens = batch.text.tokens.masked_fill(draw.text_mask, vocabulary.unk)
    after = recipe(batch._replace(text=batch.text._replace(tokens=tokens)), draw)
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["mlm", "vtm", "wpa"]


@torch.no_grad()
def test_padding_changes_no_term(vocabulary, batch, store):
    long = Vocabulary(vocabulary.tokenizer, vocabulary.length + 5)
    recipe = build(long).eval()
    draw = drawn(recipe, batch)
    short = recipe(batch, draw)
    part = store.splits["train"]
    first = [int((part.clips == clip).argmax()) for clip in range(8)]
    text = long.encode([part.captions[row] for row in first])
    padded = recipe(batch._replace(text=text), draw._replace(text_mask=F.pad(draw.text_mask, (0, 5))))
    for name, term in short.items():
        assert term.item() == pytest.approx(padded[name].item(), rel=1e-4, abs=1e-6), name


def test_half_of_the_clips_are_false_and_each_other_clip_may_be(vocabulary, batch):
    recipe = build(vocabulary)
    for rows in (2, 5, 8):
        shifts = [drawn(recipe, batch.select(slice(0, rows)), seed).chosen["shift"] for seed in range(40)]
        assert {int((shift == 0).sum()) for shift in shifts} == {rows // 2}
        assert set(torch.cat(shifts).tolist()) == set(range(rows))
        assert len({tuple((shift == 0).tolist()) for shift in shifts}) > 1, "not always the same rows"
    alone = batch.select(slice(0, 1))
    assert "shift" not in drawn(recipe, alone).chosen, "there is no other clip"
    assert all(torch.isfinite(term) for term in recipe(alone, drawn(recipe, alone)).values())


@pytest.mark.parametrize(
    ("named", "passes"),
    [
        ({"mlm": 1.0, "mvm": 1.0}, 1),
        ({"mlm": 1.0}, 1),
        ({"mvm": 1.0}, 1),
        ({"vtm": 1.0}, 1),
        ({"wpa": 0.1}, 1),
        ({"mlm": 1.0, "wpa": 0.1}, 2),
        ({"mvm": 1.0, "vtm": 1.0, "wpa": 0.1}, 2),
    ],
)
def test_a_weight_of_zero_removes_its_term_and_the_pass_that_nothing_else_needs(
    vocabulary, batch, named, passes
):
    recipe = build(vocabulary, weights=weights(**named))
    counter = StepCounter(recipe, 8)
    with counter:
        terms = recipe(batch, drawn(recipe, batch))
    assert set(terms) == set(named)
    assert counter.cost.passes("video") == passes
    assert counter.cost.passes("decoder") == ("mvm" in named)


def test_without_its_weight_no_transport_is_computed_nor_paid_for(vocabulary, batch, monkeypatch):
    flops = {}
    for wpa in (0.1, 0.0):
        recipe = build(vocabulary, weights=vlc.Weights(wpa=wpa))
        draw = drawn(recipe, batch)
        counter = StepCounter(recipe, 8)
        with counter:
            recipe(batch, draw)
        flops[wpa] = counter.cost.flops
        monkeypatch.setattr(transport, "plan", None)
    pairs = 8 * vocabulary.length * 4  # of a word and one of the four patches that are left
    assert flops[0.1] - flops[0.0] == pairs * (2 * 32 + 50 * 2 * 2)


def test_training_draws_true_pairs_together_and_false_ones_apart(vocabulary, batch):
    recipe = build(vocabulary, weights=weights(wpa=1.0))
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
    course = []
    for seed in range(60):
        loss = recipe(batch, drawn(recipe, batch, seed))["wpa"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.append(loss.item())
    assert abs(np.mean(course[:5])) < 0.1
    assert np.mean(course[-5:]) < -0.3, course


def test_a_pair_is_judged_by_how_much_better_it_matches(vocabulary, batch):
    recipe = build(vocabulary).eval()
    with torch.no_grad():
        before = recipe.match(batch.video, batch.text)
        recipe.match_head[-1].bias += torch.tensor([0.0, 3.0])
        assert torch.allclose(recipe.match(batch.video, batch.text), before + 3, atol=1e-5)


@pytest.fixture(scope="module")
def autoencoder(store, tmp_path_factory):
    """A finished run of a masked autoencoder with the same encoder."""
    config = replace(shrink(videomae.Config()), video=tiny().video)
    with pytest.MonkeyPatch.context() as patch:
        run, code = real_run(patch, tmp_path_factory.mktemp("start"), quick(config, seed=5), store)
    assert code == 0
    return run


@torch.no_grad()
def test_a_side_alone_is_read_as_beside_nothing_of_the_other(vocabulary, batch):
    recipe = build(vocabulary).eval()
    recipe.side += 0.1 * torch.randn_like(recipe.side)
    clip, words = batch.video[:1], batch.text.select(slice(0, 1))
    pooled, *_ = read(recipe, clip, vocabulary.encode([""]), torch.zeros(8, dtype=torch.bool))
    embedded = F.normalize(recipe.video_head(pooled), dim=1)
    assert torch.allclose(recipe.embed_video(clip), embedded, atol=1e-5)
    pooled, *_ = read(recipe, clip, words, torch.ones(8, dtype=torch.bool))
    assert torch.allclose(recipe.embed_text(words), F.normalize(recipe.text_head(pooled), dim=1), atol=1e-5)


class TestItsStart:
    def start(self, store, run, recipe, *parts):
        wanted = tuple(InitFrom(part=part, run=str(run.path)) for part in parts)
        session = open_session(run_config(recipe, init_from=wanted), store, device=torch.device("cpu"))
        return session.recipe.state_dict()

    @pytest.mark.parametrize("parts", [("video",), ("video", "decoder")])
    def test_a_masked_autoencoder_of_the_same_core_is_one(self, store, autoencoder, parts):
        there = checkpoint.load_tensors(autoencoder.file("checkpoints") / checkpoint.MODEL)
        fresh, started = (self.start(store, autoencoder, tiny(), *names) for names in ((), parts))
        for name, value in started.items():
            source = there if name.startswith(tuple(f"{part}." for part in parts)) else fresh
            assert torch.equal(value, source[name]), name
        assert not torch.equal(started["video.project.weight"], fresh["video.project.weight"])

    def test_another_core_is_refused_in_a_sentence(self, store, autoencoder):
        narrow = replace(tiny().video, patch=4)
        with pytest.raises(UserError, match=r"init_from: video\.\w+.* cannot start from"):
            self.start(store, autoencoder, tiny(video=narrow), "video")


@torch.no_grad()
def test_its_features_are_told_the_side_as_every_pass_is(vocabulary, batch):
    recipe = build(vocabulary).eval()
    torch.nn.init.normal_(recipe.side)
    plain = recipe.video(batch.video).tokens
    features = recipe.features(batch.video)
    assert features.shape == (8, recipe.grid.tokens, 32)
    assert not torch.allclose(features, plain, atol=0.1)
    assert torch.equal(features, recipe.video.encode(recipe._patches(batch.video)).tokens)
    recipe.side.zero_()
    assert torch.equal(recipe.features(batch.video), plain)


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=weights(mlm=1.0, mvm=1.0))
    with pytest.raises(UserError, match="nothing to learn"):
        recipe(batch, Draw())


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"text": replace(c.text, depth=2)},
        lambda c: {"text": replace(c.text, hidden="drop")},
        lambda c: {"text": replace(c.text, width=64)},
        lambda c: {"video": replace(c.video, hidden="replace")},
        lambda c: {"weights": weights()},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError):
        tiny(**change(tiny()))
