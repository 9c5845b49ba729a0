"""The tests of order on planted models: what knows the order is right each time, what ignores it is not."""

import functools
from collections import Counter
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted import gallery, numbers

from workbench.config import DataConfig
from workbench.data import read_index
from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, ParsedCaption, backwards, parse, say, swapped
from workbench.errors import UserError
from workbench.recipe.batch import Layout, Text
from workbench.tasks import order, shuffling
from workbench.tasks.gallery import Judged
from workbench.tasks.order import evaluate, foils

FRAMES = 4
SAME = [
    *(("left", "right"), ("right", "left"), ("up", "down")),
    *(("down", "up"), ("grows", "shrinks"), ("shrinks", "grows")),
]
"""Pairs of actions that are the same when they run backwards."""
PAIRS = [*SAME, *(pair for pair in permutations(world.ACTIONS, 2) if pair not in SAME)]
"""All, in both orders: what prefers one order of words is right in half of them."""


def said(number):
    """Clip `number` shows pair `number`; seven clips each have everything else in common."""
    first, second = PAIRS[number]
    colour, shape = list(world.COLOURS)[number // 7], list(world.SHAPES)[number // 7 % 6]
    parts = {"colour": colour, "shape": shape, "first": first, "second": second, "background": "grid"}
    return ParsedCaption(number % 3, parts, dict.fromkeys(WORDS, 0))


class Heard:
    """A tokenizer whose tokens are the numbers of all captions that it was ever given."""

    def __init__(self):
        self.captions = []

    def encode(self, captions):
        tokens = torch.arange(len(self.captions), len(self.captions) + len(captions))[:, None]
        self.captions += captions
        valid = torch.ones_like(tokens, dtype=torch.bool)
        return Text(tokens, Layout(valid, tokens, valid))


def seen(number, times):
    """What is true of clip `number` when its frames come at these times; nothing happens in one frame."""
    one = said(number)
    if times == (1, 1, 1, 1):  # the end of the first half
        return {slot: value for slot, value in one.parts.items() if slot not in ("first", "second")}
    return {(0, 1, 2, 3): one, (3, 2, 1, 0): backwards(one), (2, 3, 0, 1): swapped(one)}[times].parts


class Knows:
    """Embeds what is true of clips and what captions say, a place for each value of each slot."""

    ordered = True

    def __init__(self, heard):
        self.heard = heard
        self.said = functools.cache(lambda token: self.vector(parse(heard.captions[token]).parts))
        self.shown = functools.cache(lambda clip, times: self.vector(seen(clip, times)))

    def vector(self, parts):
        """[5 * 8]; without an order the two actions share their places."""
        places = torch.zeros(5, 8)
        for i, (slot, values) in enumerate(WORDS.items()):
            if parts.get(slot):
                shared = slot == "second" and not self.ordered
                places[i - shared, list(values).index(parts[slot])] += 1
        return places.flatten() / 5**0.5

    def embed_video(self, video):
        clips, times = numbers(video)
        pairs = zip(clips.tolist(), map(tuple, times.tolist()), strict=True)
        return torch.stack([self.shown(*pair) for pair in pairs])

    def embed_text(self, text):
        return torch.stack([self.said(token) for token in text.tokens[:, 0].tolist()])


class Unordered(Knows):
    """Sees and hears which two actions there are, and not which one is first."""

    ordered = False


class Orderless(Unordered):
    """It does not even know which way time goes: it sees the actions of the clip as it was, in any order."""

    def embed_video(self, video):
        _, times = numbers(video)
        if times.unique(dim=1).shape[1] == FRAMES:
            video = video.gather(1, times.argsort(1)[..., None, None, None].expand_as(video))
        return super().embed_video(video)


class Habit(Unordered):
    """Unordered, with a liking of its own for captions whose actions come in alphabetical order."""

    def embed_video(self, video):
        found = super().embed_video(video)
        return torch.cat([found, torch.ones(len(found), 1)], 1)

    def embed_text(self, text):
        parts = [parse(self.heard.captions[t]).parts for t in text.tokens[:, 0]]
        liked = torch.tensor([[0.01 * (p["first"] < p["second"])] for p in parts])
        return torch.cat([super().embed_text(text), liked], 1)


class Numbered(Knows):
    """Knows clips and their own captions by heart, whatever the frames."""

    def embed_video(self, video):
        return torch.eye(56)[numbers(video)[0]]

    def embed_text(self, text):
        return torch.eye(57)[text.tokens[:, 0].clamp(max=56), :56]


class Pairs:
    """The same as a judge of pairs."""

    def __init__(self, model):
        self.model = model

    def match(self, video, text):
        return (self.model.embed_video(video) * self.model.embed_text(text)).sum(1)


def asked(kind, way="embeds", captions=None, clips=56):
    """What the task finds about a planted model; `captions` instead of the clips' own."""
    heard = Heard()
    captions = captions or [say(*said(v)) for v in range(clips)]
    part = replace(gallery(np.arange(clips), FRAMES), captions=captions, text=heard.encode(captions))
    model = kind(heard)
    return part, evaluate(Judged(model if way == "embeds" else Pairs(model), part, encode=heard.encode))


ALL = ("order_pairs", *(f"foils_{slot}" for slot in WORDS), "foils", "order_halves", "order_reversal")
WAYS = pytest.mark.parametrize("way", ["embeds", "judges"])


@WAYS
def test_a_model_that_knows_the_order_is_right_each_time(way):
    _, found = asked(Knows, way)
    assert {name: found.values[name] for name in ALL} == dict.fromkeys(ALL, 100.0)


@WAYS
def test_a_model_that_knows_no_order_is_right_about_everything_else(way):
    _, found = asked(Orderless, way)
    blind = dict.fromkeys(("order_pairs", "order_halves", "order_reversal"), 0.0)
    assert {name: found.values[name] for name in ALL} == dict.fromkeys(ALL, 100.0) | blind
    _, found = asked(Unordered, way)
    assert {name: found.values[name] for name in ALL} == dict.fromkeys(ALL, 100.0) | blind | {
        "order_reversal": 96.0  # that what rose sinks tells the two apart, but not where one spins and blinks
    }


@WAYS
def test_a_liking_for_an_order_of_words_is_right_in_half_of_the_pairs(way):
    _, found = asked(Habit, way)
    assert found.values["order_pairs"] == found.values["order_halves"] == 50.0


def test_foils_in_one_part_are_asked_about_that_part():
    class Colourblind(Knows):
        def vector(self, parts):
            return super().vector({slot: value for slot, value in parts.items() if slot != "colour"})

    _, found = asked(Colourblind)
    assert found.values["foils_colour"] == 0.0
    assert found.values["foils_shape"] == found.values["foils_first"] == 100.0
    assert found.values["foils"] == pytest.approx(80.0)


def test_the_best_of_the_foils_counts():
    class Colourful(Knows):
        """Whatever the clip, the later of two colours is the better one."""

        def embed_video(self, video):
            return torch.ones(len(video), 1)

        def embed_text(self, text):
            said = [parse(self.heard.captions[token]).parts for token in text.tokens[:, 0]]
            return torch.tensor([[float(list(world.COLOURS).index(parts["colour"]))] for parts in said])

    _, found = asked(Colourful)
    place = list(world.COLOURS).index
    wrong = [
        [place(parse(one).parts["colour"]) for one in column]
        for column in foils(list(map(said, range(56))))[:4]
    ]
    right = [place(said(v).parts["colour"]) for v in range(56)]
    expected = np.array(right) > np.max(wrong, 0)
    assert found.files["order.npz"]["foils_colour"].tolist() == np.where(expected, 100.0, 0.0).tolist()
    assert 0 < expected.sum() < 56
    assert found.values["foils_shape"] == 0.0, "all the same to it"


def test_the_reversal_is_asked_where_it_is_another_caption():
    part, found = asked(Knows)
    arrays = found.files["order.npz"]
    assert arrays["reversal_id"].tolist() == arrays["id"].tolist()[6:] == part.caption_ids[6:]
    assert len(arrays["order_reversal"]) == 50
    assert len(arrays["order_halves"]) == 56
    _, found = asked(Knows, clips=6)
    assert "order_reversal" not in found.values, "none of these has another caption"
    assert found.values["order_pairs"] == 100.0


@WAYS
def test_one_frame_repeated_shows_no_actions_to_tell_clips_apart_by(way):
    _, found = asked(Knows, way)
    for side in ("t2v", "v2t"):
        assert found.values[f"still_{side}_r1"] == 0.0, "six others look the same"
        assert found.values[f"still_drop_{side}_r1"] == 100.0
    _, found = asked(Numbered, way)
    for side in ("t2v", "v2t"):
        assert found.values[f"still_{side}_r1"] == 100.0
        assert found.values[f"still_drop_{side}_r1"] == 0.0


def test_captions_of_other_words_are_left_out_and_nothing_else_is_refused():
    captions = [say(*said(v)) for v in range(56)]
    part, found = asked(Numbered, captions=["a dog barks", *captions[1:]])
    assert found.files["order.npz"]["id"].tolist() == part.caption_ids[1:]
    with pytest.raises(UserError, match="as in moving_shapes, and films has none"):
        evaluate(
            Judged(None, replace(part, captions=["a dog barks"] * 56, store=SimpleNamespace(name="films")))
        )


def test_foils_differ_in_one_part_and_are_not_known_by_their_words():
    real = [parse(clip.captions[0]) for clip in read_index(DataConfig(clips=512), None).clips]
    table = foils(real)
    assert len(table) == len(WORDS) * 4
    second = Counter()
    for i, slot in enumerate(WORDS):
        for one, *wrong in zip(real, *table[4 * i : 4 * i + 4], strict=True):
            others = [parse(caption) for caption in wrong]
            assert len({other.parts[slot] for other in others} | {one.parts[slot]}) == 5
            for other in others:
                assert [name for name in WORDS if other.parts[name] != one.parts[name]] == [slot]
                assert other.template == one.template
                assert other.parts["first"] != other.parts["second"]
                if len(WORDS[slot][other.parts[slot]]) == 2:
                    second[slot, other.words[slot]] += 1
    for slot in ("shape", "first", "second", "background"):
        few, many = sorted((second[slot, 0], second[slot, 1]))
        assert few / (few + many) > 0.45, "of two words one is as good as the other"
    assert foils(real) == table
    assert [column[:9] for column in table] == foils(real[:9]), (
        "no clip changes the foils of others before it"
    )


def watched(frames):
    """The times of the frames that a model is shown, pass by pass, and what the task finds."""
    times = []

    class Watched(Numbered):
        def embed_video(self, video):
            times.append(numbers(video)[1][0].tolist())
            return super().embed_video(video)

    heard = Heard()
    captions = [say(*said(v)) for v in range(56)]
    part = replace(gallery(np.arange(56), frames), captions=captions, text=heard.encode(captions))
    return times, evaluate(Judged(Watched(heard), part, encode=heard.encode))


def test_a_clip_of_one_frame_is_not_changed_in_time():
    times, found = watched(1)
    assert times == [[0]]
    assert set(found.values) == {"order_pairs", "foils", *(f"foils_{slot}" for slot in WORDS)}
    assert set(found.files) == {"order.npz"}
    assert not [name for name in found.files["order.npz"] if "reversal" in name or "halves" in name]


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_frames_are_exchanged_and_reversed_in_clips_of_any_length(frames):
    times, _ = watched(frames)
    plain = list(range(frames))
    halves = {2: [1, 0], 3: [1, 2, 0], 5: [2, 3, 4, 0, 1]}[frames]
    assert times == [plain, halves, plain[::-1], plain, [(frames - 1) // 2] * frames]


@pytest.mark.parametrize("task", [order, shuffling])
def test_scores_that_nothing_has_trained_are_not_compared(task):
    heard = Heard()
    captions = [say(*said(v)) for v in range(56)]
    part = replace(gallery(np.arange(56), FRAMES), captions=captions, text=heard.encode(captions))
    for model, ability in ((Knows(heard), "embed_video"), (Pairs(Knows(heard)), "match")):
        judged = Judged(model, part, untrained=frozenset({ability}), encode=heard.encode)
        found = task.evaluate(judged)
        assert found.values == found.files == {}


@WAYS
def test_what_is_not_finite_is_refused(way):
    class Lost(Knows):
        """It can embed the clips' own captions, and no other."""

        def embed_text(self, text):
            return super().embed_text(text) / (text.tokens < 56)

    with pytest.raises(FloatingPointError, match="diverged"):
        asked(Lost, way)


def test_its_metrics_are_named_and_their_queries_give_the_mean():
    part, found = asked(Habit)
    known = {metric.name: metric for metric in order.METRICS}
    assert set(found.values) == set(known)
    for name, value in found.values.items():
        if queries := known[name].queries:
            arrays = found.files[queries.file]
            assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
            assert len(arrays[queries.ids]) == len(arrays[queries.values])
            assert not queries.groups or set(arrays[queries.groups].tolist()) <= set(part.clip_ids)
    assert all(
        metric.chance in (20, 50) and f"chance {metric.chance}" in metric.title
        for name, metric in known.items()
        if not name.startswith("still")
    )
