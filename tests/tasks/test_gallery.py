"""Retrieval metrics against naive loops, ties and odd galleries included."""

import numpy as np
import pytest
import torch

from workbench.data.store import FrameStore, Split
from workbench.tasks import gallery as module
from workbench.tasks.gallery import Judged, Ranks, gallery, rank_metrics, ranks, similarities


def naive(video, text, owner):
    """Ranks by counting, one query at a time; whatever scores at least as well comes first."""
    score = (text.double() @ video.double().T).tolist()
    t2v = []
    for q, row in enumerate(score):
        right = row[owner[q]]
        t2v.append(1 + sum(s >= right for v, s in enumerate(row) if v != owner[q]))
    v2t = []
    for v in range(len(video)):
        best = max(score[q][v] for q in range(len(text)) if owner[q] == v)
        v2t.append(1 + sum(score[q][v] >= best for q in range(len(text)) if owner[q] != v))
    return t2v, v2t


def whole_numbers(*shape, seed=0):
    """Few values and exact sums, so that there are many ties and no rounding."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clips", [1, 2, 9])
def test_ranks_equal_the_naive_count_with_ties_and_several_captions(clips, seed):
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(clips), rng.integers(0, clips, 2 * clips)])
    rng.shuffle(owner)
    video, text = whole_numbers(clips, 3, seed=seed), whole_numbers(len(owner), 3, seed=seed + 50)
    found = ranks(similarities(video, text), owner)
    t2v, v2t = naive(video, text, owner)
    assert found.t2v.tolist() == t2v
    assert found.v2t.tolist() == v2t
    assert found.t2v.dtype == found.v2t.dtype == np.int32


@pytest.mark.parametrize("clips", [2, 37, 501])
def test_a_model_that_tells_nothing_apart_ranks_last(clips):
    one = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(0)), dim=0)
    same = one.expand(clips, -1).contiguous()
    found = ranks(similarities(same, same), np.arange(clips))
    assert set(found.t2v.tolist()) == set(found.v2t.tolist()) == {clips}
    assert rank_metrics(found)["t2v_r1"] == 0


def test_a_perfect_model_ranks_first():
    found = ranks(similarities(torch.eye(20), torch.eye(20)), np.arange(20))
    assert rank_metrics(found) == {
        f"{d}_{m}": v
        for d in ("t2v", "v2t")
        for m, v in {"r1": 100.0, "r5": 100.0, "r10": 100.0, "medr": 1.0, "meanr": 1.0}.items()
    }


def test_a_gallery_of_one_is_always_right():
    found = ranks(similarities(torch.ones(1, 4), torch.ones(3, 4)), np.zeros(3, dtype=np.int64))
    assert found.t2v.tolist() == [1, 1, 1]
    assert found.v2t.tolist() == [1]


def test_a_clips_other_captions_do_not_compete_with_its_best():
    video = torch.eye(2)
    text = torch.tensor([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.1, 0.9]])
    assert ranks(similarities(video, text), np.array([0, 0, 0, 1])).v2t.tolist() == [1, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_and_never_a_rank(bad):
    video = torch.eye(3)
    video[1, 1] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        ranks(similarities(video, torch.eye(3)), np.arange(3))


def test_metrics_are_percentages_and_ranks():
    found = Ranks(np.array([1, 2, 5, 6, 10, 11], np.int32), np.array([1, 3], np.int32))
    out = rank_metrics(found)
    assert out["t2v_r1"] == pytest.approx(100 / 6)
    assert out["t2v_r5"] == pytest.approx(50)
    assert out["t2v_r10"] == pytest.approx(500 / 6)
    assert out["t2v_medr"] == 5.5
    assert out["t2v_meanr"] == pytest.approx(35 / 6)
    assert out["v2t_r1"] == 50
    assert all(isinstance(value, float) for value in out.values())


class Numbered(torch.nn.Module):
    """Embeds a clip as its first pixel and a caption as its first token."""

    def embed_video(self, video):
        return video[:, 0, 0, 0, :1].float()

    def embed_text(self, text):
        return text.tokens[:, :1].float()


def test_the_gallery_holds_every_clip_once_in_order(store: FrameStore, vocabulary):
    part = store.splits["test"]
    found = gallery(store, "test", vocabulary.encode(part.captions))
    assert found.clips.tolist() == sorted(set(part.clips.tolist()))
    assert [found.clip_ids[i] for i in found.owner] == part.groups
    assert found.caption_ids == part.ids
    assert len(part) > len(found.clips), "some clips have two captions"


@pytest.mark.parametrize("size", [1, 4, 128])
def test_everything_is_embedded_in_order_whatever_the_batch(store, vocabulary, size, monkeypatch):
    part: Split = store.splits["test"]
    found = gallery(store, "test", vocabulary.encode(part.captions))
    monkeypatch.setattr(module, "BATCH", size)
    looks = []
    judged = Judged(Numbered(), found, between=lambda: looks.append(None))
    video, text = judged.embed_videos(), judged.embed_texts()
    assert len(looks) == -(-len(found.clips) // size) + -(-len(found.captions) // size)
    assert video[:, 0].tolist() == [float(store.frames[i, 0, 0, 0, 0]) for i in found.clips]
    assert text[:, 0].tolist() == found.text.tokens[:, 0].tolist()
    assert video.dtype == text.dtype == torch.float32
