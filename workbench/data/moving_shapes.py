"""moving_shapes: a small compositional world, drawn by us and stored as real H.264 video.

A clip shows one actor (colour, shape) doing two different actions, one after the other, before a
background. No two clips of the data set share a combination of colour, shape, first action, second
action and background, so a test clip is always a new combination of parts seen in training. Its
caption comes from a small grammar with synonyms.

The drawing is in `shapes_drawing.py`. What may be tuned stands here, and all of it enters the digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.data.index import Clip, Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

VERSION = 1
"""Raise it whenever the drawing changes: it is part of the digest."""

TRAIN_CLIPS = 8_000
EVAL_CLIPS = 500
"""Clips of val, and of test. A smaller data set has a sixth of its training clips, at most this."""

VIDEO_SIZE = 64
VIDEO_FRAMES = 16
VIDEO_RATE = 8
CRF = 23
"""x264's constant quality."""

ACTOR_RADIUS = (12.0, 15.0)
"""Pixels, drawn uniformly. The actor is about twice as wide."""
TRAVEL = 22.0
"""Pixels a move covers."""
GROWTH = 1.7
"""Factor by which `grows` and `shrinks` change the radius."""
TILT = 0.25
"""Greatest initial rotation, in radians."""
NOISE = 4.0
"""Standard deviation of the sensor noise, in grey levels."""
PATTERN_CONTRAST = (34.0, 52.0)
"""Grey levels between the two tones of a background."""
BACKGROUND_LEVEL = (85.0, 150.0)
BACKGROUND_TINT = 14.0
"""Greatest departure of a background from grey, per channel."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "green": (40, 170, 50),
    "blue": (40, 70, 225),
    "yellow": (245, 230, 40),
    "purple": (130, 40, 175),
    "cyan": (50, 220, 230),
    "white": (250, 250, 250),
    "black": (10, 10, 10),
}
SHAPES: dict[str, tuple[str, ...]] = {
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross",),
    "moon": ("moon", "crescent"),
    "pill": ("pill", "capsule"),
}
ACTIONS: dict[str, tuple[str, ...]] = {
    "left": ("moves left", "slides left"),
    "right": ("moves right", "slides right"),
    "up": ("moves up", "rises"),
    "down": ("moves down", "sinks"),
    "grows": ("grows", "expands"),
    "shrinks": ("shrinks", "contracts"),
    "spins": ("spins", "rotates"),
    "blinks": ("blinks", "flickers"),
}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "plain": ("a plain", "an empty"),
    "striped": ("a striped", "a lined"),
    "checkered": ("a checkered", "a chessboard"),
    "dotted": ("a dotted", "a spotted"),
    "gradient": ("a fading", "a shaded"),
    "grid": ("a grid", "a meshed"),
    "wavy": ("a wavy", "a rippled"),
    "rings": ("a ringed", "a target"),
}
TEMPLATES = (
    "{a} {colour} {shape} {first} then {second} on {background} background",
    "{a} {colour} {shape} {first} and later {second} on {background} wall",
    "on {background} background {a} {colour} {shape} {first} and then {second}",
)


def index(data: DataConfig, source: str | None = None) -> Index:
    """Clips, captions, splits and scenes. Draws random numbers only, no picture.

    The digest is that of this index (with every scene) and of the constants above, not of the
    pixels: x264 and decoders differ between machines in the last bits, while what is drawn does not.
    Each frame store records the hash of its own pixels beside it.
    """
    if source is not None:
        raise UserError("moving_shapes is drawn by the workbench and takes no folder")
    train = data.clips or TRAIN_CLIPS
    held_out = min(EVAL_CLIPS, max(2, train // 6))
    combinations = _combinations()
    if train + 2 * held_out > len(combinations):
        raise UserError(
            f"moving_shapes has {len(combinations)} combinations, enough for "
            f"{len(combinations) - 2 * EVAL_CLIPS} training clips, not {train}"
        )
    rng = np.random.Generator(np.random.PCG64(20_221_202))
    order = np.argsort(rng.random(len(combinations)), kind="stable")
    sizes = {"test": held_out, "val": held_out, "train": train}
    clips: list[Clip] = []
    for split, count in sizes.items():
        for number in range(count):
            combination = combinations[order[len(clips)]]
            clips.append(_clip(split, number, combination, rng))
    return Index(digest=_digest(clips), clips=tuple(clips))


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """Draw and encode every clip that is not there yet; returns the folder of the videos."""
    from workbench.data.shapes_drawing import write_videos

    folder = cache / "videos"
    write_videos(index.clips, folder, progress)
    return folder


def _combinations() -> list[dict[str, str]]:
    return [
        {"colour": colour, "shape": shape, "first": first, "second": second, "background": background}
        for colour in COLOURS
        for shape in SHAPES
        for first in ACTIONS
        for second in ACTIONS
        if first != second
        for background in BACKGROUNDS
    ]


def _clip(split: str, number: int, parts: dict[str, str], rng: np.random.Generator) -> Clip:
    # Only Generator.random is used: its stream is the one numpy keeps stable over versions.
    draw = rng.random(24)
    return Clip(
        id=f"{split}-{number:05d}",
        path=f"{split}/{number:05d}.mp4",
        split=split,
        captions=(_caption(parts, draw[:6]),),
        attributes=parts,
        scene=_scene(parts, draw[6:]),
    )


def _caption(parts: Mapping[str, str], draw: np.ndarray) -> str:
    def pick(choices: tuple[str, ...], u: float) -> str:
        return choices[int(u * len(choices))]

    return pick(TEMPLATES, draw[0]).format(
        a="an" if parts["colour"][0] in "aeiou" else "a",
        colour=parts["colour"],
        shape=pick(SHAPES[parts["shape"]], draw[1]),
        first=pick(ACTIONS[parts["first"]], draw[2]),
        second=pick(ACTIONS[parts["second"]], draw[3]),
        background=pick(BACKGROUNDS[parts["background"]], draw[4]),
    )


def _scene(parts: Mapping[str, str], draw: np.ndarray) -> dict[str, Any]:
    """Everything that is seen but not said: place, size, tilt, and the look of the background."""

    def between(bounds: tuple[float, float], u: float) -> float:
        return round(bounds[0] + (bounds[1] - bounds[0]) * float(u), 3)

    radius = between(ACTOR_RADIUS, draw[0])
    x, y = _start(parts, radius, draw[1], draw[2])
    return {
        "radius": radius,
        "x": x,
        "y": y,
        "tilt": between((-TILT, TILT), draw[3]),
        "level": between(BACKGROUND_LEVEL, draw[4]),
        "tint": [between((-BACKGROUND_TINT, BACKGROUND_TINT), u) for u in draw[5:8]],
        "contrast": between(PATTERN_CONTRAST, draw[8]) * (1 if draw[9] < 0.5 else -1),
        "period": between((9.0, 14.0), draw[10]),
        "angle": between((0.0, math.pi), draw[11]),
        "phase": [between((0.0, 1.0), u) for u in draw[12:14]],
        "seed": int(draw[14] * 2**32),
    }


def _start(parts: Mapping[str, str], radius: float, u: float, v: float) -> tuple[float, float]:
    """A place from which the actor stays in the picture through both actions."""
    steps = {"left": (-TRAVEL, 0.0), "right": (TRAVEL, 0.0), "up": (0.0, -TRAVEL), "down": (0.0, TRAVEL)}
    place, path, scale, largest = (0.0, 0.0), [(0.0, 0.0)], 1.0, 1.0
    for action in (parts["first"], parts["second"]):
        dx, dy = steps.get(action, (0.0, 0.0))
        place = (place[0] + dx, place[1] + dy)
        path.append(place)
        scale *= {"grows": GROWTH, "shrinks": 1 / GROWTH}.get(action, 1.0)
        largest = max(largest, scale)
    start = []
    for axis, draw in enumerate((u, v)):
        low = radius * largest - min(point[axis] for point in path)
        high = VIDEO_SIZE - radius * largest - max(point[axis] for point in path)
        if low > high:  # too large to fit with its whole path: centre it
            low = high = (low + high) / 2
        start.append(round(low + (high - low) * float(draw), 3))
    return start[0], start[1]


def _digest(clips: list[Clip]) -> str:
    constants = {
        name: value
        for name, value in sorted(globals().items())
        if name.isupper() and isinstance(value, int | float | tuple | dict)
    }
    del constants["TRAIN_CLIPS"], constants["EVAL_CLIPS"]  # seen in the number of clips
    content = {"constants": constants, "clips": [dataclasses.asdict(clip) for clip in clips]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
