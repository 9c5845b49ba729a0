"""The shuffling test against naive counts, on models that use nothing but the order, or none of it."""

import numpy as np
import pytest
import torch
from planted import Both, gallery, judged, numbers

from workbench.tasks import shuffling
from workbench.tasks.pair_retrieval import fixed_gallery
from workbench.tasks.shuffling import evaluate, orders

FRAMES = 4
OWNER = np.array([3, 0, 1, 1, 2, 4, 5, 6, 6, 7, 8])
CLIPS = 9


class Orderless(Both):
    """Embeds a clip by the set of its frames."""

    def __init__(self):
        super().__init__(np.zeros((len(OWNER), CLIPS)), torch.eye(CLIPS), torch.eye(CLIPS)[OWNER])
        self.times = []

    def embed_video(self, video):
        clip, times = numbers(video)
        self.times.append(times)
        return self.video[clip]


class Ordered(Orderless):
    """Reads of a clip only which of its frames comes first: clip v stands at place (v + that frame)."""

    def embed_video(self, video):
        clip, times = numbers(video)
        self.times.append(times)
        return self.video[(clip + times[:, 0]) % CLIPS]


class Judge:
    """The same two as judges of pairs."""

    def __init__(self, ordered):
        self.ordered, self.pairs = ordered, 0

    def match(self, video, text):
        clip, times = numbers(video)
        self.pairs += len(clip)
        place = (clip + times[:, 0]) % CLIPS if self.ordered else clip
        return (place == text.tokens[:, 1]).float()


def hits(first, rows, clips):
    """Of each caption and each clip whether it is right, one at a time; `first` [V]: the frame in front."""
    place = [(v + int(first[v])) % CLIPS for v in range(CLIPS)]
    score = [[float(place[v] == OWNER[q]) for v in clips] for q in rows]
    t2v, v2t = [], []
    for row, q in zip(score, rows, strict=True):
        own = list(clips).index(OWNER[q])
        t2v.append(not any(row[j] >= row[own] for j in range(len(clips)) if j != own))
    for j, v in enumerate(clips):
        best = max(row[j] for row, q in zip(score, rows, strict=True) if OWNER[q] == v)
        v2t.append(not any(row[j] >= best for row, q in zip(score, rows, strict=True) if OWNER[q] != v))
    return np.array(t2v, float), np.array(v2t, float)


def naive(draws, rows, clips):
    plain = hits(np.zeros(CLIPS), rows, clips)
    shuffled = [hits(orders(CLIPS, FRAMES, draw)[:, 0], rows, clips) for draw in range(draws)]
    return [100 * (plain[i] - np.mean([one[i] for one in shuffled], 0)) for i in (0, 1)]


@pytest.mark.parametrize("recipe", [Orderless, lambda: Judge(False)], ids=["embeds", "judges"])
def test_a_model_that_ignores_order_loses_exactly_nothing(recipe):
    values = evaluate(judged(recipe(), gallery(OWNER, FRAMES))).values
    for side in ("t2v", "v2t"):
        assert values[f"shuffle_drop_{side}_r1"] == 0
        assert (values[f"shuffle_drop_{side}_r1_low"], values[f"shuffle_drop_{side}_r1_high"]) == (0, 0)
        assert values[f"shuffled_{side}_r1"] == 100


@pytest.mark.parametrize("way", ["embeds", "judges"])
def test_a_model_that_reads_only_order_loses_what_a_naive_count_says(way):
    part = gallery(OWNER, FRAMES)
    if way == "embeds":
        recipe, draws, (clips, rows) = Ordered(), 10, (np.arange(CLIPS), np.arange(len(OWNER)))
    else:
        recipe, draws, (clips, rows) = Judge(True), 3, fixed_gallery(OWNER)
    found = evaluate(judged(recipe, part))
    arrays = found.files["shuffling.npz"]
    for side, drop in zip(("t2v", "v2t"), naive(draws, rows, clips), strict=True):
        assert arrays[f"{side}_drop"] == pytest.approx(drop)
        assert found.values[f"shuffle_drop_{side}_r1"] == pytest.approx(drop.mean())
        assert found.values[f"shuffled_{side}_r1"] == pytest.approx(100 - drop.mean()), (
            "unshuffled it is perfect"
        )
        low, high = (found.values[f"shuffle_drop_{side}_r1_{end}"] for end in ("low", "high"))
        assert 0 < low < drop.mean() < high <= 100
    assert arrays["t2v_id"].tolist() == [part.caption_ids[q] for q in rows]
    assert arrays["t2v_group"].tolist() == [part.owners[q] for q in rows]
    assert arrays["v2t_id"].tolist() == [part.clip_ids[v] for v in clips]


