"""The ranking of a gallery agrees with the evaluation; confusions are counted right."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from workbench.errors import UserError
from workbench.inspection.ranking import (
    Embeddings,
    _best_wrong,
    captions_for,
    confusions,
    differing,
    ranking,
    read_embeddings,
    with_shared,
)
from workbench.recipe.batch import Layout, Text
from workbench.tasks.gallery import gallery, ranks, similarities
from workbench.tracking.run_dir import RunDir


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embeddings(video, text, right):
    clips = tuple(f"c{i}" for i in range(len(video)))
    return Embeddings(
        video=np.asarray(video, np.float32), text=np.asarray(text, np.float32), clips=clips,
        queries=tuple(f"q{i}" for i in range(len(text))),
        captions=tuple(f"words {i}" for i in range(len(text))),
        right=np.asarray(right),
    )  # fmt: skip


def test_places_are_the_ranks_of_the_evaluation():
    rng = np.random.default_rng(0)
    found = embeddings(unit(rng.normal(size=(20, 8))), unit(rng.normal(size=(30, 8))), np.arange(30) % 20)
    score = similarities(torch.from_numpy(found.video), torch.from_numpy(found.text))
    expected = ranks(score, found.right).t2v
    tables = [ranking(found, found.text[i], int(found.right[i])) for i in range(30)]
    assert [t.filter("right")["rank"].item() for t in tables] == expected.tolist()
    assert all(t["score"].is_sorted(descending=True) for t in tables)


def test_among_equal_scores_the_right_clip_is_last():
    found = embeddings([[1, 0], [1, 0], [0, 1]], [[1, 0]], [0])
    assert ranking(found, found.text[0], 0)["clip"].to_list() == ["c1", "c0", "c2"]
    assert ranking(found, found.text[0])["right"].any() is False


def test_all_clips_that_share_a_caption_are_right_for_it_and_it_for_them(store):
    part = store.splits["test"]
    shared = replace(store, shared=True, splits=store.splits | {"test": replace(
        part, captions=["the same" if i % 3 == 0 else f"words {i}" for i in range(len(part.captions))]
    )})  # fmt: skip
    its = gallery(shared, "test", Text(torch.zeros(len(part.captions), 1), Layout(*[torch.zeros(99, 1)] * 3)))
    rng = np.random.default_rng(0)
    found = Embeddings(
        video=unit(rng.normal(size=(len(its.clip_ids), 8))).astype(np.float32),
        text=unit(rng.normal(size=(len(its.captions), 8))).astype(np.float32),
        clips=tuple(its.clip_ids), queries=tuple(its.caption_ids), captions=tuple(its.captions),
        right=its.owner,
    )  # fmt: skip
    assert with_shared(found, store) is found
    found = with_shared(found, shared)
    assert len(found.more) == len(its.more) > 0
    expected = ranks(similarities(*map(torch.from_numpy, (found.video, found.text))), its.owner, its.more)
    tables = [ranking(found, found.text[i], found.right_clips(i)) for i in range(len(found.queries))]
    assert [t.filter("right")["rank"].min() for t in tables] == expected.t2v.tolist()
    assert tables[0]["right"].sum() == len(found.right_clips(0)) == 1 + (its.more[:, 0] == 0).sum()
    tables = [captions_for(found, clip) for clip in range(len(found.clips))]
    assert [t.filter("right")["rank"].min() for t in tables] == expected.v2t.tolist()
    wrong = [ranking(found, found.text[i], found.right_clips(i)).filter(~pl.col("right"))["clip"][0]
             for i in range(len(found.queries))]  # fmt: skip
    table = confusions(found, {"clip": found.clips}, np.ones(len(found.queries), bool))
    assert table["wrong"].item() == len(wrong)
    best = np.concatenate([_best_wrong(found, slice(i, i + 2)) for i in range(0, len(found.queries), 2)])
    assert [found.clips[i] for i in best] == wrong


def test_a_clip_is_named_by_its_first_caption():
    assert embeddings(np.eye(2), np.eye(2)[[0, 0, 1]], [0, 0, 1]).caption_of == {
        "c0": "words 0",
        "c1": "words 2",
    }


def test_confusions_say_how_often_an_attribute_is_wrong_and_what_chance_would_be():
    # Queries 0 and 1 are answered by each other's clip, 2 and 3 rightly.
    found = embeddings(np.eye(4), np.eye(4)[[1, 0, 2, 3]], [0, 1, 2, 3])
    table = confusions(
        found,
        {"colour": ["red", "red", "blue", "blue"], "shape": ["star", "moon", "star", "moon"]},
        np.array([True, True, False, False]),
    )
    rows = {row["attribute"]: row for row in table.iter_rows(named=True)}
    assert (rows["shape"]["wrong"], rows["shape"]["missed"], rows["shape"]["share"]) == (2, 2, 1.0)
    assert (rows["colour"]["wrong"], rows["colour"]["share"]) == (0, 0.0)
    assert rows["colour"]["chance"] == pytest.approx(2 / 3)
    assert table["attribute"][0] == "shape"


def test_captions_are_ranked_for_a_clip_with_its_own_marked():
    found = embeddings(np.eye(3), np.eye(3)[[1, 0, 2, 0]], [0, 1, 2, 0])
    table = captions_for(found, 0)
    assert table["right"].to_list() == [False, True, False, True]
    assert table["query"][0] == found.queries[1], "another clip's caption that scores the same comes first"
    assert table.filter("right")["query"].to_list() == [found.queries[3], found.queries[0]]
    assert table["clip"][0] == found.clips[1]


def test_nothing_is_confused_where_all_is_right_or_nothing_is_known():
    found = embeddings(np.eye(2), np.eye(2), [0, 1])
    assert confusions(found, {"colour": ["red", "blue"]}, np.array([False, False])) is None
    assert confusions(embeddings(np.eye(2), np.eye(2)[[1, 0]], [0, 1]), {}, np.array([True, True])) is None


def test_queries_that_the_run_missed_are_counted_whatever_half_precision_says():
    tied = embeddings(np.array([[1.0, 0], [1, 0]]), np.array([[1.0, 0]]), [0])
    table = confusions(tied, {"colour": ["red", "blue"]}, np.array([True]))
    assert table.select("wrong", "missed").rows() == [(1, 1)]


def test_lists_are_not_compared():
    """As the timelines of clips, which hardly two have in common."""
    wrong = embeddings(np.eye(2), np.eye(2)[[1, 0]], [0, 1])
    timelines = {"timeline": [[["it rises", 0.0, 0.5]], [["it spins", 0.5, 1.0]]]}
    missed = np.array([True, True])
    assert confusions(wrong, timelines, missed) is None
    assert confusions(wrong, timelines | {"colour": ["red", "blue"]}, missed)["attribute"].to_list() == [
        "colour"
    ]
    assert differing({"timeline": [], "a": 1}, {"timeline": [1], "a": 2}) == {"a": (1, 2)}


def test_differing_names_both_values():
    assert differing({"a": 1, "b": 2}, {"a": 1, "b": 3}) == {"b": (2, 3)}


def test_embeddings_that_are_missing_or_damaged_are_a_sentence(tmp_path):
    run = RunDir(tmp_path / "run")
    run.create()
    with pytest.raises(UserError, match="left no embeddings"):
        read_embeddings(run)
    arrays = {"video": np.eye(2), "text": np.eye(2), "video_id": ["a", "b"], "text_id": ["a#0", "b#0"],
              "text_group": ["a", "x"], "caption": ["one", "two"]}  # fmt: skip
    np.savez(run.file("embeddings.npz"), **arrays)
    with pytest.raises(UserError, match="captions of clips that it lacks"):
        read_embeddings(run)
    np.savez(run.file("embeddings.npz"), **(arrays | {"video": np.eye(3)}))
    with pytest.raises(UserError, match="do not fit"):
        read_embeddings(run)
    np.savez(run.file("embeddings.npz"), **(arrays | {"text_group": ["a", "b"]}))
    assert read_embeddings(run).right.tolist() == [0, 1]
