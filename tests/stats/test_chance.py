"""What random ranks reach in a gallery, and that nothing is told from it more often than it may be."""

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from stats_worlds import STUDIES, slack

from workbench.errors import UserError
from workbench.stats.chance import best_from_chance, hit_chances, mean_rank, recall
from workbench.tasks.gallery import ranks

REAL = np.ones(316)
"""A gallery of 316 real clips with a caption each."""
UNEQUAL = np.random.default_rng(0).integers(1, 21, 150)
"""Captions of 150 clips, 1 to 20 each."""


def test_the_recall_of_one_caption_a_clip_is_binomial():
    null = recall(REAL, 1, "t2v")
    assert null.mean == pytest.approx(100 / 316)
    for hits in (0, 1, 3, 10):
        assert null.p(100 * hits / 316) == pytest.approx(scipy_stats.binom.sf(hits - 1, 316, 1 / 316))
    assert recall(REAL, 10, "v2t").p(100 * 20 / 316) == pytest.approx(scipy_stats.binom.sf(19, 316, 10 / 316))


def test_captions_of_one_clip_hit_together():
    """Clips with 1 and 3 captions: a hit of the second is 75 % of the queries."""
    null = recall([1, 3], 1, "t2v")
    assert null.support.tolist() == [0, 25, 50, 75, 100]
    assert null.share.tolist() == pytest.approx([0.25, 0.25, 0, 0.25, 0.25])
    assert null.mean == pytest.approx(50)


def test_of_several_captions_the_best_counts():
    assert hit_chances([1, 3], 1, "v2t").tolist() == pytest.approx([0.25, 0.75])
    assert hit_chances([2, 3], 2, "v2t").tolist() == pytest.approx([1 - 3 / 10, 1 - 1 / 10])
    assert hit_chances([2, 3], 10, "v2t").tolist() == [1, 1]


@pytest.mark.parametrize("side", ["t2v", "v2t"])
def test_the_means_are_those_of_the_ranks_that_are_measured(side):
    """Random scores through the ranks of the retrieval task, clips with 1 to 4 captions."""
    captions = np.array([1, 2, 3, 4, 1, 2, 3, 4, 2, 2])
    owner = np.repeat(np.arange(10), captions)
    generator = torch.Generator().manual_seed(0)
    drawn = [
        getattr(ranks(torch.rand(len(owner), 10, generator=generator), owner), side) for _ in range(3000)
    ]
    for k in (1, 5):
        seen = 100 * np.mean([rank <= k for rank in drawn])
        assert seen == pytest.approx(recall(captions, k, side).mean, abs=0.6)
    assert np.mean(drawn) == pytest.approx(mean_rank(captions, side).mean, abs=0.05)


def test_low_mean_ranks_are_better():
    null = mean_rank(REAL, "t2v")
    assert null.mean == pytest.approx(158.5, abs=0.2)
    sd = np.sqrt((316**2 - 1) / 12 / 316)
    assert null.p(158.5 - 2 * sd) == pytest.approx(scipy_stats.norm.sf(2), abs=0.005)
    assert null.p(1.0) == pytest.approx(1 / 20_001)
    assert null.threshold() == pytest.approx(158.5 - 3.09 * sd, abs=2)
    assert best_from_chance({"a": 150.0, "b": 120.0}, null).cell == "b"


def test_random_ranks_are_rarely_better_than_the_threshold():
    for null in (recall(REAL, 1, "t2v"), recall(UNEQUAL, 5, "t2v"), recall(UNEQUAL, 5, "v2t")):
        at = np.flatnonzero(null.support == null.threshold())[0]
        assert null.share[at + 1 :].sum() <= 0.001 < null.share[at:].sum()


def test_a_winner_with_one_percent_of_316_clips_is_not_told_from_chance():
    cells = {f"cell {i}": 100 * hits / 316 for i, hits in enumerate([0, 1, 0, 2, 1, 1, 0, 3, 1, 2, 1, 0])}
    found = best_from_chance(cells, recall(REAL, 1, "t2v"))
    assert (found.cell, found.cells, found.significant) == ("cell 7", 12, False)
    assert found.expected == pytest.approx(0.316, abs=0.001)
    assert found.p == pytest.approx(scipy_stats.binom.sf(2, 316, 1 / 316))
    assert found.p_adjusted == pytest.approx(12 * found.p)
    assert found.needed == pytest.approx(100 * 5 / 316)  # of 5 hits p is 0.0036, of 4 it is 0.019
    assert best_from_chance({**cells, "good": found.needed}, recall(REAL, 1, "t2v")).significant


def test_in_a_tiny_gallery_nothing_may_be_told():
    null = recall(np.ones(2), 1, "t2v")
    assert null.needed(0.05) is None
    assert not best_from_chance({"a": 100.0}, null).significant


