"""Dual softmax and the query bank: held against their formulas in loops, and against what they are for."""

import math

import numpy as np
import pytest
import torch
from small import build

from workbench.tasks import dual_softmax, query_bank
from workbench.tasks.gallery import Judged, gallery, ranks, similarities


def scores(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


def test_dual_softmax_is_the_published_formula():
    score = scores(0, 7, 5)
    to_video, to_text = dual_softmax.dual_softmax(score, scale=3.0)
    for i in range(7):
        for j in range(5):
            over_captions = sum(math.exp(3 * float(score[k, j])) for k in range(7))
            over_clips = sum(math.exp(3 * float(score[i, k])) for k in range(5))
            own = float(score[i, j]) * math.exp(3 * float(score[i, j]))
            assert float(to_video[i, j]) == pytest.approx(own / over_captions)
            assert float(to_text[i, j]) == pytest.approx(own / over_clips)


def test_the_query_bank_re_ranks_those_queries_alone_whose_answer_is_a_hub():
    score, bank = scores(1, 9, 6), scores(2, 4, 6)
    found = query_bank.dynamic_inverted_softmax(score, bank, beta=5.0)
    activated = {int(row.argmax()) for row in bank}
    assert 0 < sum(int(row.argmax()) in activated for row in score) < 9, "a test of both kinds"
    for row, ours in zip(score, found, strict=True):
        theirs = [
            math.exp(5 * float(s)) / sum(math.exp(5 * float(b)) for b in bank[:, j])
            for j, s in enumerate(row)
        ]
        wanted = theirs if int(row.argmax()) in activated else row.tolist()
        assert ours.argsort().tolist() == np.argsort(wanted).tolist()


def test_both_undo_a_hub_that_every_caption_finds_most_similar():
    score = 0.4 * torch.eye(6) + 0.1
    score[:, 2] += 0.45  # the hub
    owner = np.arange(6)
    assert (ranks(score, owner).t2v == 1).sum() == 1
    assert (ranks(dual_softmax.dual_softmax(score)[0], owner).t2v == 1).all()
    bank = score + 0.01  # other queries that find the same hub
    assert (ranks(query_bank.dynamic_inverted_softmax(score, bank), owner).t2v == 1).all()


@pytest.mark.parametrize("task", [dual_softmax, query_bank])
def test_a_model_gets_metrics_of_their_own_names_and_ranks_of_every_query(task, store, vocabulary):
    part = store.splits["test"]
    judged = Judged(
        build("mac", vocabulary).eval(),
        gallery(store, "test", vocabulary.encode(part.captions)),
        encode=vocabulary.encode,
    )
    found = task.evaluate(judged)
    names = {metric.name for metric in task.METRICS}
    assert set(found.values) == names
    assert all(name.startswith(task.PREFIX) for name in names)
    assert all("re-ranked by" in metric.label for metric in task.METRICS)
    arrays = found.files[task.FILE]
    assert arrays[f"{task.PREFIX}t2v_id"].tolist() == part.ids
    recall = 100 * (arrays[f"{task.PREFIX}t2v_rank"] <= 5).mean()
    assert recall == pytest.approx(found.values[f"{task.PREFIX}t2v_r5"])


def test_the_bank_is_made_of_the_training_split(store, vocabulary):
    """Of captions for text-to-video, of clips for video-to-text, in the order of their rows."""
    part, train = store.splits["test"], store.splits["train"]
    recipe = build("mac", vocabulary).eval()
    own = gallery(store, "test", vocabulary.encode(part.captions))
    judged = Judged(recipe, own, encode=vocabulary.encode)
    trained = Judged(
        recipe, gallery(store, "train", vocabulary.encode(train.captions)), encode=vocabulary.encode
    )
    video, text = judged.embed_videos(), judged.embed_texts()
    score = similarities(video, text)
    to_video = query_bank.dynamic_inverted_softmax(score, similarities(video, trained.embed_texts()))
    to_text = query_bank.dynamic_inverted_softmax(score.T, similarities(trained.embed_videos(), text).T).T
    arrays = query_bank.evaluate(judged).files[query_bank.FILE]
    assert arrays["qbnorm_t2v_rank"].tolist() == ranks(to_video, own.owner).t2v.tolist()
    assert arrays["qbnorm_v2t_rank"].tolist() == ranks(to_text, own.owner).v2t.tolist()
