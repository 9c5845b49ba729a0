"""Captions taken apart and put together again, and what is true of a clip that runs backwards."""

from itertools import permutations

import numpy as np
import pytest

from workbench.config import DataConfig
from workbench.data import read_index
from workbench.data.moving_shapes import drawing, world
from workbench.data.moving_shapes.grammar import (
    BACKWARDS,
    WORDS,
    ParsedCaption,
    backwards,
    changed,
    parse,
    say,
    swapped,
)

PAIRS = list(permutations(world.ACTIONS, 2))
SCENE = {
    "radius": 8.0, "x": 32.0, "y": 32.0, "tilt": 0.1, "level": 120.0, "tint": [5.0, -3.0, 0.0],
    "contrast": 40.0, "period": 10.0, "angle": 0.4, "phase": [0.2, 0.7], "seed": 3,
}  # fmt: skip


def words_of(parts, number):
    """Words for each part: other ones for another number, and never the same for both actions."""
    return {slot: (number + (slot == "first")) % len(WORDS[slot][value]) for slot, value in parts.items()}


def said(first, second, template=0, number=0):
    parts = {"colour": "red", "shape": "star", "first": first, "second": second, "background": "plain"}
    return ParsedCaption(template, parts, words_of(parts, number))


def test_every_combination_is_said_and_understood_in_every_template():
    for n, parts in enumerate(world.combinations()):
        for template in range(len(world.TEMPLATES)):
            one = ParsedCaption(template, parts, words_of(parts, n))
            assert parse(say(*one)) == one


def test_every_word_is_understood_in_every_place():
    for template in range(len(world.TEMPLATES)):
        for slot, values in WORDS.items():
            for value, words in values.items():
                for number in range(len(words)):
                    other = "spins" if value == "blinks" else "blinks"
                    one = changed(said(other, other, template), slot, value, number)
                    assert parse(say(*one)) == one
                    assert words[number] in say(*one)


def test_the_captions_of_the_data_set_name_what_its_clips_show():
    for clip in read_index(DataConfig(clips=512), None).clips:
        one = parse(clip.captions[0])
        assert one is not None
        assert one.parts == clip.attributes
        assert say(*one) == clip.captions[0]


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a red star spins",
        "an red star spins then blinks on a plain background",
        "a red star spins then blinks on a plain wall",
        "a red star spins then blinks on a plain background ",
        "a pink star spins then blinks on a plain background",
        "a red star blinks spins then on a plain background",
    ],
)
def test_what_the_grammar_does_not_make_is_not_understood(caption):
    assert parse(caption) is None


def test_swapped_is_the_same_words_in_another_order():
    for first, second in PAIRS:
        one = said(first, second, number=1)
        other = swapped(one)
        assert (other.parts["first"], other.parts["second"]) == (second, first)
        assert sorted(say(*other).split()) == sorted(say(*one).split())
        assert swapped(other) == one


def test_backwards_is_the_exchange_of_opposites():
    assert BACKWARDS == {
        "left": "right", "right": "left", "up": "down", "down": "up", "grows": "shrinks", "shrinks": "grows",
        "spins": "spins", "blinks": "blinks",
    }  # fmt: skip
    shown = "a red star rises then rotates on a plain background"
    assert say(*backwards(parse(shown))) == "a red star rotates then sinks on a plain background"
    for first, second in PAIRS:
        one = said(first, second, number=1)
        assert backwards(backwards(one)) == one
    same = {pair for pair in PAIRS if backwards(said(*pair)).parts == said(*pair).parts}
    assert same == {("left", "right"), ("up", "down"), ("grows", "shrinks")} | {
        ("right", "left"), ("down", "up"), ("shrinks", "grows"),
    }  # fmt: skip


def path(first, second):
    """Of each frame x, y, scale, angle, visibility, [5, T]."""
    return np.stack(drawing._motion(first, second))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_frames_that_run_backwards_move_as_the_computed_caption_says(first, second):
    """A drawn clip starts one step after rest, so the two are a frame apart: 15 of 16 can be compared."""
    turned = backwards(said(first, second)).parts
    reverse, drawn = path(first, second)[:, -2::-1], path(turned["first"], turned["second"])[:, :-1]
    x, y, scale, _, _ = path(first, second)[:, -1]  # where the clip ends, the reversal starts
    start = np.array([[x], [y]])
    assert np.allclose(reverse[:2], start + drawn[:2], atol=1e-4)
    assert np.allclose(reverse[2], scale * drawn[2], atol=1e-4)
    assert np.allclose(np.abs(np.diff(reverse[3])), np.abs(np.diff(drawn[3])), atol=1e-4), "a spin turns back"
    assert abs((reverse[4] == 0).sum() - (drawn[4] == 0).sum()) <= 1, "as often hidden, at other times"


@pytest.mark.parametrize(("first", "second"), [p for p in PAIRS if not {"spins", "blinks"} & set(p)])
def test_frames_that_run_backwards_are_those_of_a_clip_of_the_computed_caption(first, second, monkeypatch):
    """To the pixel, from the place and size at which the first clip ends; only the noise is another."""
    monkeypatch.setattr(world, "NOISE", 0.0)
    one = said(first, second)
    x, y, scale, _, _ = map(float, path(first, second)[:, -1])
    end = SCENE | {"x": SCENE["x"] + x, "y": SCENE["y"] + y, "radius": SCENE["radius"] * scale}
    reverse = drawing.draw(one.parts, SCENE)[::-1][1:].astype(int)
    assert np.abs(reverse - drawing.draw(backwards(one).parts, end)[:-1]).mean() < 0.01
    assert np.abs(reverse - drawing.draw(swapped(one).parts, end)[:-1]).mean() > 0.5
