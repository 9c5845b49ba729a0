"""Temporal grounding on planted models: who knows the times finds them, who sees no steps is at chance."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import planted
import pytest
import torch
from real_runs import quick, real_run
from scenes import Words
from small import FRAMES, SIZE

from workbench.config import DataConfig
from workbench.data import describe, prepare
from workbench.data.moving_shapes_timed import layouts
from workbench.data.sampling import edges
from workbench.data.store import FrameStore, Split
from workbench.tasks import grounding
from workbench.tasks.gallery import Judged
from workbench.tasks.grounding import evaluate, levels, overlap, points, windows

FRAMES_OF_A_CLIP = 8
TIMES = [(0.0, 0.25), (0.5, 0.875), (0.25, 1.0), (0.125, 0.5), (0.75, 1.0), (0.0, 0.625)]


class Embeds:
    """Embeds a query as the direction of its clip, and a time as that direction where the query is true."""

    def __init__(self, words, heard, steps=FRAMES_OF_A_CLIP):
        self.words, self.heard, self.count = words, heard, steps

    def sees(self, clip, time):
        start, end = TIMES[clip]
        return start <= time < end

    def vectors(self, clips, times):
        """[B, S, E] at times [B, S]."""
        found = torch.zeros(*times.shape, len(TIMES) + 1)
        for b, clip in enumerate(clips.tolist()):
            for s, time in enumerate(times[b].tolist()):
                found[b, s, clip if self.sees(clip, time) else -1] = 1
        return found

    def embed_text(self, text):
        numbers = [self.words.index(self.heard.texts[token]) for token in text.tokens[:, 0].tolist()]
        return torch.eye(len(TIMES) + 1)[numbers]


class Knows(Embeds):
    def embed_steps(self, video):
        clips = planted.numbers(video)[0]
        return self.vectors(clips, ((torch.arange(self.count) + 0.5) / self.count).expand(len(clips), -1))

    def embed_video(self, video):
        raise AssertionError("steps are embedded where they can be")


class ByWindows(Embeds):
    """Embeds whole clips only: the mean of what their frames show."""

    def embed_video(self, video):
        clips, times = planted.numbers(video)
        found = self.vectors(clips, (times + 0.5) / FRAMES_OF_A_CLIP).mean(1)
        return found / found.norm(dim=1, keepdim=True)


class Blind(Knows):
    def sees(self, clip, time):
        return True


def judged(cls, taught=((0.0, 0.5),), **options):
    """Clip v has one query, which is true at TIMES[v]; behind these clips stands one for training."""
    words = [f"query {v}" for v in range(len(TIMES))]
    part = planted.gallery(np.arange(len(TIMES)), frames=FRAMES_OF_A_CLIP)
    timeline = [[[said, *span]] for said, span in zip(words, TIMES, strict=True)]
    timeline.append([["what it was taught", *span] for span in taught])
    behind = np.array([len(TIMES)])
    store = SimpleNamespace(
        name="planted",
        frames=part.store.frames,
        clip_ids=[*part.clip_ids, "train0"],
        attributes={"timeline": timeline},
        splits={"train": Split(behind, ["caption"], ["train0#0"], ["train0"])},
    )
    heard = Words()
    return Judged(cls(words, heard, **options), replace(part, store=store), encode=heard.encode)


def naive(a, b):
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return common / (a[1] - a[0] + b[1] - b[0] - common)


def test_overlap_is_intersection_over_union():
    segments, truth = np.array([(0.0, 0.5), (0.25, 1.0), (0.0, 1.0)]), np.array([(0.0, 0.5), (0.5, 0.75)])
    found = overlap(segments, truth)
    assert found == pytest.approx(np.array([[naive(s, t) for s in segments] for t in truth]))
    assert found[0, 0] == 1
    assert found[1, 0] == 0
    (r1,) = (table["r1_iou50"] for table in [points(np.array([[0.49, 0.5, 1.0]]))])
    assert r1.tolist() == [[0, 100, 100]]


def test_the_baselines_of_the_drawn_world_are_those_of_its_layouts():
    """Computed once before, by loops over all layouts: any segment of 16 frames, and the best one of each."""
    truth = np.array([span for times in layouts() for span in times]) / 16
    segments = np.stack(np.triu_indices(17, 1), 1) / 16
    tables = points(overlap(segments, truth))
    chance = [tables[name].mean() for name in ("r1_iou30", "r1_iou50", "r1_iou70", "miou")]
    best = [tables[name].mean(0).max() for name in ("r1_iou30", "r1_iou50", "r1_iou70", "miou")]
    assert chance == pytest.approx([34.5, 16.4, 4.5, 21.8], abs=0.05)
    assert best == pytest.approx([57.3, 32.5, 13.0, 30.7], abs=0.05)


def test_the_best_segment_is_that_of_the_closest_two_levels():
    similarity = np.random.default_rng(0).random((20, 6))
    found, pairs = levels(similarity), np.stack(np.triu_indices(7, 1), 1).tolist()
    for row, own in zip(similarity, found, strict=True):
        errors = {}
        for (start, end), value in zip(pairs, own, strict=True):
            inside = (np.arange(6) >= start) & (np.arange(6) < end)
            if inside.all():
                assert value == 0
                continue
            high, low = row[inside].mean(), row[~inside].mean()
            assert value == pytest.approx((high - low) * np.sqrt(inside.sum() * (~inside).sum()))
            if high > low:
                errors[start, end] = ((row - np.where(inside, high, low)) ** 2).sum()
        assert min(errors, key=errors.get) == tuple(pairs[own.argmax()])


def test_who_knows_the_times_finds_them_all():
    found = evaluate(judged(Knows))
    assert {name: found.values[f"grounding_{name}"] for name in grounding.LABELS} == dict.fromkeys(
        grounding.LABELS, 100.0
    )
    arrays = found.files[grounding.FILE]
    assert list(zip(arrays["found_start"], arrays["found_end"], strict=True)) == TIMES
    assert arrays["query"].tolist() == [f"query {v}" for v in range(len(TIMES))]


def test_coarse_steps_have_a_ceiling():
    found = evaluate(judged(Knows, steps=2)).values
    assert found["grounding_miou"] <= found["grounding_miou_ceiling"] < 100
    halves = [(0.0, 0.5), (0.5, 1.0), (0.0, 1.0)]
    expected = np.mean([[naive(half, span) for half in halves] for span in TIMES], axis=0)
    assert found["grounding_miou_chance"] == pytest.approx(100 * expected.mean())
    ceiling = np.mean([max(naive(half, span) for half in halves) for span in TIMES])
    assert found["grounding_miou_ceiling"] == pytest.approx(100 * ceiling)


def test_who_sees_no_difference_between_steps_is_at_chance():
    found = evaluate(judged(Blind)).values
    for name in grounding.LABELS:
        assert found[f"grounding_{name}"] == pytest.approx(found[f"grounding_{name}_chance"])


def test_the_prior_is_what_suits_the_training_clips():
    for taught in ((0.0, 0.5), (0.75, 1.0)):
        found = evaluate(judged(Blind, taught=(taught,))).values
        expected = np.mean([naive(taught, span) for span in TIMES])
        assert found["grounding_miou_prior"] == pytest.approx(100 * expected)
    assert "grounding_miou_prior" not in evaluate(judged(Blind, taught=())).values


def test_whoever_embeds_clips_only_is_shown_windows():
    assert windows(8)[[0, 3, 7]].tolist() == [
        [0, 0, 0, 0, 0, 0, 1, 1],
        [2, 2, 2, 3, 3, 3, 4, 4],
        [6, 6, 6, 7, 7, 7, 7, 7],
    ]
    assert windows(16)[8].tolist() == sorted([6, 7, 8, 9, 10] * 3 + [6])
    assert windows(4).tolist() == [[t] * 4 for t in range(4)]
    values = evaluate(judged(ByWindows)).values
    assert values["grounding_miou"] > 75 > values["grounding_miou_prior"] + 20
    assert values["grounding_miou_ceiling"] == 100, "a step is a frame"


def test_nothing_is_measured_where_embeddings_mean_nothing():
    untrained = replace(judged(Knows), untrained=frozenset({"embed_video"}))
    assert evaluate(untrained).values == {}


def test_a_diverged_model_is_an_error():
    class Diverged(Knows):
        def embed_steps(self, video):
            return super().embed_steps(video) * float("nan")

    with pytest.raises(FloatingPointError):
        evaluate(judged(Diverged))


def test_frames_begin_where_they_are_taken():
    assert edges(4).tolist() == edges(16, DataConfig(frames=4)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    window = DataConfig(frames=4, stored=16, sampling="contiguous", stride=2)
    assert edges(16, window).tolist() == [0.25, 0.375, 0.5, 0.625, 0.75], "frames 4, 6, 8 and 10 of 16"


@pytest.mark.parametrize("recipe", ["locvtp", "mac"], ids=["steps", "windows"])
def test_a_run_on_the_drawn_world_is_grounded(tmp_path, monkeypatch, recipe):
    data = describe(DataConfig(name="moving_shapes_timed", clips=24, frames=FRAMES, size=SIZE)).data
    store = FrameStore.open(prepare(data, root=tmp_path / "data", progress=False))
    config = quick(recipe, data=data, tasks=("retrieval", "grounding"))
    run, code = real_run(monkeypatch, tmp_path, config, {data: store})
    assert code == 0
    summary = run.read_json("summary.json")
    for metric in grounding.METRICS:
        assert 0 <= summary[f"test/{metric.name}"] <= 100
        if metric.queries is not None:
            values = run.read_arrays(metric.queries.file, metric.queries.values)[0]
            assert values.shape == (8,), "two queries about each of four clips"
            assert values.mean() == pytest.approx(summary[f"test/{metric.name}"])
