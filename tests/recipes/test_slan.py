"""SLAN: regions that words pick and move, read as torchvision reads them and without a hint of the truth."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import FRAMES, SIZE, shrink
from torchvision.ops import roi_align

from workbench import losses
from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking
from workbench.models.selectors.regions import (
    ANCHORS,
    anchors,
    cosines,
    most_relevant,
    move,
    relevance,
    sample,
)
from workbench.models.text import TextConfig, Vocabulary
from workbench.models.text import vocabulary as words_of
from workbench.recipe.batch import Batch, BatchRng
from workbench.recipes import slan
from workbench.tasks.gallery import Judged
from workbench.tasks.pointing import point
from workbench.train.cost import StepCounter


def tiny(**changes):
    return replace(shrink(slan.Config()), **changes)


def build(vocabulary, **changes):
    torch.manual_seed(0)
    return slan.Recipe(tiny(**changes), frames=FRAMES, size=SIZE, vocabulary=vocabulary)


def weights(**named):
    return slan.Weights(**(dict.fromkeys(("vtc", "vtm", "region"), 0.0) | named))


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def boxes_in(*shape, seed=0):
    """Any boxes inside the picture, some of them at its border."""
    corners = random(*shape, 2, 2, seed=seed).sort(-2).values
    corners[..., 0, 0, :] = 0.0
    corners[..., 1, 1, :] = 1.0
    return corners.flatten(-2)


class TestRegions:
    @pytest.mark.parametrize("cells", [(4, 4), (3, 7), (1, 1), (14, 14)])
    def test_a_region_is_read_as_torchvision_reads_it(self, cells):
        h, w = cells
        tokens, boxes = random(2, 3, h * w, 5), boxes_in(2, 3, 6)
        found = sample(tokens, boxes, cells)
        maps = tokens.unflatten(2, cells).permute(0, 1, 4, 2, 3).flatten(0, 1)  # [6, 5, h, w]
        scaled = boxes.flatten(0, 1) * torch.tensor([w, h, w, h])
        expected = roi_align(maps, list(scaled), 1, sampling_ratio=4, aligned=True)
        assert torch.allclose(found.flatten(0, 2), expected[..., 0, 0], atol=1e-5)

    def test_the_gradient_moves_a_region_to_the_one_blob_of_a_map(self):
        """From any side, and it shrinks around the blob; torchvision's own gives boxes no gradient."""
        tokens = torch.zeros(1, 1, 64, 1)
        tokens[0, 0, 8 * 5 + 2] = 1.0  # row 5, column 2
        for x, y in ((0.15, 0.7), (0.45, 0.7), (0.3, 0.55), (0.3, 0.85)):
            boxes = torch.tensor([[[[x - 0.15, y - 0.15, x + 0.15, y + 0.15]]]])
            change = torch.zeros(1, 1, 1, 4, requires_grad=True)
            sample(tokens, move(boxes, change), (8, 8)).sum().backward()
            dx, dy, wide, high = change.grad.flatten().tolist()
            assert dx * (2.5 / 8 - x) > 0 or abs(2.5 / 8 - x) < 0.02
            assert dy * (5.5 / 8 - y) > 0 or abs(5.5 / 8 - y) < 0.02
            assert abs(dx) + abs(dy) + abs(wide) + abs(high) > 0
        around = torch.tensor([[[[0.0, 0.375, 0.625, 1.0]]]])
        change = torch.zeros(1, 1, 1, 4, requires_grad=True)
        sample(tokens, move(around, change), (8, 8)).sum().backward()
        assert (change.grad.flatten()[2:] < 0).all()

    def test_anchors_are_the_picture_its_quarters_and_its_sixteenths(self):
        found = anchors()
        assert found.shape == (ANCHORS, 4) == (21, 4)
        area = (found[:, 2:] - found[:, :2]).prod(1)
        assert area.tolist() == [1] + [1 / 4] * 4 + [1 / 16] * 16
        assert [area[rows].sum() for rows in (slice(0, 1), slice(1, 5), slice(5, 21))] == [1, 1, 1]
        assert len({tuple(box) for box in found.tolist()}) == 21

    def test_nothing_moves_by_nothing_and_all_stays_in_the_picture(self):
        assert torch.equal(move(anchors(), torch.zeros(21, 4)), anchors())
        far = 10 * torch.randn(50, 21, 4, generator=torch.Generator().manual_seed(0))
        found = move(anchors().expand(50, -1, -1), far)
        assert (found >= -1e-6).all()
        assert (found <= 1 + 1e-6).all()
        assert (found[..., 2:] - found[..., :2] >= 1 / 16 - 1e-6).all()

    def test_the_choice_keeps_the_best_and_has_the_gradient_of_a_softmax(self):
        relevant = random(2, 3, 7).requires_grad_()
        index, weight = most_relevant(relevant, 3, 0.5)
        assert torch.equal(index, relevant.argsort(dim=-1, descending=True)[..., :3])
        assert torch.equal(weight, torch.ones(2, 3, 3))
        given = random(2, 3, 3, seed=1)
        (weight * given).sum().backward()
        other = relevant.detach().clone().requires_grad_()
        ((other / 0.5).softmax(-1).gather(-1, index) * given).sum().backward()
        assert torch.allclose(relevant.grad, other.grad, atol=1e-7)
        assert relevant.grad.abs().min() > 0, "also of what was not kept"
        assert torch.equal(most_relevant(relevant, 7, 0.5)[0][1, 2], torch.arange(7)), "all stay in order"

    def test_a_region_is_as_relevant_as_its_best_word_and_padding_counts_for_nothing(self):
        regions, words = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 5)
        keep = torch.tensor([[True] * 4 + [False] * 2, [False] * 6])
        found = relevance(cosines(regions, words), keep)
        for t in range(3):
            for r in range(4):
                each = [F.cosine_similarity(regions[0, t, r], words[0, w], dim=0).item() for w in range(4)]
                assert found[0, t, r].item() == pytest.approx(max(each), abs=1e-6)
        assert (found[1] == -1).all()

    def test_words_find_what_a_loop_finds(self):
        cosine, keep = 2 * random(3, 2, 4, 5) - 1, random(3, 5, seed=1) > 0.4
        keep[2] = False
        found = losses.word_region_similarity(cosine, keep, 0.1)
        for p in range(3):
            each = []
            for word in range(5):
                if keep[p, word]:
                    c = cosine[p, :, :, word].flatten().double().numpy()
                    share = np.exp(c / 0.1) / np.exp(c / 0.1).sum()
                    each.append((share * c).sum())
            assert found[p].item() == pytest.approx(np.mean(each) if each else 0, abs=1e-6)


