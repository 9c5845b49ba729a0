"""Runs that were made with other versions of the user's files, or that read other frames, are named."""

import json
from types import SimpleNamespace

import polars as pl

from workbench.answer.facts import _unequal_files, _unequal_frames

ASKED = SimpleNamespace(labels={"a": "ratio=0.5", "b": "ratio=0.9"})


def rows(*runs):
    return pl.DataFrame(
        [{"key": "a", "seed": i, **run} for i, run in enumerate(runs)], infer_schema_length=None
    )


def test_versions_are_compared_file_by_file():
    one, two = "recipes/mine.py 111111111111", "recipes/mine.py 222222222222"
    other = "maskings/chess.py 333333333333"
    assert (
        _unequal_files(ASKED, rows({"env.own": one}, {"env.own": f"{other}, {one}"}, {"env.own": None})) == []
    )
    assert _unequal_files(ASKED, rows({}, {})) == [], "runs of ours"
    assert _unequal_files(
        ASKED, rows({"env.own": f"{other}, {two}"}, {"env.own": one}, {"env.own": one})
    ) == [
        "Runs were made by different versions of recipes/mine.py, which may make a difference: 111111111111 "
        "(2 runs), 222222222222 (1 run)."
    ]


def test_a_run_that_went_on_with_another_version_is_named():
    now, before = "recipes/mine.py 2", json.dumps([{"own": "recipes/mine.py 1"}, {"precision": "float32"}])
    changed = {"env.own": now, "env.earlier": before}
    same = {"env.own": now, "env.earlier": json.dumps([{"own": now}])}
    assert _unequal_files(ASKED, rows(same, {"env.own": now, "env.earlier": "torn ["})) == []
    assert _unequal_files(ASKED, rows(same, changed)) == [
        "Begun by one version of the user's own files and ended by another: ratio=0.5 seed 1."
    ]


def test_frames_are_compared_where_the_same_was_asked_for():
    def frames(digest, data="folder", size=64):
        return {
            "env.data": data,
            "env.data_digest": "d",
            "env.frames_sha256": digest,
            "config.data.size": size,
        }

    assert _unequal_frames(rows({}, {})) == [], "an earlier version did not note them"
    assert (
        _unequal_frames(rows(frames("1" * 64), frames("2" * 64, size=32), frames("3" * 64, "msrvtt"))) == []
    )
    [said] = _unequal_frames(rows(frames("1" * 64), frames("2" * 64), frames("1" * 64)))
    assert said.startswith("Runs read other frames of the same folder, as of another decoder, ")
    assert said.endswith(f"{'1' * 12} (2 runs), {'2' * 12} (1 run).")
