"""Captions of several clips, clips of several captions: held against loops, scikit-learn, torchmetrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import coverage_error, top_k_accuracy_score
from small import write_store

from workbench.data.store import FrameStore, Split
from workbench.recipe.batch import Layout, Text
from workbench.tasks.caption_sets import set_ranks
from workbench.tasks.gallery import gallery, rank_metrics, ranks, right_pairs

QUERIES, CLIPS = 40, 25


def world(seed: int, *, ties: bool) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Scores [Q, V], the first right clip of each query, and further right pairs [P, 2]."""
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 6, (QUERIES, CLIPS)) if ties else rng.normal(size=(QUERIES, CLIPS))
    right = rng.random((QUERIES, CLIPS)) < 0.08
    right[np.arange(QUERIES), rng.integers(0, CLIPS, QUERIES)] = True
    right[rng.integers(0, QUERIES, CLIPS), np.arange(CLIPS)] = True
    owner = right.argmax(1)
    more = right.copy()
    more[np.arange(QUERIES), owner] = False
    return torch.from_numpy(score.astype(np.float32)), owner, np.argwhere(more)


def best_rank(scores: list[float], right: set[int]) -> int:
    """Counts what is at least as good as the best right answer, one by one."""
    best = max(scores[i] for i in right)
    return 1 + sum(score >= best for i, score in enumerate(scores) if i not in right)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_ranks_with_several_right_answers_equal_a_naive_loop(seed: int, ties: bool) -> None:
    score, owner, more = world(seed, ties=ties)
    right = right_pairs(owner, CLIPS, more).numpy()
    assert right.sum() == QUERIES + len(more)
    found = ranks(score, owner, more)
    table = score.tolist()
    assert found.t2v.tolist() == [best_rank(table[q], set(np.flatnonzero(right[q]))) for q in range(QUERIES)]
    columns = score.T.tolist()
    rows = [set(np.flatnonzero(right[:, v])) for v in range(CLIPS)]
    assert found.v2t.tolist() == [best_rank(columns[v], rows[v]) for v in range(CLIPS)]


@pytest.mark.parametrize("seed", range(3))
def test_recalls_and_mean_rank_equal_those_of_scikit_learn(seed: int) -> None:
    score, owner, _ = world(seed, ties=False)
    values = rank_metrics(ranks(score, owner))
    for k in (1, 5, 10):
        theirs = top_k_accuracy_score(owner, score.numpy(), k=k, labels=np.arange(CLIPS))
        assert values[f"t2v_r{k}"] == pytest.approx(100 * theirs)
    tied, owner, _ = world(seed, ties=True)
    # Its coverage error is how far down the list the right answer lies, with ties against it, as ours.
    theirs = coverage_error(right_pairs(owner, CLIPS).numpy(), tied.numpy())
    assert rank_metrics(ranks(tied, owner))["t2v_meanr"] == pytest.approx(theirs)


def test_recalls_equal_those_of_torchmetrics() -> None:
    retrieval = pytest.importorskip("torchmetrics.retrieval")
    score, owner, more = world(5, ties=False)
    right = right_pairs(owner, CLIPS, more)
    values = rank_metrics(ranks(score, owner, more))
    sides = {"t2v": (score, right), "v2t": (score.T, right.T)}
    for side, (scores, wanted) in sides.items():
        queries = torch.arange(len(scores))[:, None].expand_as(scores)
        for k in (1, 5, 10):
            theirs = retrieval.RetrievalHitRate(top_k=k)(
                scores.flatten(), wanted.flatten(), indexes=queries.flatten()
            )
            assert values[f"{side}_r{k}"] == pytest.approx(100 * float(theirs), abs=1e-4)


@pytest.mark.parametrize("ties", [True, False])
def test_sets_of_captions_equal_a_naive_loop(ties: bool) -> None:
    score, owner, more = world(7, ties=ties)
    pairs = np.concatenate([np.stack([np.arange(QUERIES), owner], 1), more])
    table, sets = score.tolist(), [[q for q, v in pairs if v == clip] for clip in range(CLIPS)]
    expected = []
    for clip in range(CLIPS):
        best = [max(table[q][clip] for q in sets[other]) for other in range(CLIPS)]
        expected.append(sum(value >= best[clip] for value in best))
    assert set_ranks(score, pairs[:, 0], pairs[:, 1]).tolist() == expected


def test_a_wrong_clip_counts_once_however_many_captions_it_has() -> None:
    owner = np.array([0, 1, 1, 1])
    score = torch.tensor([[0.5, 0.0], [0.9, 1.0], [0.8, 1.0], [0.7, 1.0]])
    assert ranks(score, owner).v2t.tolist() == [4, 1]
    assert set_ranks(score, np.arange(4), owner).tolist() == [2, 1]


def shared(store: FrameStore, captions: list[str]) -> FrameStore:
    """The store whose test clips have these captions, one each, and share equal ones."""
    clips = np.unique(store.splits["test"].clips)
    ids = [store.clip_ids[i] for i in clips]
    store.splits["test"] = Split(clips, captions, [f"{i}#0" for i in ids], ids)
    store.shared = True
    return store


def test_equal_captions_are_one_query_with_all_their_clips(tmp_path: Path) -> None:
    store = shared(write_store(tmp_path / "s"), ["a", "b", "a", "c", "b", "a", "d"])
    layout = Layout(*(torch.ones(7, 1, dtype=torch.bool),) * 3)
    part = gallery(store, "test", Text(torch.arange(7)[:, None], layout))
    assert part.captions == ["a", "b", "c", "d"]
    assert part.text.tokens[:, 0].tolist() == [0, 1, 3, 6]
    assert part.owner.tolist() == [0, 1, 3, 6]
    assert sorted(map(tuple, part.more.tolist())) == [(0, 2), (0, 5), (1, 4)]
    captions, clips = part.pairs
    assert sorted(clips.tolist()) == list(range(7)), "each clip has its caption"
    assert {(part.captions[c], v) for c, v in zip(captions, clips, strict=True)} >= {("a", 5), ("b", 4)}
    store.shared = False
    assert len(gallery(store, "test", part.text.select(torch.zeros(7, dtype=torch.long))).captions) == 7
