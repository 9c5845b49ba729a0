"""Probes of frozen features on planted ones, against naive fits and another classifier of scikit-learn."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted import gallery, numbers
from sklearn.linear_model import LogisticRegression
from small import FRAMES, SIZE, build, recipe_names

from workbench.tasks import probe
from workbench.tasks.gallery import Judged
from workbench.tasks.gallery import gallery as gallery_of
from workbench.tasks.probe import evaluate, linear, neighbours

TRAIN, TEST = 90, 30
RNG = np.random.default_rng(0)
COLOURS = RNG.choice(["red", "green", "blue"], TRAIN + TEST, p=[0.5, 0.3, 0.2])
LABELS = RNG.integers(1, 5, TRAIN + TEST)


class Frozen:
    """Its video encoder gives each clip a row of a table, [N, D]."""

    def __init__(self, table):
        self.table, self.seen = torch.as_tensor(table, dtype=torch.float32), []

    def encoders(self):
        return {"video": self.encode}

    def encode(self, video):
        clip, _ = numbers(video)
        self.seen += clip.tolist()
        return SimpleNamespace(pooled=self.table[clip])


def planted(attributes=None, labels=LABELS):
    """A store of 90 training clips and the gallery of its 30 others."""
    part = gallery(np.arange(TRAIN + TEST))
    store = SimpleNamespace(
        frames=part.store.frames,
        splits={"train": SimpleNamespace(clips=np.repeat(np.arange(TRAIN), 2))},  # two captions a clip
        attributes={"colour": list(COLOURS)} if attributes is None else attributes,
        labels=labels,
    )
    return replace(part, store=store, clips=np.arange(TRAIN, TRAIN + TEST), clip_ids=part.clip_ids[TRAIN:])


def found_of(table, part=None, kind=Frozen):
    return evaluate(Judged(kind(table), part or planted()))


def one_hot(values):
    return (np.asarray(values)[:, None] == np.unique(values)[None]).astype(float)


def blobs(classes, width=6, seed=0, spread=0.3):
    """Features [N, D] around a centre for each class."""
    rng = np.random.default_rng(seed)
    kinds, number = np.unique(classes, return_inverse=True)
    return rng.standard_normal((len(kinds), width))[number] + spread * rng.standard_normal(
        (len(classes), width)
    )


def test_features_that_hold_the_answer_are_read_and_others_are_not():
    values = found_of(one_hot(COLOURS)).values
    assert values["probe_colour_linear"] == values["probe_colour_knn"] == 100.0
    assert values["probe_label_linear"] < 60
    values = found_of(one_hot(LABELS)).values
    assert values["probe_label_linear"] == values["probe_label_knn"] == 100.0
    assert values["probe_colour_linear"] < 70


def test_features_that_hold_nothing_give_the_commonest_value():
    values = found_of(np.ones((TRAIN + TEST, 4))).values
    commonest = 100 * (COLOURS[TRAIN:] == "red").mean()
    assert values["probe_colour_linear"] == values["probe_colour_majority"] == pytest.approx(commonest)
    assert values["probe_colour_chance"] == pytest.approx(100 / 3)
    assert values["probe_label_chance"] == pytest.approx(25)


def test_pixels_are_probed_beside_the_features():
    part = planted()
    part.store.frames[..., 2] = 80 * (np.unique(COLOURS, return_inverse=True)[1] + 1)[:, None, None, None]
    values = found_of(np.ones((TRAIN + TEST, 4)), part).values
    assert values["probe_colour_pixels"] == 100.0
    assert values["probe_colour_linear"] < 100.0
    assert values["probe_label_pixels"] < 60


def test_the_mean_frame_knows_no_order():
    part = planted()
    before = probe.small_frames(Judged(Frozen(np.ones((120, 1))), part))
    part.store.frames[:] = part.store.frames[:, ::-1].copy()
    assert np.array_equal(probe.small_frames(Judged(Frozen(np.ones((120, 1))), part)), before)
    assert before.shape == (TEST, 8 * 8 * 3)


class TestLinear:
    def test_it_is_a_ridge_whose_penalty_leaves_one_out_best(self):
        """By refitting without each clip in turn, for each penalty, as nobody would in earnest."""
        right = COLOURS[:40]
        train, asked = (blobs(COLOURS, spread=2.0)[rows] for rows in (slice(40), slice(40, 120)))
        mean, sd = train.mean(0), train.std(0)
        x, y, z = (train - mean) / sd, 2 * one_hot(right) - 1, (asked - mean) / sd

        def fit(rows, penalty):
            centre = x[rows].mean(0), y[rows].mean(0)
            a, b = x[rows] - centre[0], y[rows] - centre[1]
            w = np.linalg.solve(a.T @ a + penalty * np.eye(x.shape[1]), a.T @ b)
            return lambda points: (points - centre[0]) @ w + centre[1]

        rows = np.arange(40)
        errors = {
            penalty: sum(((fit(rows != i, penalty)(x[i]) - y[i]) ** 2).sum() for i in rows)
            for penalty in probe.PENALTIES
        }
        best = min(errors, key=errors.get)
        assert best not in (probe.PENALTIES[0], probe.PENALTIES[-1]), "a choice that could be another"
        expected = np.unique(right)[fit(rows >= 0, best)(z).argmax(1)]
        assert linear(train, right, asked).tolist() == expected.tolist()

    def test_it_agrees_with_logistic_regression_where_classes_are_apart(self):
        features = blobs(LABELS)
        train, asked = features[:TRAIN], features[TRAIN:]
        other = LogisticRegression(max_iter=1000).fit(train, LABELS[:TRAIN]).predict(asked)
        assert linear(train, LABELS[:TRAIN], asked).tolist() == other.tolist() == LABELS[TRAIN:].tolist()

    def test_the_scale_of_a_feature_does_not_matter(self):
        features = blobs(COLOURS, spread=1.0)
        scaled = features * 10.0 ** np.arange(-3, 3) + 5
        answers = [linear(x[:TRAIN], COLOURS[:TRAIN], x[TRAIN:]).tolist() for x in (features, scaled)]
        assert answers[0] == answers[1]


class TestNeighbours:
    @pytest.mark.parametrize("train", [5, 20, 90])
    def test_they_vote_as_a_naive_loop_says(self, train):
        features = blobs(COLOURS, spread=1.5)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        expected = []
        for one in unit[TRAIN:]:
            nearest = sorted(((float(one @ unit[i]), COLOURS[i]) for i in range(train)), reverse=True)[:20]
            votes = dict.fromkeys(COLOURS, 0.0)
            for cosine, colour in nearest:
                votes[colour] += np.exp(cosine / 0.07)
            expected.append(max(votes, key=votes.get))
        found = neighbours(features[:train], COLOURS[:train], features[TRAIN:])
        assert found.tolist() == expected
        assert len(set(expected)) > 1

    def test_near_ones_count_more(self):
        """One neighbour in the same direction against nineteen at an angle."""
        train = np.array([[1.0, 0.0]] + [[1.0, 0.8]] * 19)
        right = np.array([1] + [2] * 19)
        assert neighbours(train, right, np.array([[1.0, 0.0]])).tolist() == [1]
        assert neighbours(train, right, np.array([[1.0, 0.5]])).tolist() == [2]


def test_at_most_so_many_training_clips_are_read_always_the_same(monkeypatch):
    monkeypatch.setattr(probe, "CLIPS", 12)
    seen = []
    for table in (one_hot(COLOURS), one_hot(LABELS)):
        model = Frozen(table)
        evaluate(Judged(model, planted()))
        seen.append(model.seen)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 12 + TEST
    assert sorted(set(seen[0][:12])) == seen[0][:12]
    assert max(seen[0][:12]) < TRAIN
    assert seen[0][12:] == list(range(TRAIN, TRAIN + TEST))


def test_what_is_not_known_is_left_out_and_what_was_never_seen_is_missed():
    colours = list(COLOURS)
    colours[3] = colours[TRAIN] = None
    colours[TRAIN + 1] = "pink"
    table = one_hot([str(colour) for colour in colours])
    labels = np.where(np.arange(TRAIN + TEST) % 2, LABELS, 0)
    part = planted({"colour": colours, "shape": ["star"] * 120, "mood": ["glad"] * 60 + ["sad"] * 60}, labels)
    found = found_of(table, part)
    arrays = found.files["probe.npz"]
    assert arrays["colour_id"].tolist() == part.clip_ids[1:]
    assert arrays["colour_linear"].tolist() == [0.0] + [100.0] * 28
    assert found.values["probe_colour_chance"] == pytest.approx(100 / 3)
    assert arrays["label_id"].tolist() == part.clip_ids[1::2]
    assert not any(name.startswith(("probe_shape", "probe_mood")) for name in found.values), (
        "one value, no name"
    )


def test_features_of_a_recipe_that_has_its_own_are_the_mean_of_its_tokens():
    class Own(Frozen):
        def features(self, video):
            tokens = self.encode(video).pooled[:, None]
            return torch.cat([tokens - 1, tokens + 3], 1)  # [B, 2, D]

    table = one_hot(COLOURS)
    found = probe.features(Judged(Own(table), planted()))
    assert np.allclose(found, table[TRAIN:] + 1)
    assert np.allclose(probe.features(Judged(Frozen(table), planted())), table[TRAIN:])


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_features(name, store, vocabulary):
    part = gallery_of(store, "test", vocabulary.encode(store.splits["test"].captions))
    assert store.frames.shape[1:3] == (FRAMES, SIZE)
    found = probe.features(Judged(build(name, vocabulary).eval(), part))
    assert found.shape == (len(part.clips), 64 if name == "internvideo" else 32), "of both encoders"
    assert found.dtype == np.float32
    assert len(np.unique(found.round(3), axis=0)) == len(found), "other clips, other features"


def test_what_is_not_finite_is_refused():
    table = one_hot(COLOURS)
    table[TRAIN + 5] = np.nan
    with pytest.raises(FloatingPointError, match="diverged"):
        found_of(table)


def test_its_metrics_are_named_and_their_queries_give_the_mean():
    found = found_of(blobs(COLOURS, spread=1.0))
    known = {metric.name: metric for metric in probe.METRICS}
    assert set(found.values) <= set(known)
    assert len(found.values) == 10
    for name, value in found.values.items():
        if queries := known[name].queries:
            arrays = found.files[queries.file]
            assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
            assert len(arrays[queries.ids]) == len(arrays[queries.values]) == TEST
        else:
            assert known[name].counted, "the same in every run"
