"""Retrieval by judged pairs against naive loops: ties, several captions, small galleries, what it costs."""

import numpy as np
import pytest
import torch
from planted import Both, Matching, gallery, judged, random_vectors

from workbench.tasks import pair_retrieval
from workbench.tasks.pair_retrieval import evaluate, fixed_gallery


def owners(clips, extra, seed):
    """Every clip has a caption, some have more, in any order."""
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(clips), rng.integers(0, clips, extra)])
    rng.shuffle(owner)
    return owner


def planted(clips, extra=0, seed=0):
    """A gallery and a model whose judgements tie often, while its similarities never do."""
    owner = owners(clips, extra, seed)
    table = np.random.default_rng(seed + 1).integers(0, 4, (len(owner), clips))
    video, text = random_vectors(clips, seed), random_vectors(len(owner), seed + 100)
    return gallery(owner), Both(table, video, text)


def naive(part, recipe, candidates=20):
    """One query at a time: rank by similarity; the best are judged, and ties count against the right one."""
    score = (recipe.text.double() @ recipe.video.double().T).float().tolist()
    table, owner = recipe.table.tolist(), part.owner
    clips, captions = range(len(part.clips)), range(len(owner))
    t2v, v2t = [], []
    for q in captions:
        wrong = [v for v in clips if v != owner[q]]
        rank = 1 + sum(score[q][v] >= score[q][owner[q]] for v in wrong)
        if rank <= candidates:
            best = sorted(wrong, key=lambda v: -score[q][v])[: candidates - 1]
            rank = 1 + sum(table[q][v] >= table[q][owner[q]] for v in best)
        t2v.append(rank)
    for v in clips:
        own = max((q for q in captions if owner[q] == v), key=lambda q: score[q][v])
        wrong = [q for q in captions if owner[q] != v]
        rank = 1 + sum(score[q][v] >= score[own][v] for q in wrong)
        if rank <= candidates:
            best = sorted(wrong, key=lambda q: -score[q][v])[: candidates - 1]
            rank = 1 + sum(table[q][v] >= table[own][v] for q in best)
        v2t.append(rank)
    return t2v, v2t


class TestReranking:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(
        ("clips", "extra"), [(60, 0), (45, 50), (20, 0), (21, 3), (7, 9), (2, 1), (2, 0)]
    )
    def test_ranks_are_those_of_a_naive_loop(self, clips, extra, seed):
        part, recipe = planted(clips, extra, seed)
        found = evaluate(judged(recipe, part))
        arrays = found.files["pair_retrieval.npz"]
        t2v, v2t = naive(part, recipe)
        assert arrays["rerank20_t2v_rank"].tolist() == t2v
        assert arrays["rerank20_v2t_rank"].tolist() == v2t
        assert arrays["rerank20_t2v_rank"].dtype == arrays["rerank20_v2t_rank"].dtype == np.int32
        assert found.values["rerank20_t2v_r1"] == pytest.approx(100 * np.mean(np.array(t2v) == 1))
        assert found.values["rerank20_v2t_meanr"] == pytest.approx(np.mean(v2t))
        assert arrays["rerank20_t2v_id"].tolist() == part.caption_ids
        assert arrays["rerank20_t2v_group"].tolist() == part.owners
        assert arrays["rerank20_v2t_id"].tolist() == part.clip_ids

    def test_a_right_answer_that_is_not_proposed_keeps_its_rank(self):
        part, recipe = planted(60)
        recipe.table[np.arange(60), part.owner] = 9.0  # the judge would put every right answer first
        before = [
            1 + sum(row[v] >= row[right] for v in range(60) if v != right)
            for row, right in zip((recipe.text @ recipe.video.T).tolist(), part.owner, strict=True)
        ]
        found = evaluate(judged(recipe, part)).files["pair_retrieval.npz"]["rerank20_t2v_rank"].tolist()
        assert any(rank > 20 for rank in before)
        assert found == [1 if rank <= 20 else rank for rank in before]

    def test_a_judge_that_tells_nothing_apart_puts_the_right_one_last_of_the_proposed(self):
        part, recipe = planted(60)
        recipe.table[:] = 1.0
        found = evaluate(judged(recipe, part)).files["pair_retrieval.npz"]["rerank20_t2v_rank"]
        assert set(found[found <= 20].tolist()) == {20}

    def test_a_perfect_judge_of_perfect_proposals_is_right(self):
        part = gallery(np.arange(5))
        found = evaluate(judged(Both(torch.eye(5), torch.eye(5), torch.eye(5)), part))
        assert {found.values[f"rerank20_{side}_r1"] for side in ("t2v", "v2t")} == {100.0}

    def test_a_gallery_of_one_is_always_right(self):
        one = torch.ones(1, 1)
        found = evaluate(judged(Both(torch.zeros(2, 1), one, one.expand(2, 1)), gallery([0, 0])))
        assert found.values["rerank20_t2v_r1"] == found.values["rerank20_v2t_r1"] == 100.0

    def test_what_it_took_is_recorded(self):
        part, recipe = planted(60, 10)
        found = evaluate(judged(recipe, part))
        pairs = 70 * 20 + 60 * 20
        assert recipe.pairs == found.costs["cost/pair_retrieval_pairs"] == pairs
        similarities = 2 * 70 * 60 * 6
        assert found.costs["cost/pair_retrieval_pflops"] == pytest.approx((2 * pairs + similarities) / 1e15)