@pytest.mark.parametrize("recipe", [Ordered, lambda: Judge(True)], ids=["embeds", "judges"])
def test_a_single_frame_has_no_order_to_lose(recipe):
    values = evaluate(judged(recipe(), gallery(OWNER, 1))).values
    assert {value for name, value in values.items() if "drop" in name} == {0}


def test_ten_draws_of_embeddings_each_with_a_permutation_for_each_clip():
    recipe = Ordered()
    evaluate(judged(recipe, gallery(OWNER, FRAMES)))
    plain, *shuffled = recipe.times  # one batch each
    assert (plain == torch.arange(FRAMES)).all()
    assert len(shuffled) == 10
    for draw, times in enumerate(shuffled):
        assert times.tolist() == orders(CLIPS, FRAMES, draw).tolist()
        assert times.sort(1).values.tolist() == [list(range(FRAMES))] * CLIPS
        assert len({tuple(row) for row in times.tolist()}) > 1, "not one for all clips"
    assert len({tuple(times.flatten().tolist()) for times in shuffled}) == 10


def test_three_draws_of_pairs():
    recipe = Judge(True)
    evaluate(judged(recipe, gallery(OWNER, FRAMES)))
    assert recipe.pairs == (1 + 3) * CLIPS * CLIPS


def test_pairs_of_a_large_split_are_those_of_the_fixed_gallery():
    part = gallery(np.arange(130), FRAMES)

    class Right:
        def match(self, video, text):
            return (numbers(video)[0] == text.tokens[:, 1]).float()

    found = evaluate(judged(Right(), part))
    assert found.values["shuffled_t2v_r1"] == found.values["shuffled_v2t_r1"] == 100
    chosen, rows = fixed_gallery(part.owner)
    assert found.files["shuffling.npz"]["t2v_id"].tolist() == [part.caption_ids[q] for q in rows]
    assert len(chosen) == 100


@pytest.mark.parametrize("owner", [[0], [0, 0, 0]], ids=["one caption", "several"])
@pytest.mark.parametrize("way", ["embeds", "judges"])
def test_a_gallery_of_one_loses_nothing(owner, way):
    class One(Both):
        def __init__(self):
            super().__init__(torch.ones(len(owner), 1), torch.ones(1, 1), torch.ones(len(owner), 1))

    recipe = One() if way == "embeds" else Judge(False)
    values = evaluate(judged(recipe, gallery(owner, FRAMES))).values
    assert values["shuffle_drop_t2v_r1"] == values["shuffle_drop_v2t_r1"] == 0
    assert not any(name.endswith(("_low", "_high")) for name in values), "one clip has no interval"


@pytest.mark.parametrize("recipe", [Orderless, lambda: Judge(True)], ids=["embeds", "judges"])
def test_what_is_not_finite_is_refused(recipe, monkeypatch):
    model = recipe()
    name = "embed_video" if isinstance(model, Both) else "match"
    known = getattr(model, name)
    setattr(model, name, lambda *parts: known(*parts) * float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        evaluate(judged(model, gallery(OWNER, FRAMES)))


def test_its_metrics_are_named_and_their_queries_give_the_mean():
    found = evaluate(judged(Ordered(), gallery(OWNER, FRAMES)))
    known = {metric.name: metric for metric in shuffling.METRICS}
    assert set(found.values) == set(known)
    for name, value in found.values.items():
        if queries := known[name].queries:
            arrays = found.files[queries.file]
            assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
            assert len(arrays[queries.ids]) == len(arrays[queries.values])
