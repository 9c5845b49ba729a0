"""Pointing on planted models: what finds whom it is told is right, what does not read finds either."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scenes import Words
from small import build, recipes_with

from workbench.config import DataConfig
from workbench.data import load, read_index
from workbench.data.augment.crop import scaled
from workbench.errors import UserError
from workbench.masking.video import Grid
from workbench.metrics import Metric
from workbench.tasks import pointing
from workbench.tasks.gallery import Gallery, Judged
from workbench.tasks.pointing import evaluate, inside, overlap

FRAMES = 8


@pytest.fixture(scope="module", params=["moving_shapes_pairs", "moving_shapes"])
def part(request):
    """A gallery of 40 clips of a drawn world, whose pixels are the numbers of the clips."""
    index = read_index(DataConfig(name=request.param, clips=240), None)
    train = [clip for clip in index.clips if clip.split == "train"]
    test = [clip for clip in index.clips if clip.split == "test"]
    numbers = np.arange(len(test) + len(train), dtype=np.uint8)[:, None, None, None, None]
    store = SimpleNamespace(
        name=request.param,
        digest=index.digest,
        path="here",
        frames=np.broadcast_to(numbers, (len(numbers), FRAMES, 2, 2, 3)).copy(),
        clip_ids=[clip.id for clip in (*test, *train)],
        splits={"train": SimpleNamespace(clips=np.arange(40, 280), groups=[clip.id for clip in train])},
        skipped=[],
        attributes={},
        label_names=[""],
        labels=np.zeros(len(numbers), int),
    )
    ids, owner = store.clip_ids[:40], np.arange(40)
    captions = [clip.captions[0] for clip in test]
    found = Gallery(store, owner, owner, ids, ids, captions, Words().encode(captions))
    truth = load(request.param).boxes(store, owner)
    return SimpleNamespace(gallery=found, clips=test, truth=truth)


class Pointing:
    """Knows where everybody is; `choose` says who is meant, by clip, time and words."""

    def __init__(self, part, choose):
        self.part, self.choose, self.words, self.heard = part, choose, Words(), set()

    def asked(self, video, text):
        """Box of whom it takes the words to mean, in each frame, [B, T, 4]; the corner for nobody."""
        found = torch.zeros(len(video), FRAMES, 4)
        for row, words in enumerate(self.words.read(text)):
            self.heard.add(words)
            clip = int(video[row, 0, 0, 0, 0])
            for time in range(FRAMES):
                who = self.choose(self.part.clips[clip], time, words)
                if who < self.part.truth.shape[2]:
                    found[row, time] = torch.from_numpy(np.nan_to_num(self.part.truth[clip, time, who]))
        return found


class Regions(Pointing):
    def regions(self, video, text):
        """Two of which the second is the best: the whole picture, and that of whom it means."""
        best = self.asked(video, text)
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand_as(best)
        scores = torch.tensor([0.2, 0.7]).expand(*best.shape[:2], 2)
        return torch.stack([whole, best], 2), scores


class Attending(Pointing):
    grid = Grid(FRAMES // 2, 32, 32)

    def attended(self, video, text):
        """Looks at the place in the middle of the first of each two frames."""
        best = self.asked(video, text)[:, ::2]
        middle = (32 * (best[..., :2] + best[..., 2:]) / 2).long()  # [B, t, 2]
        heat = torch.zeros(len(video), *self.grid)
        for row in range(len(video)):
            for time in range(self.grid.time):
                x, y = middle[row, time].tolist()
                heat[row, time, y, x] = 1
        return heat.flatten(1)


def told(clip, time, words):
    """Whom the words name."""
    actors = clip.scene.get("actors", ({**clip.attributes},))
    return next(i for i, one in enumerate(actors) if one["colour"] in words)


def found_by(kind, part, choose, untrained=()):
    model = kind(part, choose)
    judged = Judged(model, part.gallery, untrained=frozenset(untrained), encode=model.words.encode)
    return model, evaluate(judged)


def two(part):
    return part.truth.shape[2] == 2


def test_who_finds_whom_it_is_told_is_always_right(part):
    model, found = found_by(Regions, part, told)
    assert found.values["pointing"] == pytest.approx(100)
    assert found.values["pointing_iou"] == pytest.approx(100)
    assert found.values.get("pointing_choice", 100) == pytest.approx(100)
    assert ("pointing_choice" in found.values) == two(part)
    assert all(len(words.split()) == 3 for words in model.heard), (
        "asked with nothing but article, colour, shape"
    )


def test_who_finds_the_other_one_is_always_wrong(part):
    _, found = found_by(Regions, part, lambda *asked: 1 - told(*asked))
    assert found.values["pointing"] == pytest.approx(0)
    assert found.values["pointing_iou"] < 1, "boxes hardly touch"
    if two(part):
        assert found.values["pointing_choice"] == 0


def test_who_does_not_read_finds_either(part):
    """One that always takes the actor whose colour comes first in the alphabet."""
    if not two(part):
        pytest.skip("there is one actor")
    first = lambda clip, *_: int(clip.attributes["other_colour"] < clip.attributes["named_colour"])  # noqa: E731
    _, found = found_by(Regions, part, first)
    assert 25 < found.values["pointing_choice"] < 75
    assert found.values["pointing_foil"] == pytest.approx(50)


def test_a_place_that_is_attended_to_counts_in_all_frames_that_it_spans(part):
    _, found = found_by(Attending, part, told)
    expected = []
    for clip, boxes in enumerate(part.truth):
        who = told(part.clips[clip], 0, part.gallery.captions[clip])
        own = []
        for time in range(FRAMES):
            left, top, right, bottom = np.nan_to_num(boxes[time - time % 2, who])
            x, y = ((int(32 * (a + b) / 2) + 0.5) / 32 for a, b in ((left, right), (top, bottom)))
            if np.isfinite(boxes[time]).all():
                left, top, right, bottom = boxes[time, who]
                own.append(100.0 * (left <= x < right and top <= y < bottom))
        expected.append(np.mean(own))
    assert found.values["pointing"] == pytest.approx(np.mean(expected))
    assert 50 < found.values["pointing"] < 100, "an actor may have left in the second of two frames"
    assert "pointing_iou" not in found.values


def test_what_stands_beside_is_computed_from_the_boxes(part):
    _, found = found_by(Regions, part, told)
    centre, area, foil = [], [], []
    for boxes in part.truth:
        seen = boxes[np.isfinite(boxes).all((1, 2))]  # [frames, actors, 4]
        left, top, right, bottom = seen[:, 0].T
        centre.append(((left <= 0.5) & (right > 0.5) & (top <= 0.5) & (bottom > 0.5)).mean())
        area.append(((right - left) * (bottom - top)).mean())
        foil.append(1 / boxes.shape[1])
    for name, shares in (("centre", centre), ("area", area), ("foil", foil)):
        assert found.values[f"pointing_{name}"] == pytest.approx(100 * np.mean(shares))
    low, high = (0, 35) if two(part) else (35, 80)
    assert low < found.values["pointing_centre"] < high


def test_every_value_is_named_and_the_mean_of_its_queries(part):
    _, found = found_by(Regions, part, told)
    known: dict[str, Metric] = {metric.name: metric for metric in pointing.METRICS}
    assert set(found.values) <= set(known)
    for name, value in found.values.items():
        if queries := known[name].queries:
            arrays = found.files[queries.file]
            assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
            assert len(arrays[queries.ids]) == len(arrays[queries.groups]) == len(arrays[queries.values])
        else:
            assert known[name].counted


def test_what_is_not_trained_is_not_asked(part):
    model, found = found_by(Regions, part, told, untrained=("regions", "attended"))
    assert found.values == {}
    assert model.heard == set()


def test_what_is_not_finite_is_refused(part):
    class Broken(Regions):
        def regions(self, video, text):
            boxes, scores = super().regions(video, text)
            return boxes, scores / 0

    with pytest.raises(FloatingPointError, match="diverged"):
        found_by(Broken, part, told)


def test_frames_that_are_taken_are_those_whose_boxes_count(part):
    data = DataConfig(name=part.gallery.store.name, frames=2, stored=FRAMES, size=8)
    fewer = replace(part.gallery, data=data)
    assert fewer.taken == [2, 6]
    window = replace(part.gallery, data=replace(data, sampling="contiguous", stride=3))
    assert window.taken == [2, 5]
    assert part.gallery.taken == list(range(FRAMES))
    stored = part.gallery.frames(np.array([1]))[:, [2, 5]]
    assert np.array_equal(window.frames(np.array([1])), scaled(stored, 8))


def test_clips_that_were_filmed_are_refused_in_a_sentence(part):
    filmed = replace(part.gallery, store=SimpleNamespace(**vars(part.gallery.store) | {"name": "films"}))
    with pytest.raises(UserError, match="films has none"):
        evaluate(Judged(Regions(part, told), filmed))


def test_boxes_overlap_by_what_is_common_and_hold_what_lies_inside():
    one = np.array([0.0, 0.0, 0.5, 1.0])
    assert overlap(one, np.array([0.25, 0.0, 0.75, 1.0])) == pytest.approx(1 / 3)
    assert overlap(one, np.array([0.5, 0.0, 1.0, 1.0])) == 0
    assert overlap(one, one) == pytest.approx(1)
    places = np.array([[0.0, 0.0], [0.5, 0.5], [0.49, 0.99]])
    assert inside(places, one).tolist() == [True, False, True]
    assert not inside(places, np.full(4, np.nan)).any()


@pytest.mark.parametrize("name", sorted({*recipes_with("attended"), *recipes_with("regions")}))
def test_every_recipe_that_can_point_says_where_in_the_picture(name, vocabulary, batch):
    recipe, part = build(name, vocabulary).eval(), SimpleNamespace(store=None)
    time, height, width = recipe.grid
    with torch.no_grad():
        found = pointing.point(Judged(recipe, part), batch.video, batch.text)
        assert found.places.shape == (8, time, 2)
        assert ((found.places > 0) & (found.places < 1)).all()
        other = batch.text.select(torch.arange(8).roll(3))
        if hasattr(recipe, "regions"):
            (boxes, scores), (_, others) = (recipe.regions(batch.video, text) for text in (batch.text, other))
            assert found.boxes.shape == (8, time, 4)
            assert (boxes[..., :2] < boxes[..., 2:]).all()
            assert boxes.shape[:-1] == scores.shape
        else:
            scores, others = (recipe.attended(batch.video, text) for text in (batch.text, other))
            assert scores.shape == (8, time * height * width)
            row, column = divmod(int(scores[3, : height * width].argmax()), width)
            assert found.places[3, 0].tolist() == [(column + 0.5) / width, (row + 0.5) / height]
            assert (scores >= 0).all()
        assert not torch.allclose(scores, others), "it looks where it is told"


def test_padding_attends_to_nothing(vocabulary, batch):
    recipe = build("clover", vocabulary).eval()
    text = batch.text
    n = int(text.layout.valid[0].sum())
    short = text._replace(
        tokens=text.tokens[:1, :n], layout=type(text.layout)(*(x[:1, :n] for x in text.layout))
    )
    with torch.no_grad():
        whole = recipe.attended(batch.video[:1], text.select(slice(0, 1)))
        assert torch.allclose(whole, recipe.attended(batch.video[:1], short), atol=1e-6)
        assert 0 < whole.sum().item() < 1, "words look at each other too"
