"""Captions of moving_shapes taken apart and put together, and what is true of a clip that runs backwards."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from workbench.data.moving_shapes import world

T = TypeVar("T")

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "colour": {colour: (colour,) for colour in world.COLOURS},
    "shape": world.SHAPES,
    "first": world.ACTIONS,
    "second": world.ACTIONS,
    "background": world.BACKGROUNDS,
}
"""Slot of a caption -> its values -> the words for each."""

OPPOSITES = {"left": "right", "up": "down", "grows": "shrinks"}
BACKWARDS = {action: action for action in world.ACTIONS} | OPPOSITES | {b: a for a, b in OPPOSITES.items()}
"""What an action is when time runs backwards; spinning and blinking stay what they are."""


class ParsedCaption(NamedTuple):
    """A caption taken apart."""

    template: int
    """Number of its template."""
    parts: Mapping[str, str]
    """Slot -> value, as the attributes of a clip."""
    words: Mapping[str, int]
    """Slot -> which of the words for its value."""


def parse(caption: str) -> ParsedCaption | None:
    """The parts of a caption; None for one that the grammar does not make."""
    for template, pattern in enumerate(_patterns()):
        if found := pattern.fullmatch(caption):
            named = {slot: _meaning(slot)[words] for slot, words in found.groupdict().items()}
            parts = {slot: named[slot][0] for slot in WORDS}
            said = ParsedCaption(template, parts, {slot: named[slot][1] for slot in WORDS})
            return said if say(*said) == caption else None  # "a" before a vowel
    return None


def say(template: int, parts: Mapping[str, str], words: Mapping[str, int]) -> str:
    """The caption of some parts; the inverse of `parse`."""
    spoken = {slot: WORDS[slot][parts[slot]][words[slot]] for slot in WORDS}
    article = "an" if spoken["colour"][0] in "aeiou" else "a"
    return world.TEMPLATES[template].format(a=article, **spoken)


def actor(said: ParsedCaption) -> str:
    """Only whom a caption is about, in its words, as "a red box"."""
    colour, shape = (WORDS[slot][said.parts[slot]][said.words[slot]] for slot in ("colour", "shape"))
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"


def swapped(said: ParsedCaption) -> ParsedCaption:
    """With the two actions in the other order, in the same words."""
    return said._replace(parts=_swap(said.parts), words=_swap(said.words))


def backwards(said: ParsedCaption) -> ParsedCaption:
    """What is true of the clip when its frames run backwards, in the corresponding words.

    The actions change places, and each becomes its opposite where it has one: "rises then spins" is
    "spins then sinks".
    """
    parts = {
        slot: BACKWARDS[value] if slot in ("first", "second") else value for slot, value in said.parts.items()
    }
    return said._replace(parts=_swap(parts), words=_swap(said.words))


def changed(said: ParsedCaption, slot: str, value: str, word: int) -> ParsedCaption:
    """With another value in one slot, in the words number `word` for it."""
    return said._replace(parts={**said.parts, slot: value}, words={**said.words, slot: word})


def _swap(slots: Mapping[str, T]) -> dict[str, T]:
    return {**slots, "first": slots["second"], "second": slots["first"]}


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """An expression for each template, with a group for each slot."""
    groups = {slot: f"(?P<{slot}>{'|'.join(_meaning(slot))})" for slot in WORDS}
    return tuple(re.compile(template.format(a="an?", **groups)) for template in world.TEMPLATES)


@functools.cache
def _meaning(slot: str) -> dict[str, tuple[str, int]]:
    """Words of a slot -> the value that they stand for, and which of its words they are."""
    return {
        words: (value, number)
        for value, choices in WORDS[slot].items()
        for number, words in enumerate(choices)
    }