class TestFixedGallery:
    def values(self, seed, clips=130, extra=20):
        part = gallery(owners(clips, extra, 3))
        table = np.random.default_rng(seed).integers(0, 6, (len(part.owner), clips))
        recipe = Matching(table)
        return part, recipe, evaluate(judged(recipe, part))

    def test_it_is_the_same_for_any_model_and_has_one_caption_a_clip(self):
        found = []
        for seed in (0, 1):
            part, _, one = self.values(seed)
            arrays = one.files["pair_retrieval.npz"]
            assert len(set(arrays["gallery100_v2t_id"].tolist())) == 100
            assert arrays["gallery100_t2v_group"].tolist() == arrays["gallery100_v2t_id"].tolist()
            firsts = {
                clip: name for name, clip in reversed(list(zip(part.caption_ids, part.owners, strict=True)))
            }
            assert arrays["gallery100_t2v_id"].tolist() == [
                firsts[c] for c in arrays["gallery100_v2t_id"].tolist()
            ]
            found.append(arrays["gallery100_t2v_id"].tolist())
        assert found[0] == found[1]

    @pytest.mark.parametrize("clips", [1, 2, 9, 99, 130])
    def test_ranks_are_those_of_a_naive_loop_with_ties(self, clips):
        part, recipe, found = self.values(5, clips)
        chosen, rows = fixed_gallery(part.owner)
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        assert len(chosen) == min(100, clips)
        assert part.owner[rows].tolist() == chosen.tolist()
        score = [[float(recipe.table[q, v]) for v in chosen] for q in rows]
        size = range(len(chosen))
        t2v = [1 + sum(score[i][j] >= score[i][i] for j in size if j != i) for i in size]
        v2t = [1 + sum(score[j][i] >= score[i][i] for j in size if j != i) for i in size]
        arrays = found.files["pair_retrieval.npz"]
        assert arrays["gallery100_t2v_rank"].tolist() == t2v
        assert arrays["gallery100_v2t_rank"].tolist() == v2t
        assert found.values["gallery100_t2v_medr"] == np.median(t2v)

    def test_what_it_took_is_recorded(self):
        _, recipe, found = self.values(0)
        assert recipe.pairs == found.costs["cost/pair_retrieval_pairs"] == 100 * 100
        assert found.costs["cost/pair_retrieval_pflops"] == pytest.approx(2 * 100 * 100 / 1e15)

    def test_it_is_drawn_over_the_whole_split(self):
        chosen, _ = fixed_gallery(np.arange(1000))
        assert chosen.min() < 100
        assert chosen.max() > 900


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_not_finite_are_refused_and_never_a_rank(bad):
    part, recipe = planted(30)
    recipe.table[part.owner == 7, 7] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        evaluate(judged(recipe, part))
    with pytest.raises(FloatingPointError, match="diverged"):
        evaluate(judged(Matching(recipe.table), part))


def test_its_metrics_are_named_and_each_knows_its_queries():
    known = {metric.name: metric for metric in pair_retrieval.METRICS}
    for clips, kind in ((30, Both), (30, Matching)):
        part, recipe = planted(clips)
        found = evaluate(judged(recipe if kind is Both else Matching(recipe.table), part))
        assert set(found.values) | set(found.costs) <= set(known)
        for name, value in found.values.items():
            queries = known[name].queries
            if queries is not None:
                arrays = found.files[queries.file]
                assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
                assert len(arrays[queries.ids]) == len(arrays[queries.values])
                assert not queries.groups or len(arrays[queries.groups]) == len(arrays[queries.values])