def found_for(recipe, batch, rows, columns):
    """Regions that the captions of `columns` find in the clips of `rows`."""
    text = batch.text.select(torch.as_tensor(columns))
    clip, words = recipe.video(batch.video[rows]), recipe.text(text)
    return recipe.locate(clip.tokens, words.tokens, text.layout.valid, text.layout.content)


@torch.no_grad()
def test_without_levels_or_where_all_are_kept_and_none_moved_regions_are_the_anchors(vocabulary, batch):
    for changes in ({"levels": ()}, {"levels": (21,), "adapt": False}, {"levels": (21, 21), "adapt": False}):
        boxes, _ = build(vocabulary, **changes).regions(batch.video, batch.text)
        assert torch.equal(boxes, anchors().expand(8, 2, -1, -1)), changes


@torch.no_grad()
def test_levels_keep_so_many_of_the_most_relevant_and_move_them(vocabulary, batch):
    still = build(vocabulary, levels=(5, 2), adapt=False)
    boxes, scores = still.regions(batch.video, batch.text)
    assert boxes.shape == (8, 2, 2, 4)
    assert scores.shape == (8, 2, 2)
    whole = build(vocabulary, levels=())
    whole.load_state_dict(still.state_dict())
    every, relevant = whole.regions(batch.video, batch.text)
    best = relevant.topk(2, -1).indices
    assert torch.equal(boxes, every.gather(2, best[..., None].expand(-1, -1, -1, 4)))
    assert torch.allclose(scores, relevant.gather(2, best), atol=1e-6)
    moving = build(vocabulary, levels=(5, 2))
    moving.load_state_dict(still.state_dict(), strict=False)
    moved, _ = moving.regions(batch.video, batch.text)
    assert 0 < (moved - boxes).abs().max() < 0.05, "hardly at first"


@torch.no_grad()
def test_another_caption_of_the_same_clip_finds_other_regions(vocabulary, batch):
    recipe = build(vocabulary, adapt=False)
    own, other = (found_for(recipe, batch, [0, 1], columns).boxes for columns in ([2, 3], [4, 5]))
    assert not torch.equal(own, other)
    moving = build(vocabulary, levels=(21,))
    torch.nn.init.normal_(moving.adaptor.head.weight)
    own, other = (found_for(moving, batch, [0, 1], columns).boxes for columns in ([2, 3], [4, 5]))
    assert (own - other).abs().max() > 1e-3, "and moves them otherwise"


