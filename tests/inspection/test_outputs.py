"""Captions that were written are judged by their parts, answers are found by their questions."""

import numpy as np
import pytest

from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, say
from workbench.errors import UserError
from workbench.inspection.outputs import Piece, pieces, read_given, read_written, shared
from workbench.tracking.run_dir import RunDir


def any_scene(seed):
    every = world.combinations()
    return every[np.random.default_rng(seed).integers(len(every))]


@pytest.mark.parametrize("seed", range(12))
def test_pieces_are_the_caption_and_those_of_another_clip_are_wrong_where_it_differs(seed):
    scene, other = any_scene(seed), any_scene(seed + 100)
    words = {slot: seed % len(WORDS[slot][scene[slot]]) for slot in WORDS}
    caption = say(seed % 3, scene, words)
    for shown in (scene, other):
        found = pieces(caption, shown)
        assert " ".join(piece.words for piece in found) == caption
        told = [piece for piece in found if piece.part]
        assert len(told) == 5
        wrong = {piece.part for piece in told if not piece.right}
        names = {"first": "first action", "second": "second action"}
        assert wrong == {names.get(slot, slot) for slot in WORDS if scene[slot] != shown[slot]}


def test_what_would_be_right_is_said_in_the_words_of_the_clips_own_caption():
    scene = any_scene(0)
    other = scene | {"shape": next(s for s in WORDS["shape"] if s != scene["shape"])}
    last = {slot: len(WORDS[slot][scene[slot]]) - 1 for slot in WORDS}
    written = say(0, other, dict.fromkeys(WORDS, 0))
    for own, number in ((say(1, scene, last), last["shape"]), ("no such caption", 0)):
        (wrong,) = [piece for piece in pieces(written, scene, own) if not piece.right]
        assert wrong == Piece(
            WORDS["shape"][other["shape"]][0], "shape", False, WORDS["shape"][scene["shape"]][number]
        )


@pytest.mark.parametrize("caption", ["", "a red", "a red red star", "<b>"])
def test_what_the_grammar_does_not_make_has_no_parts(caption):
    assert pieces(caption, any_scene(0)) is None


@pytest.mark.parametrize("scene", [{}, {"colour": "red"}, any_scene(0) | {"shape": "cloud"}])
def test_of_a_clip_that_shows_who_knows_what_nothing_is_right_or_wrong(scene):
    assert pieces(say(0, any_scene(0), dict.fromkeys(WORDS, 0)), scene) is None


def test_words_are_compared_as_the_measures_compare_them():
    both, alone = shared("A réd, red cat jumps!", ["the red cat", "A dog"])
    assert both == ["a", "red", "cat"]
    assert alone == ["jumps"]
    assert shared("", ["a"]) == ([], [])


def test_what_a_run_left_is_read_by_clip_and_by_question(tmp_path):
    run = RunDir(tmp_path / "run")
    run.create()
    assert read_written(run) == read_given(run, "open") == {}
    np.savez(run.file("captioning.npz"), id=np.array(["a", "b"]), written=np.array(["x y", ""]))
    np.savez(run.file("video_qa.npz"), id=np.array(["a#order"]), choice_answer=np.array(["yes"]))
    assert read_written(run) == {"a": "x y", "b": ""}
    assert read_given(run, "choice") == {"a#order": "yes"}
    with pytest.raises(UserError, match="has no open_answer"):
        read_given(run, "open")
    np.savez(run.file("captioning.npz"), id=np.array(["a"]), written=np.array(["x y", ""]))
    with pytest.raises(UserError, match="differ in length"):
        read_written(run)
