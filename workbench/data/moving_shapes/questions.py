"""Questions about synthetic clips with their answers: one of every kind for each clip.

| kind | question | answers |
|---|---|---|
| `colour` | what colour is the *box* | 8 |
| `shape` | what shape is the *red* thing | 6 |
| `first`, `last` | what does the *red box* do first (last) | 8 |
| `after` | what does it do after it *rises* | 7 |
| `before` | what does it do before it *spins* | 7 |
| `background` | what is behind it | 8 |
| `order` | does it *rise* before it *spins* | yes, no |

An answer is one word, 32 in all: the last of the first words that a caption has for the value. Synonyms occur
in questions only. The random choices of a clip (synonyms, wrong options) depend only on its id. Whether the
answer to `order` is yes alternates over the clips of a split with the same two actions in the same order, so
that the words of a question do not reveal it.

Each option also has a statement in the words of captions, a caption that is cut to the question ("a red box
rises then" states the first action), for models that judge or embed texts and read no questions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from workbench.data.moving_shapes.grammar import WORDS
from workbench.data.store import FrameStore
from workbench.errors import UserError

SLOTS = {
    "colour": "colour",
    "shape": "shape",
    "first": "first",
    "last": "second",
    "after": "second",
    "before": "first",
    "background": "background",
}
"""Kind of a question -> the attribute that answers it; `order` is about both actions."""
TEMPLATES = {
    "colour": "what colour is the {shape}",
    "shape": "what shape is the {colour} thing",
    "first": "what does the {colour} {shape} do first",
    "last": "what does the {colour} {shape} do last",
    "after": "what does it do after it {first}",
    "before": "what does it do before it {second}",
    "background": "what is behind it",
    "order": "does it {one} before it {other}",
}
STATEMENTS = {
    "colour": "{a} {x} {shape}",
    "shape": "{a} {colour} {x}",
    "first": "{a} {colour} {shape} {x} then",
    "last": "{a} {colour} {shape} then {x}",
    "after": "{first} then {x}",
    "before": "{x} then {second}",
    "background": "on {x} background",
}
KINDS = tuple(TEMPLATES)
KNOWN = tuple(sorted(WORDS))
"""Attributes of a clip that questions are made from."""
NEEDED = f"of each its {', '.join(KNOWN)} have to be known, as in moving_shapes"
OPTIONS = 5
"""Number of options of a question, including the right one; yes and no are two."""
MOST = 8
"""Largest number of values of a slot."""
YES, NO = "yes", "no"


def _answer(slot: str, value: str) -> str:
    return WORDS[slot][value][0].split()[-1]


ANSWERS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(_answer(slot, value) for value in WORDS[slot]) for kind, slot in SLOTS.items()
} | {"order": (YES, NO)}
"""Kind -> every answer to it."""
EVERY = tuple(dict.fromkeys(answer for answers in ANSWERS.values() for answer in answers))
"""The answers to all kinds."""


class Question(NamedTuple):
    """One question about one clip."""

    id: str
    """Clip id, `#`, kind."""
    clip: str
    kind: str
    text: str
    answer: str
    options: tuple[str, ...]
    """Answers of the same kind, including the right one, without the value that the question names."""
    statements: tuple[str, ...]
    """Each option in the words of captions."""


def scene_values(store: FrameStore) -> Mapping[str, Sequence[str]] | None:
    """Values [N] of each of `KNOWN` for the clips of a store; None if their contents are not known."""
    known = {name: store.attributes.get(name, []) for name in KNOWN}
    drawn = all(values and set(values) <= set(WORDS[name]) for name, values in known.items())
    return known if drawn else None


def about(store: FrameStore, rows: np.ndarray) -> list[Question]:
    """The questions about clips, rows [V] of the store: clip by clip, all kinds in order.

    Raises `UserError` if the contents of the clips are not known.
    """
    known = scene_values(store)
    if known is None:
        raise UserError(f"there is nothing to ask about the clips of {store.name}: {NEEDED}")
    asked: list[Question] = []
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows.tolist():
        parts = {name: values[row] for name, values in known.items()}
        pair = parts["first"], parts["second"]
        # If their number is odd, one order of two actions has one more yes and the other one more no.
        truth = (seen[pair] + (pair[0] < pair[1])) % 2 == 1
        seen[pair] += 1
        asked += _about_clip(store.clip_ids[row], parts, truth)
    return asked


def _about_clip(clip: str, parts: Mapping[str, str], truth: bool) -> list[Question]:
    """truth: whether the answer to `order` is yes."""
    rng = np.random.default_rng(list(hashlib.sha256(clip.encode()).digest()[:16]))
    found = []
    for kind, (which, chosen, place) in zip(KINDS, rng.random((len(KINDS), 3, MOST)), strict=True):
        said = {
            slot: WORDS[slot][parts[slot]][int(u * len(WORDS[slot][parts[slot]]))]
            for slot, u in zip(WORDS, which, strict=False)
        }
        if kind == "order":
            one, other = (said["first"], said["second"])[:: 1 if truth else -1]
            text = TEMPLATES[kind].format(one=_base(one), other=other)
            options, right = {YES: f"{one} then {other}", NO: f"{other} then {one}"}, YES if truth else NO
        else:
            slot = SLOTS[kind]
            text, right = TEMPLATES[kind].format(**said), _answer(slot, parts[slot])
            options = {
                _answer(slot, value): _statement(kind, said, WORDS[slot][value][0])
                for value in _values(kind, parts, chosen, place)
            }
        found.append(
            Question(f"{clip}#{kind}", clip, kind, text, right, tuple(options), tuple(options.values()))
        )
    return found


def _values(kind: str, parts: Mapping[str, str], chosen: np.ndarray, place: np.ndarray) -> list[str]:
    """The right value and others of its slot, in random order; both random arrays are [MOST]."""
    slot = SLOTS[kind]
    named = {"after": parts["first"], "before": parts["second"]}.get(kind)
    others = [value for value in WORDS[slot] if value not in (parts[slot], named)]
    wrong = [others[i] for i in chosen[: len(others)].argsort()[: OPTIONS - 1]]
    values = [parts[slot], *wrong]
    return [values[i] for i in place[:OPTIONS].argsort()]


def _statement(kind: str, said: Mapping[str, str], words: str) -> str:
    """The statement of an option, in the words of the question and of the option."""
    colour = words if kind == "colour" else said["colour"]
    article = "an" if colour[0] in "aeiou" else "a"
    return STATEMENTS[kind].format(**said, a=article, x=words)


def _base(action: str) -> str:
    """`move left` for "moves left", as used after "does it"."""
    verb, *rest = action.split()
    return " ".join([verb.removesuffix("s"), *rest])
