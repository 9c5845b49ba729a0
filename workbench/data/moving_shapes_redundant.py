"""moving_shapes_redundant: synthetic clips with redundant captions and frames, where hiding may cost little.

A clip shows one actor as in `moving_shapes`, in frames of 96 pixels, and all of its 16 frames are read, so
that each of the two actions covers several tokens along time. Its caption of 33 to 39 words mentions colour,
shape, both actions and background twice, in different words, so that the information of a hidden word occurs
once more. In the other synthetic data sets a caption of up to 13 words says everything once, and each hidden
word removes information that distinguishes clips.

Combinations are sampled with a separate seed, so a training combination of one data set may be a test
combination of another. Attributes are named `shown_colour` and so on, because tasks that parse the captions
of `moving_shapes` do not apply.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.data import moving_shapes
from workbench.data.digests import Digests
from workbench.data.index import Clip, Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

GENERATED = True

SIZE = 96
"""Side of the frames in pixels."""
READ = {"frames": 16, "size": SIZE, "max_tokens": 48}
"""Default settings of runs on it, see `workbench.data`."""
TRAIN_CLIPS = 4_000
SEED = 20_221_203
VERSION = 1
"""To be raised whenever drawing or captions change; part of the digest."""

WAYS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "colour": {
        "red": ("red", "scarlet"),
        "green": ("green", "emerald"),
        "blue": ("blue", "azure"),
        "yellow": ("yellow", "golden"),
        "purple": ("purple", "violet"),
        "cyan": ("cyan", "turquoise"),
        "white": ("white", "snowy"),
        "black": ("black", "inky"),
    },
    "shape": {
        "square": ("square", "box"),
        "triangle": ("triangle", "wedge"),
        "star": ("star", "asterisk"),
        "cross": ("cross", "plus"),
        "moon": ("moon", "crescent"),
        "pill": ("pill", "capsule"),
    },
    "action": {
        "left": ("moves left", "drifts westwards"),
        "right": ("moves right", "drifts eastwards"),
        "up": ("moves up", "rises higher"),
        "down": ("moves down", "sinks lower"),
        "grows": ("grows bigger", "expands"),
        "shrinks": ("shrinks", "contracts"),
        "spins": ("spins around", "rotates"),
        "blinks": ("blinks", "flickers"),
    },
    "background": {
        "plain": ("plain", "empty"),
        "striped": ("striped", "lined"),
        "checkered": ("checkered", "chessboard"),
        "dotted": ("dotted", "spotted"),
        "gradient": ("fading", "shaded"),
        "grid": ("grid", "meshed"),
        "wavy": ("wavy", "rippled"),
        "rings": ("ringed", "target"),
    },
}
"""Attribute -> its values -> the two wordings of each; no word is used for two values."""
FIRST = (
    "here the {colour} {shape} {one} and after that it {two} in front of the {background} background",
    "the clip shows how the {colour} {shape} {one} and then how it {two} before the {background} wall",
    "before the {background} backdrop there is one {colour} {shape} which {one} and a little later it {two}",
)
SECOND = (
    "so the {colour} {shape} at first {one} and in the end {two} while all behind it is {background}",
    "that is to say the {background} scene has the {colour} {shape} that {one} until it finally {two}",
    "in other words with {background} surroundings the {shape} in {colour} is seen that {one} and then {two}",
)
"""Templates of both halves of a caption."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    """As in moving_shapes, with longer captions and larger frames."""
    rng = np.random.Generator(np.random.PCG64(SEED + 1))
    plain = moving_shapes.combined(data, TRAIN_CLIPS, SEED)
    clips = tuple(_redundant(clip, rng.random(8)) for clip in plain)
    return Index(digest=moving_shapes.digest_of(clips, {"redundant": VERSION, "size": SIZE}), clips=clips)


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """As in moving_shapes."""
    return moving_shapes.videos(index, source, cache, progress)


def say(parts: Mapping[str, str], draw: np.ndarray) -> str:
    """A caption for the parts of a clip; random numbers draw [8] in [0, 1) choose words and halves."""
    slots = {
        "colour": "colour",
        "shape": "shape",
        "one": "first",
        "two": "second",
        "background": "background",
    }
    halves: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for (name, slot), u in zip(slots.items(), draw[2:], strict=False):
        ways = WAYS["action" if slot in ("first", "second") else slot][parts[slot]]
        for half, words in zip(halves, ways if u < 0.5 else ways[::-1], strict=True):
            half[name] = words
    kinds = FIRST[int(draw[0] * len(FIRST))], SECOND[int(draw[1] * len(SECOND))]
    return " , ".join(kind.format(**half) for kind, half in zip(kinds, halves, strict=True))


def _redundant(clip: Clip, draw: np.ndarray) -> Clip:
    """A clip of moving_shapes in larger frames, with a redundant caption; draw [8]."""
    parts = clip.attributes
    place = {name: clip.scene[name] for name in ("radius", "x", "y", "tilt")}
    actor = {slot: parts[slot] for slot in ("colour", "shape", "first", "second")} | place | {"size": SIZE}
    look = {name: value for name, value in clip.scene.items() if name not in place}
    return dataclasses.replace(
        clip,
        captions=(say(parts, draw),),
        attributes={
            "background" if slot == "background" else f"shown_{slot}": v for slot, v in parts.items()
        },
        scene={**look, "size": SIZE, "actors": [actor]},
    )
