"""SMAUG: patches are dropped on the way, frames are selected for a caption, and both save what they drop."""

from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, shrink

from workbench import targets
from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import RandomMasking
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.recipes import smaug
from workbench.train.cost import StepCounter

ALL = {"keep_patches": 1.0, "keep_frames": 1.0}


def tiny(**changes):
    """Frames of 16 patches, of which 8 are visible; four blocks."""
    config = shrink(smaug.Config(), tubelet=1, patch=4)
    return replace(config, **({"video": replace(config.video, depth=4)} | changes))


def build(vocabulary, *, frames=FRAMES, **changes):
    torch.manual_seed(0)
    return smaug.Recipe(tiny(**changes), frames=frames, size=SIZE, vocabulary=vocabulary)


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def cost_of(recipe, batch):
    counter = StepCounter(recipe, len(batch.video))
    with counter:
        recipe(batch, drawn(recipe, batch))
    return counter.cost


def test_as_many_tokens_are_read_as_are_kept(vocabulary, batch):
    """64 patches: 32 visible, 16 behind two blocks; words query 8 of two frames, and two class tokens."""
    recipe, lengths, keys = build(vocabulary), [], []
    for block in recipe.video.blocks:
        block.register_forward_pre_hook(lambda module, given: lengths.append(tuple(given[0].shape[:2])))
    recipe.fusion.blocks[0].register_forward_pre_hook(lambda module, given: keys.append(given[2].shape[:2]))
    draw = drawn(recipe, batch)
    recipe(batch, draw)
    assert draw.video_mask.view(8, 4, 16).sum(2).unique().tolist() == [8]
    assert lengths == [(32, 1 + 8), (32, 1 + 8), (32, 1 + 4), (32, 1 + 4)]
    assert keys == [(8, 10), (16, 10)], "own pairs, then twice as many wrong ones"


def test_flops_fall_with_what_is_dropped(vocabulary, batch):
    def forward(n, width=32):  # linear layers of a block, and attention, of n tokens
        return 2 * (12 * n * width**2 + 2 * n**2 * width)

    cost = {
        name: cost_of(build(vocabulary, **changes), batch)
        for name, changes in {
            "plain": ALL, "patches": {"keep_frames": 1.0}, "frames": {"keep_patches": 1.0}, "both": {},
        }.items()
    }  # fmt: skip
    video = {name: one.encoders["video"].flops for name, one in cost.items()}
    fusion = {name: one.encoders["fusion"].flops for name, one in cost.items()}
    saved = 32 * 2 * (forward(9) - forward(5))  # frames, blocks
    assert video["plain"] - video["patches"] == pytest.approx(saved, rel=0.02)
    assert video["frames"] == video["plain"]
    assert fusion["plain"] > fusion["patches"] > fusion["both"]
    assert fusion["plain"] > fusion["frames"] > fusion["both"]
    assert cost["both"].tokens_out == 4 * 8
    assert cost["both"].flops < 0.85 * cost["plain"].flops


@torch.no_grad()
def test_both_parts_off_are_the_plain_model(vocabulary, batch):
    """The terms to the bit, where all patches and all frames are kept by the parts that drop some."""
    plain = build(vocabulary, **ALL)
    assert plain.selector is None
    keeping = build(vocabulary)
    keeping.load_state_dict(plain.state_dict(), strict=False)
    keeping.config = replace(keeping.config, keep_patches=1 - 1e-12)  # every one, rounded up
    keeping.selector.count = 4
    draw = drawn(keeping, batch)
    terms, same = plain(batch, draw), keeping(batch, draw)
    assert {n: t.item() for n, t in terms.items()} == {n: t.item() for n, t in same.items()}
    assert keeping.kept(batch, draw).patches.equal(~draw.video_mask)


@torch.no_grad()
def test_embedding_drops_nothing_whatever_training_drops(vocabulary, batch):
    plain, recipe = build(vocabulary, **ALL), build(vocabulary, keep_patches=0.25, keep_frames=0.25)
    recipe.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(recipe.embed_video(batch.video), plain.embed_video(batch.video))
    features = recipe.features(batch.video)
    assert features.shape == (8, 64, 32)
    changed = batch.video.clone()
    changed[:, 3, :4, :4] ^= 255
    assert not torch.equal(recipe.features(changed), features)
    assert torch.equal(recipe.features(changed)[:, :48], features[:, :48]), "frames are read one by one"


