"""Classes by their captions: what knows a part is right about it, what is blind to order half of the time."""

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted import gallery, numbers

from workbench.data.index import known_of_all
from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, parse
from workbench.recipe.batch import Layout, Text
from workbench.tasks import classification
from workbench.tasks.classification import PROMPTS, evaluate, prompts, texts
from workbench.tasks.gallery import Judged

PAIRS = list(permutations(world.ACTIONS, 2))
CLIPS, TRAIN = 3 * len(PAIRS), 2 * len(PAIRS)
"""Each pair of actions three times, the last time to be asked of."""
PARTS = {
    "colour": [list(world.COLOURS)[i % 8] for i in range(CLIPS)],
    "shape": [list(world.SHAPES)[i % 6] for i in range(CLIPS)],
    "first": [PAIRS[i % len(PAIRS)][0] for i in range(CLIPS)],
    "second": [PAIRS[i % len(PAIRS)][1] for i in range(CLIPS)],
    "background": [list(world.BACKGROUNDS)[i // 7 % 8] for i in range(CLIPS)],
}


def store_of(attributes=PARTS, labels=None):
    labels = [f"{a} then {b}" for a, b in PAIRS] * 3 if labels is None else labels
    names = ["", *sorted(set(labels) - {""})]
    return SimpleNamespace(
        name="planted",
        frames=gallery(np.arange(CLIPS)).store.frames,
        splits={"train": SimpleNamespace(clips=np.arange(TRAIN))},
        attributes=attributes,
        label_names=names,
        labels=np.array([names.index(label) for label in labels]),
        known=known_of_all(attributes, labelled=any(labels)),
    )


class Knows:
    """Embeds the parts of clips and of captions; `sees` says which slots, `ordered` which action is first."""

    def __init__(self, sees=tuple(WORDS), ordered=True):
        self.sees, self.ordered, self.heard = sees, ordered, []

    def encode(self, captions):
        tokens = torch.arange(len(self.heard), len(self.heard) + len(captions))[:, None]
        self.heard += captions
        valid = torch.ones_like(tokens, dtype=torch.bool)
        return Text(tokens, Layout(valid, tokens, valid))

    def vector(self, parts):
        places = torch.zeros(5, 8)
        for i, (slot, values) in enumerate(WORDS.items()):
            if slot in self.sees:
                places[i - (slot == "second" and not self.ordered), list(values).index(parts[slot])] += 1
        return places.flatten() / 5**0.5

    def embed_video(self, video):
        clips = numbers(video)[0].tolist()
        return torch.stack([self.vector({name: values[c] for name, values in PARTS.items()}) for c in clips])

    def embed_text(self, text):
        return torch.stack([self.vector(parse(self.heard[token]).parts) for token in text.tokens[:, 0]])


def found_of(model, store=None, **options):
    part = gallery(np.arange(CLIPS))
    clips = np.arange(TRAIN, CLIPS)
    part = replace(part, store=store or store_of(), clips=clips, clip_ids=[f"clip{c}" for c in clips])
    return evaluate(Judged(model, part, encode=model.encode, **options))


def test_what_knows_everything_is_always_right_and_baselines_are_counted():
    found = found_of(Knows())
    for what in classification.WHAT:
        assert found.values[f"prompted_{what}"] == 100, what
        assert found.files["classification.npz"][what].mean() == 100
    known = {**PARTS, "label": [f"{a} then {b}" for a, b in PAIRS] * 3}
    for what, values in known.items():
        names = sorted(set(values[:TRAIN]))
        common = max(names, key=lambda name: (values[:TRAIN].count(name), -names.index(name)))
        share = 100 * values[TRAIN:].count(common) / (CLIPS - TRAIN)
        assert found.values[f"prompted_{what}_majority"] == pytest.approx(share), what
        assert found.values[f"prompted_{what}_chance"] == pytest.approx(100 / len(names))
    assert {m.name for m in classification.METRICS} == set(found.values)


def test_what_knows_one_part_is_right_about_it_alone_and_ties_are_wrong():
    found = found_of(Knows(sees=("colour",))).values
    assert found["prompted_colour"] == 100
    assert found["prompted_label"] < 10
    assert set(found_of(Knows(sees=())).files["classification.npz"]["shape"]) == {0.0}


def test_what_is_blind_to_order_never_tells_a_pair_from_its_reverse():
    """Captions of both are the same but for the words' order, and ties are wrong."""
    found = found_of(Knows(ordered=False)).values
    assert found["prompted_label"] == 0
    assert found["prompted_colour"] == 100


def test_captions_of_a_class_say_it_and_no_clip_has_to_be_there():
    for what, named in prompts(store_of()).items():
        for name, captions in named.items():
            parts = [parse(caption).parts for caption in captions]
            assert len(captions) == PROMPTS
            if what == "label":
                assert {f"{p['first']} then {p['second']}" for p in parts} == {name}
            else:
                assert {p[what] for p in parts} == {name}
                assert len({tuple(p.values()) for p in parts}) > PROMPTS // 2
            assert all(p["first"] != p["second"] for p in parts)
    assert texts(store_of(), "train") == []
    assert len(texts(store_of(), "test")) == PROMPTS * (8 + 6 + 8 + 8 + 8 + len(PAIRS))


def test_classes_without_parts_are_asked_by_name_and_untrained_models_are_not_asked():
    plain = store_of({}, ["walk" if i % 3 else "" for i in range(CLIPS - 1)] + ["run"])
    assert prompts(plain) == {"label": {"run": ["run"], "walk": ["walk"]}}
    assert found_of(Knows(), plain).values == {}, "one class in training"
    assert found_of(Knows(), untrained=frozenset({"embed_video"})).values == {}
