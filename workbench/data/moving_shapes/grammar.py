"""Parsing and generation of the captions of moving_shapes, and captions of reversed clips."""

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
"""Action -> the action in a reversed clip; spinning and blinking do not change."""


class ParsedCaption(NamedTuple):
    """A parsed caption."""

    template: int
    """Number of its template."""
    parts: Mapping[str, str]
    """Slot -> value, as the attributes of a clip."""
    words: Mapping[str, int]
    """Slot -> index of the word for its value."""


def parse(caption: str) -> ParsedCaption | None:
    """The parts of a caption; None for one that the grammar does not produce."""
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
    """The part of a caption that names the actor, such as "a red box"."""
    colour, shape = (WORDS[slot][said.parts[slot]][said.words[slot]] for slot in ("colour", "shape"))
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"


def swapped(said: ParsedCaption) -> ParsedCaption:
    """The caption with the two actions in the other order, in the same words."""
    return said._replace(parts=_swap(said.parts), words=_swap(said.words))


def backwards(said: ParsedCaption) -> ParsedCaption:
    """The caption of the reversed clip, in the corresponding words.

    The actions are swapped, and each is replaced by its opposite if it has one: "rises then spins" becomes
    "spins then sinks".
    """
    parts = {
        slot: BACKWARDS[value] if slot in ("first", "second") else value for slot, value in said.parts.items()
    }
    return said._replace(parts=_swap(parts), words=_swap(said.words))


def changed(said: ParsedCaption, slot: str, value: str, word: int) -> ParsedCaption:
    """The caption with another value in one slot, with word number `word` for it."""
    return said._replace(parts={**said.parts, slot: value}, words={**said.words, slot: word})


def _swap(slots: Mapping[str, T]) -> dict[str, T]:
    return {**slots, "first": slots["second"], "second": slots["first"]}


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """A regular expression for each template, with a group for each slot."""
    groups = {slot: f"(?P<{slot}>{'|'.join(_meaning(slot))})" for slot in WORDS}
    return tuple(re.compile(template.format(a="an?", **groups)) for template in world.TEMPLATES)


@functools.cache
def _meaning(slot: str) -> dict[str, tuple[str, int]]:
    """Words of a slot -> their value, and their index among its words."""
    return {
        words: (value, number)
        for value, choices in WORDS[slot].items()
        for number, words in enumerate(choices)
    }