@torch.no_grad()
def test_what_is_kept_can_be_looked_at(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    kept = recipe.kept(batch, draw)
    assert kept.patches.view(8, 4, 16).sum(2).unique().tolist() == [4]
    assert not (kept.patches & draw.video_mask).any()
    assert kept.frames.sum(1).unique().tolist() == [2]
    assert torch.allclose(kept.share.sum(1), torch.ones(8))
    # Without the numbers of a training step, the best frames.
    sure = Draw(draw.video_mask, draw.text_mask)
    best = recipe.kept(batch, sure).frames
    assert torch.equal(best, torch.zeros(8, 4).scatter(1, kept.share.topk(2).indices, 1.0) > 0)
    every = build(vocabulary, **ALL).kept(batch, draw)
    assert every.patches.equal(~draw.video_mask)
    assert every.frames.all()


@torch.no_grad()
def test_pairs_are_judged_by_all_patches_of_the_best_frames(vocabulary, batch):
    recipe = build(vocabulary).eval()
    made = torch.Generator().manual_seed(0)
    for layer in (0, 2):  # at the start, all frames are about as good
        recipe.selector.mlp[layer].weight.normal_(generator=made)
    clip, caption = recipe._encode(batch.video).all, recipe.text(batch.text)
    best = recipe.selector.share(clip, caption.pooled).topk(2).indices
    logits = []
    for i in range(8):
        frames = clip[i : i + 1, sorted(best[i].tolist())].flatten(1, 2)
        assert frames.shape == (1, 2 * 17, 32)
        n = int(batch.text.layout.valid[i].sum())
        words = caption.tokens[i : i + 1, :n]
        pooled = recipe.fusion(frames, words, torch.ones(1, n, dtype=torch.bool)).pooled
        logits.append(recipe.match_head(pooled)[0].diff().item())
    assert recipe.match(batch.video, batch.text).tolist() == pytest.approx(logits, abs=1e-5)
    assert len({tuple(row) for row in best.tolist()}) > 1


@torch.no_grad()
def test_pixels_are_predicted_of_what_was_hidden_from_what_is_left(vocabulary, batch):
    recipe = build(vocabulary).eval()
    draw = drawn(recipe, batch)
    left = recipe.kept(batch, draw).patches
    tokens = recipe._encode(batch.video, draw.video_mask, sparse=True).tokens.flatten(1, 2)
    errors = []
    for i in range(8):
        every = recipe.decoder(tokens[i : i + 1], ~left[i : i + 1])[0]  # of all that was not read to the end
        predicted = every[draw.video_mask[i][~left[i]]]
        shown = recipe.video.patches(batch.video[i : i + 1])[:, draw.video_mask[i]]
        errors.append((predicted - targets.normalised_patches(shown)[0]).square().mean().item())
    assert recipe(batch, draw)["mvm"].item() == pytest.approx(sum(errors) / 8, rel=1e-4)


@pytest.mark.parametrize(
    ("off", "passes"),
    [
        ((), (4, 1, 3, 1)),
        (("vtm",), (4, 1, 1, 1)),
        (("mlm", "vtm"), (4, 1, 0, 1)),
        (("mvm", "mlm", "vtm"), (4, 1, 0, 0)),
        (("vtc", "mlm", "vtm"), (4, 0, 0, 1)),
    ],
)
def test_only_those_passes_run_that_a_term_needs(vocabulary, batch, off, passes):
    recipe = build(vocabulary, weights=replace(smaug.Weights(), **dict.fromkeys(off, 0.0)))
    cost = cost_of(recipe, batch)
    assert tuple(cost.passes(name) for name in ("video", "text", "fusion", "decoder")) == passes
    assert set(recipe(batch, drawn(recipe, batch))) == {"vtc", "vtm", "mlm", "mvm"} - set(off)


def test_the_selector_learns_which_frames_tell_the_words(vocabulary):
    """Two of eight grey frames show the colour that the caption names: a choice by chance hits a quarter."""
    colours = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
    recipe = build(
        vocabulary, frames=8, keep_frames=0.25, video=shrink(smaug.Config(), tubelet=1).video,
        weights=smaug.Weights(vtc=0, vtm=0, mvm=0), text_masking=TokenMasking(ratio=0.5),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
    made = torch.Generator().manual_seed(1)
    hits = []
    for step in range(80):
        which = torch.randint(0, 3, (24,), generator=made)
        shows = torch.rand(24, 8, generator=made).argsort(1) < 2
        paint = torch.tensor(list(colours.values()), dtype=torch.uint8)[which][:, None, None, None]
        grey = torch.randint(110, 140, (24, 8, SIZE, SIZE, 3), generator=made, dtype=torch.uint8)
        video = torch.where(shows[..., None, None, None], paint, grey)
        batch = Batch.of(video, vocabulary.encode([f"{list(colours)[w]} moon moon moon moon" for w in which]))
        draw = recipe.draw(batch, BatchRng(made))
        optimizer.zero_grad()
        sum(recipe(batch, draw).values()).backward()
        optimizer.step()
        if step >= 50:
            chosen = recipe.kept(batch, Draw(draw.video_mask, draw.text_mask)).frames
            hits.append((chosen & shows).sum().item() / 48)
    assert sum(hits) / len(hits) > 0.4, hits


def test_a_single_image_has_no_frame_to_select(vocabulary, batch):
    recipe = build(vocabulary, frames=1)
    image = batch._replace(video=batch.video[:, :1])
    assert recipe.selector is None
    assert all(torch.isfinite(term) for term in recipe(image, drawn(recipe, image)).values())


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"keep_patches": 0.0},
        lambda c: {"keep_after": 1.5},
        lambda c: {"keep_frames": -0.5},
        lambda c: {"video_masking": RandomMasking(ratio=0.5)},
        lambda c: {"video": replace(c.video, hidden="replace")},
        lambda c: {"video": replace(c.video, cls=False, pool="mean")},
        lambda c: {"text": replace(c.text, hidden="drop")},
        lambda c: {"fusion": replace(c.fusion, mode="concat")},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(UserError) as caught:
        tiny(**change(tiny()))
    assert "\n" not in str(caught.value)


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    recipe = build(vocabulary, weights=smaug.Weights(vtc=0, vtm=0))
    with pytest.raises(UserError, match="nothing to learn"):
        recipe(batch, drawn(recipe, batch, masked=False))
