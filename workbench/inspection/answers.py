"""Answers to each query of the test split: of one run, and of two cells in comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench import tasks
from workbench.errors import UserError
from workbench.tracking.run_dir import RunDir


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Text-to-video ranks of one run, which the retrieval task writes to `ranks.npz`."""

    queries: tuple[str, ...]
    """[Q], caption ids."""
    clips: tuple[str, ...]
    """[Q], the right clip of each."""
    ranks: np.ndarray
    """int [Q], 1 is best."""


def read_answers(run: RunDir) -> Answers | None:
    """The ranks in `ranks.npz`; None if the run has none yet. Raises `UserError` if the file is damaged."""
    try:
        found = run.read_arrays("ranks.npz", "t2v_id", "t2v_group", "t2v_rank")
    except FileNotFoundError:
        return None
    queries, clips, ranks = found[0].tolist(), found[1].tolist(), found[2].astype(np.int64)
    if not len(queries) == len(clips) == len(ranks) > 0:
        raise UserError(f"{run.file('ranks.npz')} is damaged: its lists are empty or differ in length")
    return Answers(queries=tuple(queries), clips=tuple(clips), ranks=ranks)


def read_captions(run: RunDir) -> dict[str, str]:
    """Caption id -> caption of the test split, as recorded by the run; empty if it did not record them."""
    try:
        ids, captions = run.read_arrays("embeddings.npz", "text_id", "caption")
    except FileNotFoundError:
        return {}
    if len(ids) != len(captions):
        raise UserError(f"{run.file('embeddings.npz')} is damaged: its lists differ in length")
    return dict(zip(ids.tolist(), captions.tolist(), strict=True))


def within(metric: str) -> int:
    """Rank up to which a query counts as answered: 5 for `t2v_r5`, 1 for a metric that is no recall."""
    queries = tasks.metric(metric).queries
    return max(1, queries.at_most) if queries is not None else 1


def disagreements(a: Mapping[int, Answers], b: Mapping[int, Answers], k: int = 1) -> pl.DataFrame:
    """Every query with the answers of two cells, by the seeds that both have.

    Args:
        a, b: seed -> answers of that run.
        k: the right clip among the first k counts as a hit.

    Returns:
        Columns query, clip, hits_a, hits_b (number of seeds), rank_a, rank_b (medians over seeds), seeds,
        in the order of the test split.

    Raises `UserError` where the cells share no seed or answered other queries.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        raise UserError("the two cells have no complete run of the same seed")
    first = a[seeds[0]]
    runs = [cell[seed] for cell in (a, b) for seed in seeds]
    if any(run.queries != first.queries for run in runs):
        raise UserError("the two cells answered other queries; compare runs of the same test split")
    ranks = [np.stack([cell[seed].ranks for seed in seeds]) for cell in (a, b)]
    hits = [(r <= k).sum(0) for r in ranks]
    medians = [np.median(r, axis=0) for r in ranks]
    return pl.DataFrame(
        {
            "query": first.queries,
            "clip": first.clips,
            "hits_a": hits[0],
            "hits_b": hits[1],
            "rank_a": medians[0],
            "rank_b": medians[1],
            "seeds": np.full(len(first.queries), len(seeds)),
        }
    )


def only_first(found: pl.DataFrame) -> pl.DataFrame:
    """Queries that the first cell answers with more seeds than the second, the clearest first."""
    gap = pl.col("rank_b") - pl.col("rank_a")
    better = found.filter(pl.col("hits_a") > pl.col("hits_b"))
    return better.sort(pl.col("hits_a") - pl.col("hits_b"), gap, descending=True, maintain_order=True)


def swapped(found: pl.DataFrame) -> pl.DataFrame:
    """The same with the two cells exchanged."""
    names = {"hits_a": "hits_b", "hits_b": "hits_a", "rank_a": "rank_b", "rank_b": "rank_a"}
    return found.rename(names)


def neither(found: pl.DataFrame) -> pl.DataFrame:
    """Queries that no run of the two cells answers, the worst first."""
    missed = found.filter((pl.col("hits_a") == 0) & (pl.col("hits_b") == 0))
    return missed.sort(pl.col("rank_a") + pl.col("rank_b"), descending=True, maintain_order=True)