@pytest.mark.parametrize("captions", [[], [[1]], [0, 1], [1.5, 1]])
def test_a_gallery_that_cannot_be_is_refused(captions):
    with pytest.raises(UserError, match="at least 1"):
        recall(captions, 1, "t2v")


def test_what_cannot_be_judged_is_refused():
    null = recall(REAL, 1, "t2v")
    with pytest.raises(UserError, match="a number for each cell"):
        best_from_chance({}, null)
    with pytest.raises(UserError, match="a number for each cell"):
        best_from_chance({"a": float("nan")}, null)
    with pytest.raises(UserError, match="K of at least 1"):
        recall(REAL, 0, "t2v")


def favourites(rng, captions, seeds, shared):
    """[S, m, n, V] ranks where all captions share one order of the clips, which seeds may share as well."""
    shape = (STUDIES, 12, 1 if shared else seeds, len(captions))
    order = 1 + rng.permuted(np.broadcast_to(np.arange(len(captions)), shape), axis=-1)
    return np.broadcast_to(order, (*shape[:2], seeds, shape[-1]))


def by_clip(rng, captions, seeds):
    """[S, m, n, V] ranks that are drawn for each clip, alike for its captions."""
    return rng.integers(1, len(captions) + 1, (STUDIES, 12, seeds, len(captions)), dtype=np.int16)


WORLDS = {
    "ranks of each seed": lambda rng, c: by_clip(rng, c, 3),
    "ranks of one seed": lambda rng, c: by_clip(rng, c, 1),
    "favourite clips of each seed": lambda rng, c: favourites(rng, c, 3, shared=False),
    "favourite clips of all seeds": lambda rng, c: favourites(rng, c, 3, shared=True),
}


@pytest.mark.parametrize("captions", [np.ones(150), UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("world", WORLDS)
def test_nothing_learned_is_told_from_chance_in_at_most_five_percent(world, captions):
    """The best of 12 cells, text-to-video R@1 and R@10, three kinds of learning nothing."""
    found = WORLDS[world](np.random.default_rng(31), captions)
    rates = []
    for k in (1, 10):
        null = recall(captions, k, "t2v")
        scores = 100 * ((found <= k) @ captions / captions.sum()).mean(-1).max(-1)  # [S], the best cell
        rates.append(np.mean([12 * null.p(score) < 0.05 for score in scores]))
    print(f"\nchance: {world}, {'equal' if captions[1] == 1 else 'unequal'}: {100 * np.array(rates)} %")
    assert max(rates) <= 0.05 + slack(0.05)


@pytest.mark.parametrize("captions", [np.ones(150), UNEQUAL], ids=["equal", "unequal"])
def test_captions_that_are_drawn_one_by_one_are_told_from_chance_even_less(captions):
    """Video-to-text as it is measured, and text-to-video with a rank for each caption of its own."""
    rng = np.random.default_rng(32)
    owner = np.repeat(np.arange(150), captions.astype(int))
    best = {"t2v": np.empty(STUDIES), "v2t": np.empty(STUDIES)}
    chances = hit_chances(captions, 5, "v2t")
    for study in range(STUDIES):
        best["t2v"][study] = 100 * (rng.random((12, len(owner))) < 5 / 150).mean(-1).max()
        best["v2t"][study] = 100 * (rng.random((12, 150)) < chances).mean(-1).max()
    for side, scores in best.items():
        null = recall(captions, 5, side)
        assert np.mean([12 * null.p(score) < 0.05 for score in scores]) <= 0.05 + slack(0.05)


def test_mean_ranks_are_told_from_chance_in_at_most_five_percent():
    null, rng = mean_rank(UNEQUAL, "t2v"), np.random.default_rng(33)
    best = (by_clip(rng, UNEQUAL, 1)[:, :, 0] @ UNEQUAL / UNEQUAL.sum()).min(-1)
    assert np.mean([12 * null.p(score) < 0.05 for score in best]) <= 0.05 + slack(0.05)


def test_a_recall_of_three_percent_among_500_clips_is_told_from_chance():
    """One seed, the best of 12 cells, of which the others have learned nothing."""
    null, rng = recall(np.ones(500), 1, "t2v"), np.random.default_rng(34)
    power = {r1: np.mean([12 * null.p(hits / 5) < 0.05 for hits in rng.binomial(500, r1, STUDIES)])
             for r1 in (0.01, 0.015, 0.02, 0.03)}  # fmt: skip
    print("\nchance: told at R@1 of", {f"{100 * r1:.1f} %": f"{100 * p:.0f} %" for r1, p in power.items()})
    assert power[0.03] >= 0.95
    assert power[0.01] < 0.8