@torch.no_grad()
def test_terms_are_those_of_pairs_one_by_one_each_with_the_regions_of_its_own_caption(vocabulary, batch):
    recipe = build(vocabulary).eval()
    torch.nn.init.normal_(recipe.adaptor.head.weight, std=0.2)
    draw = drawn(recipe, batch)
    terms = {name: term.item() for name, term in recipe(batch, draw).items()}
    video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
    assert terms["vtc"] == pytest.approx(losses.vtc(video, text, 20.0).item(), rel=1e-4)
    scores = 20 * video @ text.T
    clips, captions = losses.hard_negatives(scores, torch.eye(8, dtype=torch.bool), draw.chosen["negatives"])
    judged, choices = [], []

    def pair(clip, caption):
        found = found_for(recipe, batch, [clip], [caption])
        words = batch.text.select(torch.tensor([caption]))
        logits = recipe._judge(found, recipe.text(words).tokens, words.layout.valid)[0]
        judged.append(-logits.log_softmax(0)[int(clip == caption)].item())
        return losses.word_region_similarity(found.cosine, words.layout.content, 0.05)[0] / 0.05

    for i in range(8):
        own, clip, caption = pair(i, i), pair(int(clips[i]), i), pair(i, int(captions[i]))
        choices += [-torch.stack([own, other]).log_softmax(0)[0].item() for other in (clip, caption)]
    assert terms["vtm"] == pytest.approx(np.mean(judged), rel=1e-4)
    assert terms["region"] == pytest.approx(np.mean(choices), rel=1e-3)


@torch.no_grad()
def test_padding_changes_no_term(vocabulary, batch, store):
    long = Vocabulary(vocabulary.tokenizer, vocabulary.length + 5)
    recipe = build(long).eval()
    torch.nn.init.normal_(recipe.adaptor.head.weight, std=0.2)  # so that regions move by what is read
    draw, part = drawn(recipe, batch), store.splits["train"]
    text = long.encode([part.captions[int((part.clips == clip).argmax())] for clip in range(8)])
    short, padded = (recipe(one, draw) for one in (batch, batch._replace(text=text)))
    for name, term in short.items():
        assert term.item() == pytest.approx(padded[name].item(), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize(
    ("changes", "fusion", "adaptor"),
    [
        ({}, 3, 6),
        ({"levels": (4,)}, 3, 3),
        ({"adapt": False}, 3, None),
        ({"levels": ()}, 3, None),
        ({"weights": weights(vtc=1.0, region=1.0)}, 0, 6),
        ({"weights": weights(vtm=1.0)}, 3, 6),
        ({"weights": weights(vtc=1.0)}, 0, 0),
    ],
)
def test_what_has_no_weight_is_not_computed_and_every_pass_is_counted(
    vocabulary, batch, changes, fusion, adaptor
):
    recipe = build(vocabulary, **changes)
    counter = StepCounter(recipe, 8)
    with counter:
        terms = recipe(batch, drawn(recipe, batch))
    own = recipe.config.weights
    assert set(terms) == {name for name in ("vtc", "vtm", "region") if getattr(own, name)}
    assert counter.cost.passes("video") == counter.cost.passes("text") == 1
    assert counter.cost.passes("fusion") == fusion
    assert ("adaptor" in counter.cost.encoders) == (adaptor is not None)
    assert adaptor is None or counter.cost.passes("adaptor") == adaptor
    assert counter.cost.tokens_out == counter.cost.tokens_in == recipe.grid.tokens, "nothing is masked"


def test_reading_regions_is_paid_for(vocabulary, batch):
    flops = {}
    for levels in ((21,), ()):
        recipe = build(vocabulary, levels=levels, adapt=False, weights=weights(region=1.0))
        counter = StepCounter(recipe, 8)
        with counter, torch.no_grad():
            recipe(batch, drawn(recipe, batch))
        flops[levels] = counter.cost.flops
    regions = 24 * 2 * 21  # of all pairs and steps
    read, project, compare = 2 * 4 * 32, 2 * 32 * 16, 2 * 16 * vocabulary.length
    assert flops[(21,)] - flops[()] == regions * (read + project + compare)


def test_nothing_is_hidden(vocabulary, batch):
    recipe = build(vocabulary)
    assert recipe.hidden_shares(batch, BatchRng.seeded(0)) == {"mask/video_hidden": 0, "mask/text_hidden": 0}
    draw = drawn(recipe, batch)
    assert (draw.video_mask, draw.text_mask) == (None, None)
    assert drawn(recipe, batch, objective="align").chosen == {}


@pytest.mark.parametrize(
    ("named", "trained"), [({"vtc": 1.0}, ()), ({"vtm": 1.0}, ("recipe",)), ({"region": 1.0}, ("recipe",))]
)
def test_regions_are_trained_by_what_reads_them(vocabulary, named, trained):
    assert build(vocabulary, weights=weights(**named)).trained_by("regions") == trained


@pytest.mark.parametrize("adapt", [False, True])
def test_what_judges_pairs_trains_the_choice_of_regions_as_if_it_weighed_their_attention(
    vocabulary, batch, adapt
):
    """The norm before attention would take the scale of weighted tokens away, and its gradient."""
    recipe = build(vocabulary, weights=weights(vtm=1.0), adapt=adapt)
    draw = drawn(recipe, batch)
    recipe(batch, draw)["vtm"].backward()
    found = recipe.region_head.weight.grad.norm().item()
    rest = recipe.match_head.weight.grad.norm().item()
    assert found > 1e-3 * rest, (found, rest)


@pytest.mark.parametrize(
    "change",
    [
        {"levels": (4, 8)},
        {"levels": (22,)},
        {"levels": (0,)},
        {"sharpness": 0.0},
        {"video_masking": PerFrameMasking(ratio=0.5)},
        {"text_masking": TokenMasking(ratio=0.5)},
        {"text": TextConfig(width=64)},
        {"weights": weights()},
        {"fusion": replace(slan.Config().fusion, mode="concat")},
    ],
)
def test_what_it_cannot_do_is_refused_in_a_sentence(change):
    with pytest.raises(UserError) as caught:
        replace(slan.Config(), **change)
    assert "\n" not in str(caught.value)


LEVELS = (0, 128, 255)
NAMES = [
    f"{a}{b}{c}" for a, b, c in product(("no", "half", "full"), repeat=3) if a != b or b != c or a != "half"
]
TINTS = torch.tensor(
    [tint for tint in product(LEVELS, repeat=3) if tint != (128, 128, 128)], dtype=torch.uint8
)


def two_tints(vocabulary, rows, seed):
    """Grey clips of four cells, two of them in tints of their own; captions name the one, in cell [B]."""
    rng = torch.Generator().manual_seed(seed)
    named = torch.rand(26, generator=rng).argsort().repeat(-(-rows // 26))[:rows]
    other = (named + torch.randint(1, 26, (rows,), generator=rng)) % 26
    cells = torch.rand(rows, 4, generator=rng).argsort(1)[:, :2]
    colours = torch.full((rows, 4, 3), 128, dtype=torch.uint8)
    colours.scatter_(1, cells[..., None].expand(-1, -1, 3), torch.stack([TINTS[named], TINTS[other]], 1))
    frames = colours.view(rows, 2, 2, 3).repeat_interleave(8, 1).repeat_interleave(8, 2)
    video = frames[:, None].expand(-1, FRAMES, -1, -1, -1).contiguous()
    return Batch.of(video, vocabulary.encode([f"a {NAMES[i]} thing" for i in named.tolist()])), cells


def test_it_learns_to_find_whom_the_caption_names_without_being_told_a_box():
    """Any place is right in 25 %; in trials with two seeds 73 and 100 % were found."""
    words = words_of([f"a {name} thing" for name in NAMES], TextConfig())
    recipe = build(words)
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=2e-3)
    for step in range(150):
        batch, _ = two_tints(words, 26, step)
        optimizer.zero_grad()
        sum(recipe(batch, drawn(recipe, batch, step)).values()).backward()
        torch.nn.utils.clip_grad_norm_(recipe.parameters(), 1.0)
        optimizer.step()
    batch, cells = two_tints(words, 200, 1000)
    with torch.no_grad():
        places = torch.from_numpy(point(Judged(recipe, None), batch.video, batch.text).places)  # [B, t, 2]
    found = 2 * (places[..., 1] >= 0.5).long() + (places[..., 0] >= 0.5)
    named, other = ((found == cells[:, i : i + 1]).float().mean().item() for i in (0, 1))
    assert named > 0.5
    assert other < named / 3
